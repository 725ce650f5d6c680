"""Training of HyperStyle's hypernetwork: one pass a step, and its BatchNorm statistics.

As in the original every pass has its own loss, with gradients through that pass alone. A step
trains one random pass, and runs those before it without gradients: it costs a third of all five,
and every step has new faces.

Source: yuval-alaluf/hyperstyle `training/coach_hyperstyle.py`.
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.models.hyperstyle import Hypernet, HypernetConfig, SeparateBlock
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator
from emojax.nn.pooling import area_mean
from emojax.training.loop import Metrics
from emojax.training.losses import Critics, Weights, likeness, psnr

PASSES = 5
"""Passes that a face gets, the original's."""
CALIBRATED = 20
"""Batches of a calibration."""


class Frozen(NamedTuple):
    """What the hypernetwork is trained with; none of it changes.

    Attributes:
        generator: whose kernels are changed.
        encoder: HyperStyle's W encoder.
        critics: networks of the losses.
    """

    generator: Generator
    encoder: Encoder
    critics: Critics


def initial(config: HypernetConfig, seed: int) -> Hypernet:
    """Return a hypernetwork whose first kernel changes are small."""
    model = Hypernet(config, rngs=nnx.Rngs(seed))
    for block in model.blocks:
        if isinstance(block, SeparateBlock):
            block.output.kernel[...] = 0.05 * block.output.kernel[...]
    return model


def pass_loss(
    model: Hypernet, frozen: Frozen, weights: Weights, pictures: jax.Array, before: jax.Array
) -> tuple[jax.Array, Metrics]:
    """Return the loss of one pass of HyperStyle, and metrics.

    Args:
        model: the hypernetwork.
        frozen: what it is trained with.
        weights: of the losses.
        pictures: [N,R,R,3] in [-1, 1], of the generator's size or smaller. The loss compares
            pictures of this size; the networks see them in their own.
        before: [] number of passes before the one that is trained.
    """
    generator, encoder, critics = frozen
    seen = area_mean(pictures, model.config.resolution)
    codes = encoder(seen)

    def drawn(deltas: Any) -> jax.Array:
        return area_mean(generator.synthesis(codes, deltas=deltas), pictures.shape[1])

    def one_pass(
        model: Hypernet, number: jax.Array, sums: jax.Array, shown: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        sums = sums + model(seen, area_mean(shown, model.config.resolution))
        return sums, drawn(model.deltas(sums, number + 1))

    graph, state = nnx.split(model)
    fixed = nnx.merge(graph, jax.lax.stop_gradient(state))
    shape = (len(pictures), len(model.config.layers), model.config.widths[-1])
    start = jnp.zeros(shape), drawn(None)
    sums, shown = jax.lax.fori_loop(
        0, before, lambda number, state: one_pass(fixed, number, *state), start
    )
    again = one_pass(model, before, sums, shown)[1]
    total, metrics = likeness(critics, weights, again, pictures)
    return total, {"before": psnr(jnp.square(shown - pictures)), **metrics}


def calibrated(
    model: Hypernet, generator: Generator, encoder: Encoder, pictures: Iterable[jax.Array]
) -> Hypernet:
    """Set the hypernetwork's BatchNorm statistics to those of its first pass; they stay fixed.

    Args:
        model: the hypernetwork.
        generator: as in training.
        encoder: HyperStyle's W encoder.
        pictures: some batches [N,R,R,3] in [-1, 1], R at least that of the networks.
    """
    model.train()
    model.set_attributes(nnx.BatchNorm, momentum=0.8)
    graph, state = nnx.split(model)
    for each in pictures:
        state = _follow(graph, state, generator, encoder, each)
    model = nnx.merge(graph, state)
    model.eval()
    return model


@functools.partial(jax.jit, static_argnums=0)
def _follow(graph: Any, state: Any, generator: Generator, encoder: Encoder, x: jax.Array) -> Any:
    """Return the state of a hypernetwork after a pass, with new BatchNorm statistics."""
    model = nnx.merge(graph, state, copy=True)
    side = model.config.resolution
    x = area_mean(x, side)
    model(x, area_mean(generator.synthesis(encoder(x)), side))
    return nnx.split(model)[1]
