"""Stages of the inverters: encoder trunk, pSp's encoder, HyperStyle's encoder and hypernetwork."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.demo import batches
from emojax.demo.contact_sheets import write_pairs
from emojax.demo.drawing.factors import Params
from emojax.demo.training.recipe import Profile
from emojax.latents.inversion import Inverter
from emojax.latents.refinement import redraw, refine
from emojax.models.efficientnet import EmotionNet
from emojax.models.hyperstyle import Hypernet
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator
from emojax.nn.pooling import area_mean
from emojax.training import hypernet
from emojax.training.loop import Metrics, Stage
from emojax.training.losses import Critics, Weights, likeness

_CODE_WEIGHT = 0.1
"""Loss weight of the distance to the known codes."""
_READING_WEIGHT = 0.2
"""Of the error of attributes and emotions that are predicted from the codes."""
_AVERAGE_WEIGHT = 0.002
"""Of the codes' distance from the average, pSp's w-norm loss."""
_LIKENESS = Weights(perceptual=0.05, identity=0.1)
"""Of pixels, of the distance in the feature network, which stands in for LPIPS, and of that in the
attribute regressor's trunk, which stands in for ArcFace."""
_SHARP_LIKENESS = Weights(perceptual=0.1, sharpness=2.0)
"""HyperStyle's. Changed kernels can blur, which the squared error rewards."""
_NO_SPREAD = 1e-12
"""Keeps the loss finite for a generator of zeros, for which programs are compiled."""
_STATISTICS = 0.5
"""Share of the steps with batch statistics."""
_REGRESSED = 16_384
"""Codes for the regression of attributes on codes."""


def trunk(profile: Profile, _needed: Sequence[Any], seed: int) -> Stage:
    """Return the stage that pretrains the encoders' trunk by regression of attributes and emotions.

    The original encoders start from ArcFace's IR-SE-50, pretrained on face recognition.
    """
    length = profile.lengths["trunk"]
    model = Encoder(profile.trunk, rngs=nnx.Rngs(seed))

    def draw(key: jax.Array, _frozen: None) -> tuple[jax.Array, jax.Array]:
        _, faces, _, pictures = _drawn(key, length.batch, profile.seen)
        return batches.targets(faces), pictures

    def loss(
        model: Encoder, _: None, batch: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, Metrics]:
        targets, pictures = batch
        error = jnp.square(model(pictures)[:, 0] - targets)
        return jnp.mean(batches.target_weights() * error), {"plain": error.mean()}

    return Stage(
        "trunk", model, draw, loss, None, length.steps, length.rate, statistics=_STATISTICS
    )


class Judges(NamedTuple):
    """What the encoders are trained against; none of it changes.

    Attributes:
        generator: finished.
        critics: feature network and attribute regressor.
        reading: [D,T] linear regression of attributes and emotions on codes.
        spread: [] mean variance of the codes.
    """

    generator: Generator
    critics: Critics
    reading: np.ndarray
    spread: np.ndarray


def psp(profile: Profile, needed: Sequence[Any], seed: int) -> Stage:
    """Return the stage of pSp's encoder; `needed` as for `w_encoder`."""
    return _encoder(profile, "psp", needed, seed)


def w_encoder(profile: Profile, needed: Sequence[Any], seed: int) -> Stage:
    """Return the stage of HyperStyle's encoder to W.

    Args:
        profile: configs and lengths.
        needed: generator, encoder trunk, feature network, attribute regressor.
        seed: of the weights.
    """
    return _encoder(profile, "w_encoder", needed, seed)


