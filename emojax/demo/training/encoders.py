"""Stages of the inverters: encoder trunk, pSp's encoder, HyperStyle's encoder and hypernetwork."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.demo import batches
from emojax.demo.contact_sheets import write_pairs
from emojax.demo.drawing.factors import Params
from emojax.demo.training.generator import psnr
from emojax.demo.training.loop import Metrics, Stage
from emojax.demo.training.recipe import Profile
from emojax.latents.inversion import Inverter
from emojax.latents.refinement import redraw, refine
from emojax.models.hyperstyle import Hypernet, SeparateBlock
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator

_CODE_WEIGHT = 0.1
"""Loss weight of the distance to the known codes."""
_READING_WEIGHT = 0.2
"""Of the error of attributes and emotions that are predicted from the codes."""
_AVERAGE_WEIGHT = 0.002
"""Of the codes' distance from the average, pSp's w-norm loss."""
_STATISTICS = 0.5
"""Share of the steps with batch statistics."""
_PASSES = 5
_REGRESSED = 16_384
"""Codes for the regression of attributes on codes."""


def trunk(profile: Profile, seed: int) -> Stage:
    """Return the stage that pretrains the encoders' trunk by regression of attributes and emotions.

    The original encoders start from ArcFace's IR-SE-50, pretrained on face recognition.
    """
    length = profile.lengths["trunk"]
    model = Encoder(profile.trunk, rngs=nnx.Rngs(seed))

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, faces, _, pictures = _drawn(profile, key, length.batch)
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


def psp(profile: Profile, generator: Generator, trunk: Encoder, seed: int) -> Stage:
    """Return the stage of pSp's encoder; the generator is frozen."""
    return _encoder(profile, "psp", generator, trunk, seed)


def w_encoder(profile: Profile, generator: Generator, trunk: Encoder, seed: int) -> Stage:
    """Return the stage of HyperStyle's encoder to W; the generator is frozen."""
    return _encoder(profile, "w_encoder", generator, trunk, seed)


