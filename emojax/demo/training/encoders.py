"""The inverters' part of the recipe: the encoders' trunk, pSp, and HyperStyle's two networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.demo import batches
from emojax.demo.contact_sheets import write_pairs
from emojax.demo.training.generator import psnr
from emojax.demo.training.loop import Figures, Stage
from emojax.demo.training.recipe import Profile
from emojax.latents.inversion import Inverter, redraw, refine
from emojax.models.hyperstyle import Hypernet
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator

_CODES = 0.1  # weight of the pictures' known codes ...
_READ = 0.2  # ... and of what a face's attributes and emotions are by them
_NEAR = 0.002  # weight of the codes' distance from the average, pSp's w-norm loss
_STATISTICS = 0.5
_PASSES = 5
_READERS = 16_384  # codes that the reading of codes is fitted on


def trunk(profile: Profile, seed: int) -> Stage:
    """Teach the encoders' trunk what a face is like, on drawn faces alone.

    The originals start from an IR-SE-50 that ArcFace taught to tell people apart.
    """
    length = profile.lengths["trunk"]
    model = Encoder(profile.trunk, rngs=nnx.Rngs(seed))

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, faces, _, pictures = _drawn(profile, key, length.batch)
        return batches.targets(faces), pictures

    def loss(
        model: Encoder, frozen: None, batch: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, Figures]:
        targets, pictures = batch
        error = jnp.square(model(pictures)[:, 0] - targets)
        return jnp.mean(batches.target_weights() * error), {"plain": error.mean()}

    return Stage(
        "trunk", model, draw, loss, None, length.steps, length.rate, statistics=_STATISTICS
    )


def psp(profile: Profile, generator: Generator, trunk: Encoder, seed: int) -> Stage:
    """Train pSp's encoder, generator frozen."""
    return _encoder(profile, "psp", generator, trunk, seed)


def w_encoder(profile: Profile, generator: Generator, trunk: Encoder, seed: int) -> Stage:
    """Train HyperStyle's encoder to W, generator frozen."""
    return _encoder(profile, "w_encoder", generator, trunk, seed)


def _encoder(
    profile: Profile, name: str, generator: Generator, taught: Encoder, seed: int
) -> Stage:
    """Pixel loss, the known codes, what they say of the face, and the distance from the average.

    What codes say stands where the original has ArcFace's identity loss: a code may be wrong
    where it matters little, but not in whom and which emotion it shows.
    """
    length = profile.lengths[name]
    config = getattr(profile, name)
    model = Encoder(config, rngs=nnx.Rngs(seed))
    # copied, as training gives its parameters' memory away
    nnx.update(model.trunk, jax.tree.map(jnp.copy, nnx.state(taught.trunk)))
    model.latent_avg[...] = jnp.broadcast_to(generator.latent_avg[...], model.latent_avg.shape)
    z = batches.expressive_latents(jax.random.key(seed), count=_READERS, evenly=True)
    w = generator.mapping(z)
    spread = float(jnp.var(w, axis=0).mean())
    reading = _linear(w, batches.targets(batches.described(z)))

    def loss(
        model: Encoder, generator: Generator, batch: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, Figures]:
        w, pictures, weights = batch
        codes = model(pictures)
        square = jnp.square(generator.synthesis(codes) - pictures)
        missed = codes - w[:, None]
        known = jnp.mean(jnp.square(missed)) / spread
        read = jnp.mean(batches.target_weights() * jnp.square(missed @ reading))
        near = jnp.mean(jnp.square(codes - generator.latent_avg[...])) / spread
        total = jnp.mean(weights * square) + _CODES * known + _READ * read + _NEAR * near
        return total, {"psnr": psnr(square), "known": known, "read": read}

    def sheet(model: Encoder, file: Path) -> None:
        photos = _photos(profile.resolution)
        draw = jax.jit(lambda m, g, x: g.synthesis(m(x)))
        write_pairs(file, [photos, draw(model, generator, photos)])

    def rate(name: str) -> float:
        return 0.0 if name.startswith("latent_avg") else 1.0

    return Stage(
        name,
        model,
        _draw(profile, generator, length.batch),
        loss,
        generator,
        length.steps,
        length.rate,
        faster=rate,
        statistics=_STATISTICS,
        sheet=sheet,
    )


