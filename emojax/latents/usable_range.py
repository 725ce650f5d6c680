"""How far each direction can be followed before faces break or become somebody else's.

Faces that the generator draws are moved along a direction, in steps either way. A k is usable as
long as three quarters of the faces are recognised: their features (Inception's, or those of the
bundle's own network) are nearer to the unmoved face's than to those of any of 1,000 other faces.
Among these k, the range ends where the classifier's answer stops changing: where the mean
log-odds of the direction's class, or the mean valence or arousal, have made 95 % of their largest
rise (upwards) or fall (downwards). Both ends are interpolated between steps.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emojax.latents.directions import Directions
from emojax.metrics import distance_network
from emojax.metrics.features import FeatureExtractor
from emojax.models.efficientnet import EmotionNet
from emojax.models.generator import Generator
from emojax.runtime import devices, xla_options
from emojax.runtime.batching import in_batches
from emojax.runtime.choices import Crop
from emojax.scoring import classifier
from emojax.scoring.sampling import sample_codes
from emojax.store.bundle import Bundle
from emojax.store.parts import EMOTION, GENERATOR
from emojax.store.score_table import ScoreSettings

FACES, OTHERS = 32, 1000
"""Faces that are moved, and faces that they could be mistaken for."""
STEP, STEPS = 0.5, 24
"""Length of a step in root mean square deviations of a tiled code's coordinates, and their number:
far enough for rare emotions, whose samples are few and far from the mean."""
RECOGNISED = 0.75
"""Share of the faces that must be recognised at either end."""
CHANGED = 0.95
"""Share of the largest change of the classifier's log-odds that ends the range."""
LARGEST = 256
"""Side of the pictures at most where a larger generator has intermediate pictures."""


@dataclasses.dataclass(frozen=True)
class Networks:
    """What draws and measures the faces.

    Attributes:
        generator: the one that the directions are for.
        emotion: the classifier that they were fitted to.
        distance: in whose features faces are recognised; None: every k counts as recognised.
        crop: what the classifier sees.
        truncation: ψ of the faces.
    """

    generator: Generator
    emotion: EmotionNet
    distance: FeatureExtractor | None
    crop: Crop = "face"
    truncation: float = 1.0


class Curve(NamedTuple):
    """What was measured along a direction, one way.

    Attributes:
        k: [J] rising from 0, in units of "norm".
        change: [J] mean change of the classifier's answer in the wanted sense, from 0.
        recognised: [J] share of the faces that are recognised, from 1.
    """

    k: np.ndarray
    change: np.ndarray
    recognised: np.ndarray


def measure(
    found: Directions, networks: Networks, *, advance: Callable[[], object] = lambda: None
) -> Directions:
    """Return directions with their usable ranges.

    Args:
        found: directions of the generator.
        networks: see `Networks`.
        advance: called after each of `STEPS` steps.
    """
    known = networks.emotion.config.scores
    ends = np.zeros((len(found.names), 2))
    for (index, side), curve in _curves(found, networks, known, advance).items():
        judged = found.names[index] in known
        ends[index, int(side > 0)] = side * usable_end(curve, by_answer=judged)
    about = {
        "faces": FACES,
        "others": OTHERS,
        "network": networks.distance.fingerprint if networks.distance else None,
        "recognised": RECOGNISED,
        "changed": CHANGED,
    }
    return dataclasses.replace(
        found, usable=np.round(ends, 2), metadata={**found.metadata, "usable_range": about}
    )


def measure_in(
    bundle: Bundle,
    found: Directions,
    settings: ScoreSettings,
    *,
    advance: Callable[[], object] = lambda: None,
) -> Directions:
    """Return directions with their usable ranges, measured with the networks of a bundle.

    Args:
        bundle: whose generator was scored; distances are measured with its Inception, else with
            its feature network, else not at all.
        found: directions of the generator.
        settings: of the scored samples: crop and truncation.
        advance: see `measure`.
    """
    has_distance = distance_network.part_of(bundle) is not None
    networks = Networks(
        bundle.load(GENERATOR),
        bundle.load(EMOTION),
        distance_network.load(bundle).extractor if has_distance else None,
        settings.crop,
        settings.truncation,
    )
    return measure(found, networks, advance=advance)


def usable_end(curve: Curve, *, by_answer: bool = True) -> float:
    """Return the largest usable k of a curve, 0 or more; see the module.

    Args:
        curve: what was measured.
        by_answer: whether the change of the classifier's answer counts; else recognition alone.
    """
    below = np.flatnonzero(curve.recognised < RECOGNISED)
    end = curve.k[-1]
    if len(below):
        end = _crossing(curve.k, curve.recognised, RECOGNISED, int(below[0]))
    if not by_answer:
        return float(end)
    inside = curve.k < end
    k = np.append(curve.k[inside], end)
    change = np.append(curve.change[inside], np.interp(end, curve.k, curve.change))
    if change.max() <= 0:
        return 0.0
    enough = np.flatnonzero(change >= CHANGED * change.max())
    return _crossing(k, change, CHANGED * change.max(), int(enough[0]))


