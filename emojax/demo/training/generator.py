"""Stages of the generator: regression from latents to their drawn faces, then adversarial."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.demo import batches
from emojax.demo.contact_sheets import write_pairs
from emojax.demo.training import adversary
from emojax.demo.training.recipe import Profile
from emojax.models.efficientnet import EmotionNet
from emojax.models.generator import mean_latent
from emojax.models.stylegan2 import Generator
from emojax.runtime.choices import K
from emojax.training import feature_losses
from emojax.training.loop import Metrics, Stage
from emojax.training.losses import psnr

_SHARES = {"coarse": 4, "middle": 2, "fine": 1}
"""What the resolution is divided by in the stages of regression."""
_MAPPING_RATES = {"mapping": 60.0, "coarse": 10.0, "middle": 10.0, "fine": 10.0, "generator": 3.0}
"""Rate factors of the mapping network, whose weights are stored divided by 0.01."""
_REGRESSED = 256
"""Codes a step for the regression from w to the targets."""
_EDGE_WEIGHT = 1.0
"""Loss weight of the error of differences between neighbouring pixels."""
_SIGMAS = 12.0
"""The paper's k of 20 is as many standard deviations of a coordinate of w."""


class SupervisedGenerator(nnx.Module):
    """A generator, and a linear regression from its w to `batches.W_TARGETS`.

    The regression makes identity factors, action units and emotions almost linear in W. In an
    adversarially trained generator this happens by itself, less exactly.
    """

    def __init__(self, profile: Profile, *, rngs: nnx.Rngs) -> None:
        self.generator = Generator(profile.generator, rngs=rngs)
        self.reading = nnx.Linear(profile.generator.style_dim, len(batches.W_TARGETS), rngs=rngs)
        for to_rgb in self.generator.synthesis.to_rgbs:
            to_rgb.weight[...] = 0.1 * to_rgb.weight[...]


class Batch(NamedTuple):
    """What a step of regression learns from; any share of the samples is a batch, too.

    Attributes:
        z: latents [N, Z].
        more: further latents without pictures [M, Z], for the regression from w only.
        targets: of z [N, T].
        more_targets: of `more` [M, T].
        pictures: drawings of z [N, R, R, 3].
        weights: of their pixels [N, R, R, 1].
    """

    z: jax.Array
    more: jax.Array
    targets: jax.Array
    more_targets: jax.Array
    pictures: jax.Array
    weights: jax.Array


def stage(profile: Profile, name: str, needed: list[Any], seed: int) -> Stage:
    """Return one of the generator's stages.

    Args:
        profile: configs and lengths.
        name: "mapping" pretrains the mapping network; "coarse" and "middle" train all but the last
            two blocks and the last one, on pictures of a quarter and half of the size, at a tenth
            and a third of the cost; "fine" trains all; "generator" makes it sharp, see `adversary`.
        needed: results of the stages that it needs.
        seed: of the weights.
    """
    length = profile.lengths[name]
    rates = {"mapping": _MAPPING_RATES[name], "reading": 0.2}
    common = {
        "name": name,
        "frozen": None,
        "steps": length.steps,
        "rate": length.rate,
        "rate_factor": lambda parameter: _rate_factor(rates, parameter),
    }
    if name == "mapping":
        model = SupervisedGenerator(profile, rngs=nnx.Rngs(seed))
        return _mapping(length.batch, {**common, "model": model})
    model = copied(needed[0])
    if name == "generator":
        return _sharpened(profile, length.batch, needed[1], seed, {**common, "model": model})
    side = profile.resolution // _SHARES[name]
    expressive = name == "fine"
    return _pictures(length.batch, side, {**common, "model": model}, expressive=expressive)


def copied(network: nnx.Module) -> Any:
    """Return a copy of a network: training donates the memory of its parameters."""
    graph, state = nnx.split(network)
    return nnx.merge(graph, jax.tree.map(jnp.copy, state))