def hyperstyle(profile: Profile, generator: Generator, encoder: Encoder, seed: int) -> Stage:
    """Train the hypernetwork, generator and W encoder frozen.

    As in the original every pass has its own loss, which reaches the network through that pass
    alone. A step learns from one pass, whichever it is; those before it are only gone through, so
    that a step costs a third of what all five would, and has its own faces. All pixels count
    alike: what a face shows is the code's to say, the kernels are to bring the picture back.
    """
    length = profile.lengths["hyperstyle"]
    model = Hypernet(profile.hyperstyle, rngs=nnx.Rngs(seed))
    for block in model.blocks:
        if hasattr(block, "output"):
            block.output.kernel[...] = 0.05 * block.output.kernel[...]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        people, passes = jax.random.split(key)
        _, _, _, pictures = _drawn(profile, people, length.batch)
        return pictures, jax.random.randint(passes, (), 0, _PASSES)

    def begin(model: Hypernet) -> Hypernet:
        return _calibrated(model, generator, encoder, lambda key: draw(key)[0], seed)

    shape = (length.batch, len(profile.hyperstyle.layers), profile.hyperstyle.widths[-1])

    def loss(
        model: Hypernet, frozen: tuple, batch: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, Figures]:
        (generator, encoder), (pictures, before) = frozen, batch
        codes = encoder(pictures)

        def one_pass(
            model: Hypernet, number: jax.Array, sums: jax.Array, shown: jax.Array
        ) -> tuple:
            sums = sums + model(pictures, shown)
            return sums, generator.synthesis(codes, deltas=model.deltas(sums, number + 1))

        graph, state = nnx.split(model)
        fixed = nnx.merge(graph, jax.lax.stop_gradient(state))
        start = jnp.zeros(shape), generator.synthesis(codes)
        sums, shown = jax.lax.fori_loop(
            0, before, lambda number, state: one_pass(fixed, number, *state), start
        )
        again = one_pass(model, before, sums, shown)[1]
        square = jnp.square(again - pictures)
        figures = {"before": psnr(jnp.square(shown - pictures)), "psnr": psnr(square)}
        return square.mean(), figures

    def sheet(model: Hypernet, file: Path) -> None:
        photos, inverter = _photos(profile.resolution), Inverter(generator, encoder, model)
        codes, sums, _ = refine(inverter, photos, passes=_PASSES)
        write_pairs(file, [photos, redraw(inverter, codes, sums, _PASSES)])

    return Stage(
        "hyperstyle",
        model,
        draw,
        loss,
        (generator, encoder),
        length.steps,
        length.rate,
        begin=begin,
        sheet=sheet,
    )


def _calibrated(
    model: Hypernet,
    generator: Generator,
    encoder: Encoder,
    pictures: Callable[[jax.Array], jax.Array],
    seed: int,
) -> Hypernet:
    """Set the network's BatchNorm statistics to those of its first pass; they stay that way."""
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
    w, targets = (np.asarray(each, np.float64) for each in (w, targets))
    found = np.linalg.lstsq(w - w.mean(0), targets - targets.mean(0))[0]
    return found.astype(np.float32)


def _draw(profile: Profile, generator: Generator, batch: int) -> Callable[[jax.Array], Any]:
    """The codes of latents, pictures and their pixels' weights: half generated, half drawn and in
    other colours.
    """
    half = batch // 2

    @jax.jit
    def generated(generator: Generator, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        w = generator.mapping(z)
        return w, generator.synthesis(generator.w_plus(w[:half])).clip(-1, 1)

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        one, other = jax.random.split(key)
        z, faces, drawn, pictures = _drawn(profile, one, batch - half)
        again = batches.expressive_latents(other, count=half, evenly=True)
        w, made = generated(generator, jnp.concatenate([again, z]))
        shown = batches.described(again)
        weights = [
            batches.expression_weights(shown, batches.draw(shown, profile.resolution)),
            batches.expression_weights(faces, drawn),
        ]
        return w, jnp.concatenate([made, pictures]), jnp.concatenate(weights)

    return draw


def _drawn(
    profile: Profile, key: jax.Array, count: int
) -> tuple[jax.Array, batches.Params, jax.Array, jax.Array]:
    """Return latents, their faces, these drawn, and the same in other colours."""
    latents, colours = jax.random.split(key)
    z = batches.expressive_latents(latents, count=count, evenly=True)
    faces = batches.described(z)
    drawn = batches.draw(faces, profile.resolution)
    return z, faces, drawn, batches.tinted(colours, drawn)


def _photos(resolution: int) -> jax.Array:
    people, camera = jax.random.split(jax.random.key(1))
    return batches.photographed(
        camera, batches.draw(batches.strangers(people, count=16), resolution)
    )
