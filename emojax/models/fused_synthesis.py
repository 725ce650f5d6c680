"""StyleGAN2's synthesis for a GPU: a layer is a convolution and one pass over memory after it.

The same network as `stylegan2.Synthesis.trace` computes, in bfloat16, with another cut between the
layers: what passes from one to the next is the input times the next layer's style, so a kernel of
`emojax.nn.epilogue` can do all that lies between two convolutions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emojax.nn import epilogue, modulated_conv, pallas, per_sample
from emojax.nn import window as windows
from emojax.nn.epilogue import Colours, Finish
from emojax.nn.window import Box, cut, doubled

SINGLE = 128
"""Resolution from which samples with kernels of their own are drawn one after another."""


class Layer(NamedTuple):
    """A styled convolution for a batch of codes, float32.

    Attributes:
        kernel: [3, 3, I, O], or [B, 3, 3, I, O] where samples have their own.
        style: the input's factor [B, I], equalised.
        scale: demodulation [B, O].
        noise: [1 or B, H, W], within the block's box.
        bias: [O].
    """

    kernel: jax.Array
    style: jax.Array
    scale: jax.Array
    noise: jax.Array
    bias: jax.Array

    def one(self, sample: jax.Array) -> "Layer":
        """Return the layer of one sample, as a batch of one with a kernel for all."""
        kernel = self.kernel if self.kernel.ndim == 4 else _only(self.kernel, sample)[0]
        noise = self.noise if len(self.noise) == 1 else _only(self.noise, sample)
        rows = (_only(array, sample) for array in (self.style, self.scale))
        return Layer(kernel, *rows, noise, self.bias)


class Block(NamedTuple):
    """What one resolution is made of: two layers and ToRGB's kernel [B, 3, O] and bias [3]."""

    up: Layer
    conv: Layer
    colours: jax.Array
    bias: jax.Array

    def one(self, sample: jax.Array) -> "Block":
        """Return the block of one sample."""
        colours = _only(self.colours, sample)
        return Block(self.up.one(sample), self.conv.one(sample), colours, self.bias)


class State(NamedTuple):
    """What a block hands on: the next input [B, H, W, I], modulated, and the skip [B, 3, H, W].

    After the last block there is no next input: x is None.
    """

    x: Any
    skip: jax.Array


def fits(channels: Sequence[int]) -> bool:
    """Say whether this device has the kernels, and they the numbers of channels: powers of two."""
    return pallas.mode() != "off" and all(width & (width - 1) == 0 for width in channels)


def draw(
    synthesis: Any,
    w_plus: jax.Array,
    before: Mapping[str, jax.Array],
    noises: Sequence[jax.Array | None],
    deltas: Sequence[jax.Array | None],
    size: int,
    window: Box,
) -> jax.Array:
    """Draw pictures with the one-pass kernels.

    Args:
        synthesis: a `stylegan2.Synthesis`.
        w_plus: codes [B, L, D].
        before: what `trace` yields below the resolution that the kernels start from.
        noises: one a styled convolution, [1 or B, r, r, 1], or None.
        deltas: HyperStyle's changes, as in `Synthesis`.
        size: side of the picture.
        window: what is wanted of it.

    Returns:
        [B, h, w, 3] float32.
    """
    done = sum(name.startswith("skips") for name in before)
    held = windows.held(size, window)
    sides = [4 * 2**i for i in range(done - 1, int(np.log2(size)) - 2)]
    boxes = [held[side] for side in sides]
    whole = (0, sides[0], 0, sides[0])
    x, skip = before[f"convs.{2 * done - 2}"], before[f"skips.{done - 1}"].transpose(0, 3, 1, 2)
    state = State(cut(x, boxes[0], whole), cut(skip, boxes[0], whole, axis=2))
    blocks = []
    for index, box in enumerate(map(doubled, boxes), done):
        layers = [
            layer(synthesis.convs[at], w_plus[:, at], noises[at], deltas[delta], box)
            for at, delta in ((2 * index - 1, 3 * index - 1), (2 * index, 3 * index))
        ]
        to_rgb = synthesis.to_rgbs[index]
        colours = to_rgb.kernel(w_plus[:, 2 * index + 1], deltas[3 * index + 1]).swapaxes(1, 2)
        blocks.append(Block(*layers, colours, to_rgb.bias[...]))
    clamp = synthesis.config.conv_clamp
    return draw_blocks(state, blocks, [*boxes, window], size, clamp=clamp).transpose(0, 2, 3, 1)