def _mapping(count: int, common: dict[str, Any]) -> Stage:
    def draw(key: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        z = batches.expressive_latents(key, count=count)
        return z, batches.w_targets(batches.faces_of(z))

    def loss(model: SupervisedGenerator, _: None, batch: tuple) -> tuple[jax.Array, Metrics]:
        _w, reading, spread = _regressed(model, *batch)
        return reading + 0.1 * spread, {"reading": reading, "spread": spread}

    return Stage(draw=draw, loss=loss, muon=False, **common)


def _draw(count: int, side: int, *, expressive: bool) -> Callable[[jax.Array, Any], Batch]:
    """Return a function to batches.

    The regression from w uses more codes than there are pictures; they cost little.

    Args:
        count: pictures.
        side: of the pictures.
        expressive: balance the emotions, and give a higher weight to pixels that they change.
    """

    def draw(key: jax.Array, _: Any) -> Batch:
        every = batches.expressive_latents(key, count=max(count, _REGRESSED), balance=expressive)
        faces = batches.faces_of(every)
        targets = batches.w_targets(faces)
        first = jax.tree.map(lambda a: a[:count], faces)
        drawn = batches.draw(first, side)
        if expressive:
            weights = batches.expression_weights(first, drawn)
        else:
            weights = jnp.broadcast_to(batches.face_weights(side), (count, side, side, 1))
        return Batch(every[:count], every[count:], targets[:count], targets[count:], drawn, weights)

    return draw


def _regression(
    model: SupervisedGenerator, batch: Batch, side: int
) -> tuple[jax.Array, jax.Array, Metrics]:
    """Return the loss of the regression, the pictures that it is of, and metrics."""
    pictures = batch.pictures
    z = jnp.concatenate([batch.z, batch.more])
    targets = jnp.concatenate([batch.targets, batch.more_targets])
    w, reading, spread = _regressed(model, z, targets)
    codes = model.generator.w_plus(w[: len(pictures)])
    drawn = model.generator.synthesis(codes, resolution=side)
    square = jnp.square(drawn - pictures)
    total = jnp.mean(batch.weights * square) + _EDGE_WEIGHT * feature_losses.edges(drawn - pictures)
    total = total + 0.02 * reading + 0.005 * spread
    sharp = feature_losses.edges(drawn) / feature_losses.edges(pictures)
    metrics = {"psnr": psnr(square), "sharp": sharp, "reading": reading, "spread": spread}
    return total, drawn, metrics


def _pictures(count: int, side: int, common: dict[str, Any], *, expressive: bool) -> Stage:
    """Return a stage with a pixel loss; arguments as for `_draw`."""

    def loss(model: SupervisedGenerator, _: None, batch: Batch) -> tuple[jax.Array, Metrics]:
        total, _drawn, metrics = _regression(model, batch, side)
        return total, metrics

    draw, sheet = _draw(count, side, expressive=expressive), _sheet(side)
    return Stage(draw=draw, loss=loss, sheet=sheet, **common)


def _sharpened(
    profile: Profile, count: int, features: EmotionNet, seed: int, common: dict[str, Any]
) -> Stage:
    """Return the adversarial stage: the regression goes on, with two more losses.

    Args:
        profile: configs.
        count: pictures a step.
        features: the feature network.
        seed: of the weights.
        common: other arguments of the stage; `model` is the result of the regression.
    """
    side = profile.resolution
    model = adversary.Adversaries(common["model"], profile.channels, rngs=nnx.Rngs(seed))
    factor = common["rate_factor"]

    def loss(
        model: adversary.Adversaries, features: EmotionNet, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        total, drawn, metrics = _regression(model.student, batch, side)
        added, more = adversary.losses(model, features, drawn, batch.pictures)
        return total + added, {**metrics, **more}

    def sheet(model: adversary.Adversaries, file: Path) -> None:
        _sheet(side)(model.student, file)

    again = {
        "model": model,
        "frozen": features,
        "rate_factor": lambda name: adversary.rate_factor(name, factor),
    }
    return Stage(
        draw=_draw(count, side, expressive=True),
        loss=loss,
        sheet=sheet,
        momentum=0.0,
        average=adversary.AVERAGE,
        network=lambda model: model.student.generator,
        end=lambda generator: finish(generator, jax.random.key(seed)),
        **{**common, **again},
    )


def _sheet(side: int) -> Callable[[SupervisedGenerator, Path], None]:
    def sheet(model: SupervisedGenerator, file: Path) -> None:
        z = batches.latents(jax.random.key(1), count=16)
        truth = batches.draw(batches.faces_of(z), side)
        draw = jax.jit(lambda model, z: model(z, resolution=side))
        write_pairs(file, [truth, draw(model.generator, z)])

    return sheet


def _regressed(
    model: SupervisedGenerator, z: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return w [N, D], the weighted error of the regression from it, and its distance from white.

    The last is the squared distance of the codes' covariance from the identity and of their mean
    from 0, divided by D. Edits measure distances in W by the Euclidean norm, so W should have the
    same variance in every direction.
    """
    w = model.generator.mapping(z)
    reading = jnp.mean(batches.w_target_weights() * jnp.square(model.reading(w) - targets))
    mean = w.mean(0)
    excess = (w - mean).T @ (w - mean) / len(w) - jnp.eye(w.shape[1])
    spread = (jnp.sum(jnp.square(excess)) + jnp.sum(jnp.square(mean))) / w.shape[1]
    return w, reading, spread


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
    name = name.removeprefix("generator.")
    return next((rate for part, rate in rates.items() if name.startswith(part)), 1.0)
