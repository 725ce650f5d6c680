"""Stages of the generator: regression from latents to their drawn faces."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.demo import batches
from emojax.demo.contact_sheets import write_pairs
from emojax.demo.training.loop import Metrics, Stage
from emojax.demo.training.recipe import Profile
from emojax.models.generator import mean_latent
from emojax.models.stylegan2 import Generator
from emojax.runtime.choices import K

_MAPPING_RATES = {"mapping": 60.0, "coarse": 10.0, "generator": 10.0}
"""Rate factors of the mapping network, whose weights are stored divided by 0.01."""
_REGRESSED = 256
"""Codes a step for the regression from w to the targets."""
_SIGMAS = 12.0
"""The paper's k of 20 is as many standard deviations of a coordinate of w."""


class SupervisedGenerator(nnx.Module):
    """A generator, and a linear regression from its w to attributes and emotions.

    The regression makes identity factors, action units and emotions almost linear in W. In an
    adversarially trained generator this happens by itself, less exactly.
    """

    def __init__(self, profile: Profile, *, rngs: nnx.Rngs) -> None:
        self.generator = Generator(profile.generator, rngs=rngs)
        self.reading = nnx.Linear(profile.generator.style_dim, len(batches.TARGETS), rngs=rngs)
        for to_rgb in self.generator.synthesis.to_rgbs:
            to_rgb.weight[...] = 0.1 * to_rgb.weight[...]


def stage(profile: Profile, name: str, model: SupervisedGenerator | None, seed: int) -> Stage:
    """Return one of the generator's three stages.

    Args:
        profile: configs and lengths.
        name: "mapping" pretrains the mapping network; "coarse" trains all but the last block, on
            pictures of half the size, at a third of the cost; "generator" trains all.
        model: result of the stage before; None for the first.
        seed: of the weights.
    """
    model = model or SupervisedGenerator(profile, rngs=nnx.Rngs(seed))
    length = profile.lengths[name]
    rates = {"generator.mapping": _MAPPING_RATES[name], "reading": 0.2}
    common = {
        "name": name,
        "model": model,
        "frozen": None,
        "steps": length.steps,
        "rate": length.rate,
        "rate_factor": lambda parameter: _rate_factor(rates, parameter),
    }
    if name == "mapping":
        return _mapping(length.batch, common)
    coarse = name == "coarse"
    side = profile.resolution // (2 if coarse else 1)
    return _pictures(length.batch, side, common, expressive=not coarse)


def _mapping(count: int, common: dict[str, Any]) -> Stage:
    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        z = batches.expressive_latents(key, count=count)
        return z, batches.targets(batches.faces_of(z))

    def loss(model: SupervisedGenerator, _: None, batch: tuple) -> tuple[jax.Array, Metrics]:
        _w, reading, spread = _regressed(model, *batch)
        return reading + 0.1 * spread, {"reading": reading, "spread": spread}

    return Stage(draw=draw, loss=loss, muon=False, **common)


def _pictures(count: int, side: int, common: dict[str, Any], *, expressive: bool) -> Stage:
    """Return a stage with a pixel loss on the pictures of the first `count` codes.

    The regression from w uses more codes, which cost little.

    Args:
        count: pictures a step.
        side: of the pictures.
        common: other arguments of the stage.
        expressive: balance the emotions, and give a higher weight to pixels that they change.
    """

    def draw(key: jax.Array) -> tuple[Any, ...]:
        z = batches.expressive_latents(key, count=max(count, _REGRESSED), balance=expressive)
        faces = batches.faces_of(z)
        first = jax.tree.map(lambda a: a[:count], faces)
        drawn = batches.draw(first, side)
        weights = (
            batches.expression_weights(first, drawn) if expressive else batches.face_weights(side)
        )
        return z, batches.targets(faces), drawn, weights

    def loss(model: SupervisedGenerator, _: None, batch: tuple) -> tuple[jax.Array, Metrics]:
        z, targets, pictures, weights = batch
        w, reading, spread = _regressed(model, z, targets)
        drawn = model.generator.synthesis(model.generator.w_plus(w[:count]), resolution=side)
        square = jnp.square(drawn - pictures)
        total = jnp.mean(weights * square) + 0.02 * reading + 0.005 * spread
        return total, {"psnr": psnr(square), "reading": reading, "spread": spread}

    def sheet(model: SupervisedGenerator, file: Path) -> None:
        z = batches.latents(jax.random.key(1), count=16)
        truth = batches.draw(batches.faces_of(z), side)
        draw = jax.jit(lambda model, z: model(z, resolution=side))
        write_pairs(file, [truth, draw(model.generator, z)])

    return Stage(draw=draw, loss=loss, sheet=sheet, **common)


def _regressed(
    model: SupervisedGenerator, z: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return w [N, D], the weighted error of the regression from it, and its distance from white.

    The last is the squared distance of the codes' covariance from the identity and of their mean
    from 0, divided by D. Edits measure distances in W by the Euclidean norm, so W should have the
    same variance in every direction.
    """
    w = model.generator.mapping(z)
    reading = jnp.mean(batches.target_weights() * jnp.square(model.reading(w) - targets))
    mean = w.mean(0)
    excess = (w - mean).T @ (w - mean) / len(w) - jnp.eye(w.shape[1])
    spread = (jnp.sum(jnp.square(excess)) + jnp.sum(jnp.square(mean))) / w.shape[1]
    return w, reading, spread


def psnr(square: jax.Array) -> jax.Array:
    """Return the mean over pictures of the PSNR in dB, from squared errors [N,R,R,3] of [-1, 1]."""
    return jnp.mean(-10 * jnp.log10(square.mean((1, 2, 3)) / 4))


def finish(generator: Generator, key: jax.Array) -> Generator:
    """Set the unit of W, which training leaves open, and the mean latent; pictures do not change.

    A layer's share of the paper's k = 20 becomes 12 standard deviations of a coordinate of w. Along
    the neutral direction, where codes vary more, it is about 7; a step of that size neutralises
    seven of ten photographs with pSp and eight with HyperStyle. Edits beyond it leave the faces'
    distribution; happiness does so earlier.
    """
    z = batches.latents(key, count=20_000)
    w = np.asarray(jax.jit(lambda mapping, z: mapping(z))(generator.mapping, z), np.float64)
    deviation = np.sqrt(w.var(0).mean())
    scale = np.float32(K / np.sqrt(generator.config.n_latent) / (_SIGMAS * deviation))
    last = generator.mapping.layers[-1]  # leaky ReLU commutes with a positive factor
    last.weight[...] = scale * last.weight[...]
    last.bias[...] = scale * last.bias[...]
    for layer in (*generator.synthesis.convs, *generator.synthesis.to_rgbs):
        layer.modulation.weight[...] = layer.modulation.weight[...] / scale
    generator.latent_avg[...] = jax.jit(mean_latent)(generator, key)
    return generator


def _rate_factor(rates: dict[str, float], name: str) -> float:
    if name.endswith(".noise"):  # the constant noise pictures are not trained
        return 0.0
    return next((rate for part, rate in rates.items() if name.startswith(part)), 1.0)
