"""The inverters' part of the recipe: pSp, HyperStyle's W encoder and its hypernetwork."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.demo import world
from emojax.demo.generating import psnr
from emojax.demo.recipe import Profile
from emojax.demo.sheets import write_pairs
from emojax.demo.training import Figures, Stage
from emojax.inversion import Inverter, redraw, refine
from emojax.models.hyperstyle import Hypernet
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator

_CODES = 0.1  # weight of the pictures' known codes
_NEAR = 0.002  # weight of the codes' distance from the average, pSp's w-norm loss
_STATISTICS = 0.5
_PASSES = 5


def psp(profile: Profile, generator: Generator, seed: int) -> Stage:
    """Train pSp's encoder, generator frozen."""
    return _encoder(profile, "psp", generator, seed)


def w_encoder(profile: Profile, generator: Generator, seed: int) -> Stage:
    """Train HyperStyle's encoder to W, generator frozen."""
    return _encoder(profile, "w_encoder", generator, seed)


def _encoder(profile: Profile, name: str, generator: Generator, seed: int) -> Stage:
    """Pixel loss, the known codes, and the distance from the average code."""
    length, face = profile.lengths[name], world.face_weights(profile.resolution)
    config = getattr(profile, name)
    model = Encoder(config, rngs=nnx.Rngs(seed))
    model.latent_avg[...] = jnp.broadcast_to(generator.latent_avg[...], model.latent_avg.shape)
    z = world.latents(jax.random.key(seed), count=4096)
    spread = float(jnp.var(generator.mapping(z), axis=0).mean())

    def loss(
        model: Encoder, generator: Generator, batch: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, Figures]:
        w, pictures = batch
        codes = model(pictures)
        square = jnp.square(generator.synthesis(codes) - pictures)
        known = jnp.mean(jnp.square(codes - w[:, None])) / spread
        near = jnp.mean(jnp.square(codes - generator.latent_avg[...])) / spread
        total = jnp.mean(face * square) + _CODES * known + _NEAR * near
        return total, {"psnr": psnr(square), "known": known}

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

    As in the original every pass is a step of its own: earlier passes, a random number of them,
    are taken as they come, and the loss reaches the network through the last one only.
    """
    length, face = profile.lengths["hyperstyle"], world.face_weights(profile.resolution)
    model = Hypernet(profile.hyperstyle, rngs=nnx.Rngs(seed))
    for block in model.blocks:
        if hasattr(block, "output"):
            block.output.kernel[...] = 0.05 * block.output.kernel[...]
    pictures = _draw(profile, generator, length.batch)
    model = _calibrated(model, generator, encoder, lambda key: pictures(key)[1], seed)
    shape = (length.batch, len(profile.hyperstyle.layers), profile.hyperstyle.widths[-1])

    def loss(model: Hypernet, frozen: tuple, batch: tuple) -> tuple[jax.Array, Figures]:
        generator, encoder = frozen
        before, pictures = batch
        codes = encoder(pictures)

        def drawn(model: Hypernet, sums: jax.Array, passes: jax.Array) -> jax.Array:
            return generator.synthesis(codes, deltas=model.deltas(sums, passes))

        graph, state = nnx.split(model)
        still = nnx.merge(graph, jax.tree.map(jax.lax.stop_gradient, state))

        def one_pass(i: jax.Array, sums: jax.Array) -> jax.Array:
            return sums + still(pictures, drawn(still, sums, i.astype(jnp.float32)))

        sums = jax.lax.fori_loop(0, before, one_pass, jnp.zeros(shape))
        sums = jax.lax.stop_gradient(sums)
        now = jax.lax.stop_gradient(drawn(still, sums, before.astype(jnp.float32)))
        sums = sums + model(pictures, now)
        square = jnp.square(drawn(model, sums, before.astype(jnp.float32) + 1) - pictures)
        return jnp.mean(face * square), {"psnr": psnr(square)}

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.random.randint(key, (), 0, _PASSES), pictures(key)[1]

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


def _draw(profile: Profile, generator: Generator, batch: int) -> Callable[[jax.Array], Any]:
    """Pictures and the codes of their latents: half generated, half drawn and in other colours."""
    half = batch // 2

    @jax.jit
    def generated(generator: Generator, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        w = generator.mapping(z)
        return w, generator.synthesis(generator.w_plus(w[:half]))

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        latents, colours = jax.random.split(key)
        z = world.expressive_latents(latents, count=batch)
        w, made = generated(generator, z)
        drawn = world.draw(world.described(z[half:]), profile.resolution)
        return w, jnp.concatenate([made.clip(-1, 1), world.tinted(colours, drawn)])

    return draw


def _photos(resolution: int) -> jax.Array:
    people, camera = jax.random.split(jax.random.key(1))
    return world.photographed(camera, world.draw(world.strangers(people, count=16), resolution))
