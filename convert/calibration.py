"""A generator's statistics that a directions file holds, and signs checked by a classifier."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from emojax.latents.directions import Directions
from emojax.models.efficientnet import EmotionNet
from emojax.models.generator import Generator
from emojax.runtime import devices, xla_options
from emojax.runtime.batching import in_batches
from emojax.scoring import scorer
from emojax.scoring.sampling import sample_codes

log = logging.getLogger(__name__)

SAMPLES = 10_000
"""Codes that the mean code and sigma are measured on."""

TRUNCATION = 0.7
"""ψ of the faces on which signs are checked."""

REACH = 3.0
"""How far these faces are moved either way, in sigma."""

SHOWN_BY = {"smile": "happiness", "smiling": "happiness"}
"""Directions that are named after no score, and the class whose probability rises along them."""


def sampled_codes(generator: Generator) -> np.ndarray:
    """Return codes of W [N, D] float64 of the first `SAMPLES` seeds."""
    ids = jnp.arange(SAMPLES, dtype=jnp.uint32)
    return np.asarray(sample_codes(generator, ids), np.float64)


def calibrated(
    found: Directions, generator: Generator, emotion: EmotionNet, faces: int
) -> Directions:
    """Turn each direction so that the classifier's score that it is named after rises along it.

    Faces are moved `REACH` either way. Directions without a score keep their sign, and so do those
    along which the score changes less than twice the standard error. The result's metadata holds
    what was measured.

    Args:
        found: directions of the generator.
        generator: draws the faces.
        emotion: classifies them.
        faces: how many, 2 or more.
    """
    known = emotion.config.scores
    classes = [SHOWN_BY.get(name, name) for name in found.names]
    tested = [i for i, name in enumerate(classes) if name in known]
    if not tested:
        return found
    changes = _changes(found, tested, generator, emotion, faces)
    signs, measured = np.ones(len(found.names)), {}
    for i, change in zip(tested, changes, strict=True):  # change: [faces, S]
        rise = change[:, known.index(classes[i])]
        error = rise.std(ddof=1) / np.sqrt(faces)
        if not (clear := bool(abs(rise.mean()) > 2 * error)):
            log.info("%s: the classifier sees no clear change, its sign is kept", classes[i])
        signs[i] = -1 if clear and rise.mean() < 0 else 1
        measured[found.names[i]] = {
            "class": classes[i],
            "change": float(rise.mean()),
            "standard_error": float(error),
            "sign": "turned" if signs[i] < 0 else "confirmed" if clear else "unclear",
        }
    return dataclasses.replace(
        found,
        coefficients=found.coefficients * signs.reshape(-1, *[1] * (found.coefficients.ndim - 1)),
        intercepts=found.intercepts * signs,
        metadata={**found.metadata, "calibration": measured},
    )


def _changes(
    found: Directions,
    tested: Sequence[int],
    generator: Generator,
    emotion: EmotionNet,
    faces: int,
) -> np.ndarray:
    """Return how much each score rises [tested, faces, S] from one end of `REACH` to the other."""
    layers = generator.config.n_latent
    w = sample_codes(generator, jnp.arange(faces, dtype=jnp.uint32), TRUNCATION)
    tiled = np.repeat(np.asarray(w)[:, None], layers, 1)  # [N, L, D]
    lengths = REACH * found.unit_lengths(layers, "sigma")
    steps = found.tiled(layers) * lengths[:, None, None]
    codes = np.stack([tiled + side * steps[i] for i in tested for side in (-1, 1)])
    judged = _classified(codes.reshape(-1, *codes.shape[2:]).astype(np.float32), generator, emotion)
    below, above = np.moveaxis(judged.reshape(len(tested), 2, faces, -1), 1, 0)
    return above - below


def _classified(codes: np.ndarray, generator: Generator, emotion: EmotionNet) -> np.ndarray:
    """Return the classifier's scores [N, S] of W+ codes [N, L, D], on all local devices."""
    mesh = devices.local_mesh(most=len(codes))
    networks = devices.everywhere((generator, emotion), mesh)
    return in_batches(
        functools.partial(_program(mesh), *networks),
        codes,
        mesh.size * scorer.default_batch(generator.config.size),
        multiple_of=mesh.size,
    )


@functools.cache
def _program(mesh: jax.sharding.Mesh) -> Callable[..., jax.Array]:
    return devices.over_samples(
        scorer.scores_of,
        mesh,
        split=(False, False, True),
        compiler_options=xla_options.options(dense=True),
    )
