"""The generator's part of the recipe: regression from latents to their drawn faces."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.demo import batches
from emojax.demo.contact_sheets import write_pairs
from emojax.demo.training.loop import Figures, Stage
from emojax.demo.training.recipe import Profile
from emojax.models.stylegan2 import Generator, mean_latent

_MAPPING_RATES = {
    "mapping": 60.0,
    "coarse": 10.0,
    "generator": 10.0,
}  # its weights are stored divided by 0.01
_TAUGHT = 256  # codes at a time that W is taught on
_STRENGTH = 20.0  # the paper's k ...
_SIGMAS = 12.0  # ... is to be so many deviations of a coordinate


class Taught(nnx.Module):
    """A generator, and a linear reading of its w that teaches the mapping what a face is.

    The reading makes W carry identity factors, action units and emotions almost linearly. An
    adversarially trained generator comes by this on its own, and less perfectly.
    """

    def __init__(self, profile: Profile, *, rngs: nnx.Rngs) -> None:
        self.generator = Generator(profile.generator, rngs=rngs)
        self.reading = nnx.Linear(profile.generator.style_dim, len(batches.TARGETS), rngs=rngs)
        for to_rgb in self.generator.synthesis.to_rgbs:
            to_rgb.weight[...] = 0.1 * to_rgb.weight[...]


def stage(profile: Profile, name: str, model: Taught | None, seed: int) -> Stage:
    """Return one of the generator's three stages.

    Args:
        profile: of the world.
        name: "mapping" warms the mapping network up, "coarse" trains all but the last block on
            pictures of half the size, at a third of the cost, and "generator" the whole.
        model: what the stage before made; the first starts from nothing.
        seed: of the weights.
    """
    model = model or Taught(profile, rngs=nnx.Rngs(seed))
    length = profile.lengths[name]
    rates = {"generator.mapping": _MAPPING_RATES[name], "reading": 0.2}
    common = {
        "name": name,
        "model": model,
        "frozen": None,
        "steps": length.steps,
        "rate": length.rate,
        "faster": lambda parameter: _rate(rates, parameter),
    }
    if name == "mapping":
        return _warm_up(length.batch, common)
    coarse = name == "coarse"
    side = profile.resolution // (2 if coarse else 1)
    return _regression(length.batch, side, common, expressive=not coarse)


def _warm_up(count: int, common: dict[str, Any]) -> Stage:
    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        z = batches.expressive_latents(key, count=count)
        return z, batches.targets(batches.described(z))

    def loss(model: Taught, frozen: None, batch: tuple) -> tuple[jax.Array, Figures]:
        _, reading, spread = _taught(model, *batch)
        return reading + 0.1 * spread, {"reading": reading, "spread": spread}

    return Stage(draw=draw, loss=loss, muon=False, **common)


def _regression(count: int, side: int, common: dict[str, Any], *, expressive: bool) -> Stage:
    """Pictures of the first `count` codes; W is taught on more, which cost next to nothing.

    `expressive`: emotions come evenly, and count where they show.
    """

    def draw(key: jax.Array) -> tuple[jax.Array, ...]:
        z = batches.expressive_latents(key, count=max(count, _TAUGHT), evenly=expressive)
        faces = batches.described(z)
        first = jax.tree.map(lambda a: a[:count], faces)
        drawn = batches.draw(first, side)
        weights = (
            batches.expression_weights(first, drawn) if expressive else batches.face_weights(side)
        )
        return z, batches.targets(faces), drawn, weights

    def loss(model: Taught, frozen: None, batch: tuple) -> tuple[jax.Array, Figures]:
        z, targets, pictures, weights = batch
        w, reading, spread = _taught(model, z, targets)
        drawn = model.generator.synthesis(model.generator.w_plus(w[:count]), resolution=side)
        square = jnp.square(drawn - pictures)
        total = jnp.mean(weights * square) + 0.02 * reading + 0.005 * spread
        return total, {"psnr": psnr(square), "reading": reading, "spread": spread}

    def sheet(model: Taught, file: Path) -> None:
        z = batches.latents(jax.random.key(1), count=16)
        truth = batches.draw(batches.described(z), side)
        draw = jax.jit(lambda model, z: model(z, resolution=side))
        write_pairs(file, [truth, draw(model.generator, z)])

    return Stage(draw=draw, loss=loss, sheet=sheet, **common)


def _taught(
    model: Taught, z: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return w [N, D], how far what is read off it is from the targets, and how far its mean and
    covariance are from 0 and 1: a W as wide in all directions is what Euclidean edits ask for.
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
    """Measure the mean latent and settle the length of w.

    Nothing in training fixes the unit of W. It is chosen so that the paper's k = 20, a layer's
    share of it, is twelve deviations of a code's coordinate. Along neutral's direction, in which
    codes vary more, it is some seven: that neutralises seven photographs in ten by pSp, eight by
    HyperStyle. It is about as far as edits stay faces, and for happiness's too far. The
    pictures do not change.
    """
    z = batches.latents(key, count=20_000)
    w = np.asarray(jax.jit(lambda mapping, z: mapping(z))(generator.mapping, z), np.float64)
    deviation = np.sqrt(w.var(0).mean())
    scale = np.float32(_STRENGTH / np.sqrt(generator.config.n_latent) / (_SIGMAS * deviation))
    last = generator.mapping.layers[-1]  # leaky ReLU follows, which keeps positive factors
    last.weight[...] = scale * last.weight[...]
    last.bias[...] = scale * last.bias[...]
    for layer in (*generator.synthesis.convs, *generator.synthesis.to_rgbs):
        layer.modulation.weight[...] = layer.modulation.weight[...] / scale
    generator.latent_avg[...] = jax.jit(mean_latent)(generator, key)
    return generator


def _rate(rates: dict[str, float], name: str) -> float:
    if name.endswith(".noise"):  # the constant noise pictures stay noise
        return 0.0
    return next((rate for part, rate in rates.items() if name.startswith(part)), 1.0)