def _encoder(profile: Profile, name: str, needed: Sequence[Any], seed: int) -> Stage:
    """Return an encoder's stage, which starts from a pretrained trunk; see `w_encoder`."""
    generator, pretrained, features, attributes = needed
    length = profile.lengths[name]
    model = Encoder(getattr(profile, name), rngs=nnx.Rngs(seed))
    # copied, as training donates the parameters' memory
    nnx.update(model.trunk, jax.tree.map(jnp.copy, nnx.state(pretrained.trunk)))
    average = _average(model)
    average[...] = jnp.broadcast_to(generator.latent_avg[...], average.shape)

    def sheet(model: Encoder, file: Path) -> None:
        photos = _photos(profile.resolution)
        draw = jax.jit(lambda m, g, x: g.synthesis(_codes(m, x)))
        write_pairs(file, [photos, draw(model, generator, photos)])

    return Stage(
        name,
        model,
        _draw(profile, length.batch),
        _encoder_loss,
        Judges(generator, Critics(features, attributes), *_reading(generator, seed)),
        length.steps,
        length.rate,
        rate_factor=lambda parameter: 0.0 if parameter.startswith("latent_avg") else 1.0,
        statistics=_STATISTICS,
        sheet=sheet,
    )


def _average(model: Encoder) -> nnx.Variable:
    """Return an encoder's average code, which its predictions are added to."""
    if model.latent_avg is None:
        raise ValueError("the encoder has no average code: wanted a config with average_rows")
    return model.latent_avg