def layer(conv: Any, w: jax.Array, noise: jax.Array | None, delta: Any, box: Box) -> Layer:
    """Work out a styled convolution for codes w [B, D].

    Args:
        conv: a `stylegan2.StyledConv`.
        w: codes.
        noise: [1 or B, r, r, 1] of the whole resolution, or None.
        delta: HyperStyle's change, as `modulated_conv` takes it.
        box: the part of the resolution that is drawn.
    """
    kernel = conv.weight[...] if delta is None else conv.weight[...] * (1 + delta)
    style = conv.modulation(w) * np.float32(1 / np.sqrt(np.prod(kernel.shape[-4:-1])))
    scale = modulated_conv.demodulation(kernel, style)
    if noise is None:
        noise = jnp.zeros((1, box[1] - box[0], box[3] - box[2]), jnp.float32)
    else:
        side = noise.shape[1]
        noise = conv.noise_strength[...] * cut(noise, box, (0, side, 0, side))[..., 0]
    return Layer(kernel, style, scale, noise, conv.bias[...])


def draw_blocks(
    state: State,
    blocks: Sequence[Block],
    boxes: Sequence[Box],
    size: int,
    *,
    clamp: float | None,
) -> jax.Array:
    """Draw the blocks of rising resolution.

    Args:
        state: of the resolution before the first block, within the first box, x not yet modulated.
        blocks: one a resolution.
        boxes: what the blocks read, in pixels of the resolution before, and last what is wanted of
            the picture; one more than blocks.
        size: the last block's resolution.
        clamp: see `GeneratorConfig.conv_clamp`.

    Returns:
        The skip chain's picture [B, 3, h, w], float32.
    """
    x = (state.x * blocks[0].up.style[:, None, None]).astype(jnp.bfloat16)
    state = State(x, state.skip)
    own = any(each.kernel.ndim == 5 for block in blocks for each in (block.up, block.conv))
    large = sum(size >> i >= SINGLE for i in range(len(blocks))) if own else 0
    together = len(blocks) - large
    for i, block in enumerate(blocks[:together]):
        state = _block(state, block, _style(blocks, i), boxes[i : i + 2], clamp)
    if together == len(blocks):
        return state.skip

    def one(sample: jax.Array) -> jax.Array:
        here = State(*(_only(array, sample) for array in state))
        rest = [block.one(sample) for block in blocks[together:]]
        for i, block in enumerate(rest):
            at = together + i
            here = _block(here, block, _style(rest, i), boxes[at : at + 2], clamp)
        return here.skip[0]

    return jax.lax.map(one, jnp.arange(len(state.x)))


def _block(
    state: State, block: Block, gain: jax.Array | None, boxes: Sequence[Box], clamp: float | None
) -> State:
    """Draw one resolution; `gain` [B, O] modulates what the next one reads."""
    up, conv = block.up, block.conv
    kernel = up.kernel
    if kernel.ndim == 4:
        phases = modulated_conv.phases(state.x, kernel)
    else:
        kernel = modulated_conv.phase_kernel(kernel).astype(state.x.dtype)
        phases = per_sample.conv(state.x, kernel, 1)
    finish = Finish(up.scale, up.noise, up.bias, conv.style)
    x = epilogue.filtered(phases, finish, clamp=clamp)
    kernel = conv.kernel.astype(x.dtype)
    y = (
        modulated_conv.conv(x, kernel, padding=1)
        if kernel.ndim == 4
        else per_sample.conv(x, kernel, 1)
    )
    (top, _, left, _), (low, high, first, last) = doubled(boxes[0]), boxes[1]
    kept = (low - top, high - top, first - left, last - left)
    finish = Finish(conv.scale, conv.noise, conv.bias, gain)
    colours = Colours(block.colours, block.bias, state.skip)
    return State(*epilogue.coloured(y, finish, colours, kept, clamp=clamp))


def _style(blocks: Sequence[Block], at: int) -> jax.Array | None:
    """Return what the block after `at` multiplies its input with."""
    return blocks[at + 1].up.style if at + 1 < len(blocks) else None


def _only(array: jax.Array, sample: jax.Array) -> jax.Array:
    """Return one sample of an array [B, ...], the axis kept."""
    return jax.lax.dynamic_slice_in_dim(array, sample, 1)
