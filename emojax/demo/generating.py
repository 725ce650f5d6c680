"""The generator's part of the recipe: regression from latents to their drawn faces."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.demo import world
from emojax.demo.expressions import EMOTIONS
from emojax.demo.factors import FACTORS
from emojax.demo.recipe import Profile
from emojax.demo.sheets import write_pairs
from emojax.demo.training import Figures, Stage
from emojax.models.stylegan2 import Generator, mean_latent

_TARGETS = len(world.ATTRIBUTES) + len(EMOTIONS)
_MAPPING_RATES = {"mapping": 60.0, "generator": 10.0}  # its weights are stored divided by 0.01
_UNITS, _EMOTIONS = 2.0, 8.0  # weights of a target, a factor's being 1
_STRENGTH = 20.0  # the paper's k ...
_SIGMAS = 3.0  # ... is to be so many deviations of the neutral coordinate


class Taught(nnx.Module):
    """A generator, and a linear reading of its w that teaches the mapping what a face is.

    The reading makes W carry identity factors, action units and emotions almost linearly. An
    adversarially trained generator comes by this on its own, and less perfectly.
    """

    def __init__(self, profile: Profile, *, rngs: nnx.Rngs) -> None:
        self.generator = Generator(profile.generator, rngs=rngs)
        self.reading = nnx.Linear(profile.generator.style_dim, _TARGETS, rngs=rngs)
        for to_rgb in self.generator.synthesis.to_rgbs:
            to_rgb.weight[...] = 0.1 * to_rgb.weight[...]


def stages(profile: Profile, seed: int) -> tuple[Stage, Stage]:
    """Return the mapping's warm-up and the generator's training; the second starts from the
    first's result, which the caller puts in its `model`."""
    side, face = profile.resolution, world.face_weights(profile.resolution)
    model = Taught(profile, rngs=nnx.Rngs(seed))
    length, weights = profile.lengths["mapping"], _target_weights()

    def latents_only(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        z = world.expressive_latents(key, count=length.batch)
        return z, world.targets(world.described(z))

    def read(model: Taught, z: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        w = model.generator.mapping(z)
        return w, jnp.mean(weights * jnp.square(model.reading(w) - targets))

    def warm_up(model: Taught, frozen: None, batch: tuple) -> tuple[jax.Array, Figures]:
        return read(model, *batch)[1], {}

    def with_pictures(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        z = world.expressive_latents(key, count=profile.lengths["generator"].batch)
        faces = world.described(z)
        return z, world.targets(faces), world.draw(faces, side)

    def regress(model: Taught, frozen: None, batch: tuple) -> tuple[jax.Array, Figures]:
        z, targets, pictures = batch
        w, reading = read(model, z, targets)
        drawn = model.generator.synthesis(model.generator.w_plus(w))
        square = jnp.square(drawn - pictures)
        loss = jnp.mean(face * square) + 0.02 * reading
        return loss, {"psnr": psnr(square), "reading": reading}

    def sheet(model: Taught, file: Path) -> None:
        z = world.latents(jax.random.key(1), count=16)
        truth = world.draw(world.described(z), side)
        write_pairs(file, [truth, jax.jit(lambda m, z: m(z))(model.generator, z)])

    def rate(stage: str) -> Callable[[str], float]:
        rates = {"generator.mapping": _MAPPING_RATES[stage], "reading": 0.2}
        return lambda name: _rate(rates, name)

    common = {"model": model, "frozen": None}
    return (
        Stage(
            "mapping",
            draw=latents_only,
            loss=warm_up,
            steps=length.steps,
            rate=length.rate,
            faster=rate("mapping"),
            **common,
        ),
        Stage(
            "generator",
            draw=with_pictures,
            loss=regress,
            steps=profile.lengths["generator"].steps,
            rate=profile.lengths["generator"].rate,
            faster=rate("generator"),
            sheet=sheet,
            **common,
        ),
    )


def psnr(square: jax.Array) -> jax.Array:
    """Return the mean over pictures of the PSNR in dB, from squared errors [N,R,R,3] of [-1, 1]."""
    return jnp.mean(-10 * jnp.log10(square.mean((1, 2, 3)) / 4))


def finish(generator: Generator, key: jax.Array) -> Generator:
    """Measure the mean latent and settle the length of w.

    Nothing in training fixes the unit of W. It is chosen so that a code whose neutral coordinate
    is the paper's k = 20 lies three deviations beyond the mean, as far as edits stay faces. The
    pictures do not change.
    """
    z = world.latents(key, count=20_000)
    w = np.asarray(jax.jit(lambda mapping, z: mapping(z))(generator.mapping, z), np.float64)
    neutral = np.asarray(world.described(z).emotion[:, EMOTIONS.index("neutral")], np.float64)
    centred = w - w.mean(0)
    spread = centred.T @ centred / len(w)
    ridge = 1e-3 * np.trace(spread) / len(spread) * np.eye(len(spread))
    direction = np.linalg.solve(spread + ridge, centred.T @ (neutral - neutral.mean()))
    coordinate = w @ (direction / np.linalg.norm(direction))
    wanted = _STRENGTH / np.sqrt(generator.config.n_latent)  # a layer's share of k
    scale = np.float32(wanted / (coordinate.mean() + _SIGMAS * coordinate.std()))
    last = generator.mapping.layers[-1]  # leaky ReLU follows, which keeps positive factors
    last.weight[...] = scale * last.weight[...]
    last.bias[...] = scale * last.bias[...]
    for layer in (*generator.synthesis.convs, *generator.synthesis.to_rgbs):
        layer.modulation.weight[...] = layer.modulation.weight[...] / scale
    generator.latent_avg[...] = jax.jit(mean_latent)(generator, key)
    return generator


def _target_weights() -> np.ndarray:
    """Weights of the reading's targets: emotions, above all the rare ones, vary least."""
    factors = len(FACTORS)
    units = len(world.ATTRIBUTES) - factors
    return np.repeat(np.float32([1, _UNITS, _EMOTIONS]), [factors, units, len(EMOTIONS)])


def _rate(rates: dict[str, float], name: str) -> float:
    if name.endswith(".noise"):  # the constant noise pictures stay noise
        return 0.0
    return next((rate for part, rate in rates.items() if name.startswith(part)), 1.0)