def _reading(generator: Generator, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the regression of attributes and emotions on codes, and the codes' mean variance."""
    z = batches.expressive_latents(jax.random.key(seed), count=_REGRESSED, balance=True)
    w = np.asarray(jax.jit(lambda mapping, z: mapping(z))(generator.mapping, z))
    targets = jax.jit(lambda z: batches.targets(batches.faces_of(z)))(z)
    spread = np.asarray(np.var(w, axis=0).mean() + _NO_SPREAD, np.float32)
    return _linear(w, targets), spread


def _encoder_loss(
    model: Encoder, judges: Judges, batch: tuple[jax.Array, jax.Array, jax.Array]
) -> tuple[jax.Array, Metrics]:
    """Return the encoders' loss: pixels, features, identity, known codes, attributes, average code.

    The known codes are those of the latents that the faces were drawn from. A linear regression
    predicts attributes and emotions from codes; its error weighs errors of a code by what they do
    to identity and emotion.
    """
    w, pictures, weights = batch
    generator = judges.generator
    codes = _codes(model, pictures)
    again = generator.synthesis(codes)
    missed = codes - w[:, None]
    known = jnp.mean(jnp.square(missed)) / judges.spread
    read = jnp.mean(batches.target_weights() * jnp.square(missed @ judges.reading))
    near = jnp.mean(jnp.square(codes - generator.latent_avg[...])) / judges.spread
    total, metrics = likeness(judges.critics, _LIKENESS, again, pictures, weights)
    total = total + _CODE_WEIGHT * known + _READING_WEIGHT * read + _AVERAGE_WEIGHT * near
    return total, {**metrics, "known": known, "read": read}


def _codes(encoder: Encoder, pictures: jax.Array) -> jax.Array:
    """Return the codes [N,L,D] of pictures, which may be larger than the encoder sees."""
    return encoder(area_mean(pictures, encoder.config.resolution))


def hyperstyle(profile: Profile, needed: Sequence[Any], seed: int) -> Stage:
    """Return the stage of HyperStyle's hypernetwork; generator and W encoder are frozen.

    Half of the faces have poses and light that the generator seldom draws, which is what changed
    kernels are for. All pixels have the same weight. The feature network, trained on 64 pixels,
    compares pictures at their full size.

    Args:
        profile: configs and lengths.
        needed: generator, W encoder, feature network.
        seed: of the weights.
    """
    generator, encoder, features = needed
    length = profile.lengths["hyperstyle"]
    model = hypernet.initial(profile.hyperstyle, seed)

    def draw(key: jax.Array, _: Any) -> tuple[jax.Array, jax.Array]:
        people, passes = jax.random.split(key)
        _, _, _, pictures = _drawn(people, length.batch, profile.resolution, half_turned=True)
        before = jax.random.randint(passes, (), 0, hypernet.PASSES)
        return pictures, jnp.broadcast_to(before, len(pictures))

    def loss(model: Hypernet, frozen: hypernet.Frozen, batch: Any) -> tuple[jax.Array, Metrics]:
        pictures, before = batch
        return hypernet.pass_loss(model, frozen, _SHARP_LIKENESS, pictures, before[0])

    def begin(model: Hypernet) -> Hypernet:
        keys = jax.random.split(jax.random.key(seed), hypernet.CALIBRATED)
        return hypernet.calibrated(model, generator, encoder, (draw(key, None)[0] for key in keys))

    def sheet(model: Hypernet, file: Path) -> None:
        photos = _photos(profile.resolution)
        inverter = Inverter(generator, encoder, model, method="hyperstyle")
        seen = area_mean(photos, inverter.resolution)
        codes, sums, _ = refine(inverter, seen, passes=hypernet.PASSES)
        write_pairs(file, [photos, redraw(inverter, codes, sums, hypernet.PASSES)])

    return Stage(
        "hyperstyle",
        model,
        draw,
        loss,
        hypernet.Frozen(generator, encoder, Critics(_of_size(features, profile.resolution))),
        length.steps,
        length.rate,
        begin=begin,
        sheet=sheet,
    )


def _linear(w: jax.Array | np.ndarray, targets: jax.Array) -> np.ndarray:
    """Return the matrix [D, T] of the linear regression of targets [N, T] on codes [N, D]."""
    x, y = (np.asarray(each, np.float64) for each in (w, targets))
    found = np.linalg.lstsq(x - x.mean(0), y - y.mean(0))[0]
    return found.astype(np.float32)


def _draw(profile: Profile, batch: int) -> Callable[[jax.Array, Judges], Any]:
    """Return a function from key and generator to codes, pictures and pixel weights.

    Half of the pictures are the generator's, the other half drawn, in other colours.
    """
    half = batch // 2

    def draw(key: jax.Array, judges: Judges) -> tuple[jax.Array, jax.Array, jax.Array]:
        one, other = jax.random.split(key)
        z, faces, drawn, pictures = _drawn(one, batch - half, profile.resolution)
        again = batches.expressive_latents(other, count=half, balance=True)
        w, made = _generated(judges.generator, jnp.concatenate([again, z]), count=half)
        shown = batches.faces_of(again)
        weights = [
            batches.expression_weights(shown, batches.draw(shown, profile.resolution)),
            batches.expression_weights(faces, drawn),
        ]
        return w, jnp.concatenate([made, pictures]), jnp.concatenate(weights)

    return draw


@functools.partial(jax.jit, static_argnames="count")
def _generated(generator: Generator, z: jax.Array, *, count: int) -> tuple[jax.Array, jax.Array]:
    """Return the codes of latents, and the pictures of the first `count` of them."""
    w = generator.mapping(z)
    return w, generator.synthesis(generator.w_plus(w[:count])).clip(-1, 1)


def _of_size(features: EmotionNet, side: int) -> EmotionNet:
    """Return a network for pictures of another side; all but its last layer are convolutions."""
    network = nnx.clone(features)
    network.config = dataclasses.replace(features.config, size=side)
    return network


def _drawn(
    key: jax.Array, count: int, side: int, *, half_turned: bool = False
) -> tuple[jax.Array, Params, jax.Array, jax.Array]:
    """Return latents, their faces, their pictures, and the pictures in other colours."""
    latents, colours = jax.random.split(key)
    z = batches.expressive_latents(latents, count=count, balance=True)
    faces = batches.faces_of(z)
    if half_turned:
        faces = batches.half_turned(faces)
    drawn = batches.draw(faces, side)
    return z, faces, drawn, batches.tinted(colours, drawn)


def _photos(resolution: int) -> jax.Array:
    """Return 16 pictures of the photo domain, always the same."""
    people, camera = jax.random.split(jax.random.key(1))
    return batches.photographed(
        camera, batches.draw(batches.photo_faces(people, count=16), resolution)
    )