def _crossing(k: np.ndarray, values: np.ndarray, level: float, index: int) -> float:
    """Return where the line from point index-1 to point index takes a value."""
    share = (level - values[index - 1]) / (values[index] - values[index - 1])
    return float(k[index - 1] + share * (k[index] - k[index - 1]))


def _curves(
    found: Directions, networks: Networks, known: Sequence[str], advance: Callable[[], object]
) -> dict[tuple[int, int], Curve]:
    """Measure every direction both ways, {(direction, -1 or 1): its curve}.

    A way ends with the first step at which too few faces are recognised.
    """
    n_latent = networks.generator.config.n_latent
    ids = jnp.arange(FACES + OTHERS, dtype=jnp.uint32)
    w = np.asarray(sample_codes(networks.generator, ids, networks.truncation))
    tiled = np.repeat(w[:, None], n_latent, axis=1)
    step = STEP * np.sqrt(n_latent * w.var(0).mean())
    unit, run = found.tiled(n_latent).astype(np.float32), _runner(networks)
    classes = len(networks.emotion.config.classes)
    outputs, features = run(tiled)
    start, others = _answers(outputs[:FACES], classes), features[FACES:]
    ways = {(e, side): [(0.0, 0.0, 1.0)] for e in range(len(found.names)) for side in (-1, 1)}
    moving = list(ways)
    for number in range(1, STEPS + 1):
        k = number * step
        moved = [tiled[:FACES] + np.float32(side * k) * unit[e] for e, side in moving]
        results = run(np.concatenate(moved)) if moved else ()
        parts = (np.split(each, len(moving)) for each in results)
        for way, now, seen in zip(tuple(moving), *parts, strict=False):
            e, side = way
            change = 0.0
            if found.names[e] in known:
                column = known.index(found.names[e])
                change = side * (_answers(now, classes) - start)[:, column].mean()
            share = _recognised(seen, features[:FACES], others)
            ways[way].append((k, change, share))
            if share < RECOGNISED:
                moving.remove(way)
        advance()
    return {way: Curve(*np.array(points).T) for way, points in ways.items()}


def _recognised(moved: np.ndarray, own: np.ndarray, others: np.ndarray) -> float:
    """Return the share of faces whose features [N, F] are nearest to their own, [N, F]."""
    if not moved.shape[1]:
        return 1.0
    here, before, there = (each.astype(np.float64) for each in (moved, own, others))
    distance = ((here - before) ** 2).sum(1)
    squares = (here**2).sum(1)[:, None] + (there**2).sum(1) - 2 * here @ there.T
    return float((distance <= squares.min(1)).mean())


def _answers(outputs: np.ndarray, classes: int) -> np.ndarray:
    """Return [N, S]: log-odds of the classes, and what follows their logits as it is."""
    return np.concatenate([_log_odds(outputs[:, :classes]), outputs[:, classes:]], axis=1)


def _log_odds(logits: np.ndarray) -> np.ndarray:
    """Return log p / (1 - p) [N, K] of each class's probability."""
    rows = logits.astype(np.float64)
    others = np.where(np.eye(rows.shape[1], dtype=bool), -np.inf, rows[:, None, :])  # [N, K, K]
    return rows - np.logaddexp.reduce(others, axis=2)


def _runner(networks: Networks) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return a function from codes [N, L, D] to outputs [N, S] and features [N, F] (F may be 0)."""
    config = networks.generator.config
    small = [size for size in config.resolutions if size <= LARGEST]
    resolution = max(small, default=config.size)
    distance = networks.distance
    program_of = functools.partial(
        _program, networks.crop, resolution, distance.extract if distance else None
    )
    mesh = devices.local_mesh(most=FACES)
    models = (networks.generator, networks.emotion, distance.model if distance else None)
    models, program = devices.everywhere(models, mesh), program_of(mesh)
    size = FACES - FACES % mesh.size
    return lambda codes: in_batches(lambda rows: program(models, rows), codes, size)


@functools.cache
def _program(
    crop: Crop, resolution: int, extract: Callable | None, mesh: jax.sharding.Mesh
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    def run(models: tuple, codes: jax.Array) -> tuple[jax.Array, jax.Array]:
        generator, emotion, network = models
        pictures = jnp.clip(generator.synthesis(codes, resolution=resolution), -1.0, 1.0)
        outputs = classifier.predict(emotion, pictures, crop=crop).outputs
        if extract is None:
            return outputs, jnp.zeros((len(codes), 0))
        return outputs, extract(network, jnp.round((pictures + 1.0) * 127.5))

    return devices.over_samples(
        run, mesh, split=(False, True), compiler_options=xla_options.options(dense=True)
    )