def _encoder(
    profile: Profile, name: str, generator: Generator, pretrained: Encoder, seed: int
) -> Stage:
    """Return an encoder's stage, which starts from a pretrained trunk.

    Args:
        profile: configs and lengths.
        name: "psp" or "w_encoder".
        generator: frozen.
        pretrained: result of the stage "trunk".
        seed: of the weights.
    """
    length = profile.lengths[name]
    model = Encoder(getattr(profile, name), rngs=nnx.Rngs(seed))
    # copied, as training donates the parameters' memory
    nnx.update(model.trunk, jax.tree.map(jnp.copy, nnx.state(pretrained.trunk)))
    average = _average(model)
    average[...] = jnp.broadcast_to(generator.latent_avg[...], average.shape)

    def sheet(model: Encoder, file: Path) -> None:
        photos = _photos(profile.resolution)
        draw = jax.jit(lambda m, g, x: g.synthesis(m(x)))
        write_pairs(file, [photos, draw(model, generator, photos)])

    return Stage(
        name,
        model,
        _draw(profile, generator, length.batch),
        _encoder_loss(generator, seed),
        generator,
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


def _encoder_loss(generator: Generator, seed: int) -> Callable[..., tuple[jax.Array, Metrics]]:
    """Return the encoders' loss: pixels, known codes, attributes, distance from the average code.

    The known codes are those of the latents that the faces were drawn from. A linear regression
    predicts attributes and emotions from codes; its error takes the place of the original's
    identity loss: it weighs errors of a code by what they do to identity and emotion.
    """
    z = batches.expressive_latents(jax.random.key(seed), count=_REGRESSED, balance=True)
    w = generator.mapping(z)
    spread = float(jnp.var(w, axis=0).mean())
    reading = _linear(w, batches.targets(batches.faces_of(z)))

    def loss(
        model: Encoder, generator: Generator, batch: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, Metrics]:
        w, pictures, weights = batch
        codes = model(pictures)
        square = jnp.square(generator.synthesis(codes) - pictures)
        missed = codes - w[:, None]
        known = jnp.mean(jnp.square(missed)) / spread
        read = jnp.mean(batches.target_weights() * jnp.square(missed @ reading))
        near = jnp.mean(jnp.square(codes - generator.latent_avg[...])) / spread
        total = jnp.mean(weights * square)
        total = total + _CODE_WEIGHT * known + _READING_WEIGHT * read + _AVERAGE_WEIGHT * near
        return total, {"psnr": psnr(square), "known": known, "read": read}

    return loss


def hyperstyle(profile: Profile, generator: Generator, encoder: Encoder, seed: int) -> Stage:
    """Return the stage of HyperStyle's hypernetwork; generator and W encoder are frozen.

    As in the original every pass has its own loss, with gradients through that pass alone. A step
    trains one random pass, and runs those before it without gradients: it costs a third of all
    five, and every step has new faces. All pixels have the same weight.
    """
    length = profile.lengths["hyperstyle"]
    model = Hypernet(profile.hyperstyle, rngs=nnx.Rngs(seed))
    for block in model.blocks:
        if isinstance(block, SeparateBlock):
            block.output.kernel[...] = 0.05 * block.output.kernel[...]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        people, passes = jax.random.split(key)
        _, _, _, pictures = _drawn(profile, people, length.batch)
        return pictures, jax.random.randint(passes, (), 0, _PASSES)

    def begin(model: Hypernet) -> Hypernet:
        return _calibrated(model, generator, encoder, lambda key: draw(key)[0], seed)

    def sheet(model: Hypernet, file: Path) -> None:
        photos = _photos(profile.resolution)
        inverter = Inverter(generator, encoder, model, method="hyperstyle")
        codes, sums, _ = refine(inverter, photos, passes=_PASSES)
        write_pairs(file, [photos, redraw(inverter, codes, sums, _PASSES)])

    return Stage(
        "hyperstyle",
        model,
        draw,
        _pass_loss,
        (generator, encoder),
        length.steps,
        length.rate,
        begin=begin,
        sheet=sheet,
    )


def _pass_loss(
    model: Hypernet, frozen: tuple[Generator, Encoder], batch: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, Metrics]:
    """Return the pixel loss of one pass of HyperStyle.

    Args:
        model: the hypernetwork.
        frozen: generator and W encoder.
        batch: pictures, and the number of passes before the one that is trained.
    """
    (generator, encoder), (pictures, before) = frozen, batch
    codes = encoder(pictures)

    def one_pass(
        model: Hypernet, number: jax.Array, sums: jax.Array, shown: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        sums = sums + model(pictures, shown)
        return sums, generator.synthesis(codes, deltas=model.deltas(sums, number + 1))

    graph, state = nnx.split(model)
    fixed = nnx.merge(graph, jax.lax.stop_gradient(state))
    shape = (len(pictures), len(model.config.layers), model.config.widths[-1])
    start = jnp.zeros(shape), generator.synthesis(codes)
    sums, shown = jax.lax.fori_loop(
        0, before, lambda number, state: one_pass(fixed, number, *state), start
    )
    again = one_pass(model, before, sums, shown)[1]
    square = jnp.square(again - pictures)
    metrics = {"before": psnr(jnp.square(shown - pictures)), "psnr": psnr(square)}
    return square.mean(), metrics


def _calibrated(
    model: Hypernet,
    generator: Generator,
    encoder: Encoder,
    pictures: Callable[[jax.Array], jax.Array],
    seed: int,
) -> Hypernet:
    """Set the hypernetwork's BatchNorm statistics to those of its first pass; they stay fixed."""
    model.train()
    model.set_attributes(nnx.BatchNorm, momentum=0.8)
    graph, state = nnx.split(model)

    @jax.jit
    def follow(state: Any, generator: Generator, encoder: Encoder, x: jax.Array) -> Any:
        model = nnx.merge(graph, state, copy=True)
        model(x, generator.synthesis(encoder(x)))
        return nnx.split(model)[1]

    for key in jax.random.split(jax.random.key(seed), 20):
        state = follow(state, generator, encoder, pictures(key))
    model = nnx.merge(graph, state)
    model.eval()
    return model


def _linear(w: jax.Array, targets: jax.Array) -> np.ndarray:
    """Return the matrix [D, T] of the linear regression of targets [N, T] on codes [N, D]."""
    x, y = (np.asarray(each, np.float64) for each in (w, targets))
    found = np.linalg.lstsq(x - x.mean(0), y - y.mean(0))[0]
    return found.astype(np.float32)


def _draw(profile: Profile, generator: Generator, batch: int) -> Callable[[jax.Array], Any]:
    """Return a function from a key to codes, pictures and pixel weights.

    Half of the pictures are the generator's, the other half drawn, in other colours.
    """
    half = batch // 2

    @jax.jit
    def generated(generator: Generator, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        w = generator.mapping(z)
        return w, generator.synthesis(generator.w_plus(w[:half])).clip(-1, 1)

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        one, other = jax.random.split(key)
        z, faces, drawn, pictures = _drawn(profile, one, batch - half)
        again = batches.expressive_latents(other, count=half, balance=True)
        w, made = generated(generator, jnp.concatenate([again, z]))
        shown = batches.faces_of(again)
        weights = [
            batches.expression_weights(shown, batches.draw(shown, profile.resolution)),
            batches.expression_weights(faces, drawn),
        ]
        return w, jnp.concatenate([made, pictures]), jnp.concatenate(weights)

    return draw


def _drawn(
    profile: Profile, key: jax.Array, count: int
) -> tuple[jax.Array, Params, jax.Array, jax.Array]:
    """Return latents, their faces, their pictures, and the pictures in other colours."""
    latents, colours = jax.random.split(key)
    z = batches.expressive_latents(latents, count=count, balance=True)
    faces = batches.faces_of(z)
    drawn = batches.draw(faces, profile.resolution)
    return z, faces, drawn, batches.tinted(colours, drawn)


def _photos(resolution: int) -> jax.Array:
    """Return 16 pictures of the photo domain, always the same."""
    people, camera = jax.random.split(jax.random.key(1))
    return batches.photographed(
        camera, batches.draw(batches.photo_faces(people, count=16), resolution)
    )
