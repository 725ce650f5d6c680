"""StyleGAN2's synthesis on NVIDIA GPUs: each convolution is followed by one fused kernel.

The same network as `stylegan2.Synthesis.trace`, in bfloat16. Layers hand on their output already
multiplied by the style of the next layer, so that one kernel of `emojax.nn.epilogue` computes
everything between two convolutions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emojax.nn import epilogue, modulated_conv, pallas, per_sample
from emojax.nn import window as windows
from emojax.nn.conv import conv as conv3x3
from emojax.nn.epilogue import Finish, ToRGB
from emojax.nn.window import Box, cut, doubled

SINGLE = 128
"""Resolution from which on samples with individual kernels are computed one after another."""


class Layer(NamedTuple):
    """Parameters of a styled convolution for a batch of codes, float32.

    Attributes:
        kernel: [3, 3, I, O], or [B, 3, 3, I, O] if samples have individual kernels.
        style: modulation of the input [B, I], scaled by 1/√(I·9).
        scale: demodulation [B, O].
        noise: [1 or B, H, W], cut to the block's box.
        bias: [O].
    """

    kernel: jax.Array
    style: jax.Array
    scale: jax.Array
    noise: jax.Array
    bias: jax.Array

    def one(self, sample: jax.Array) -> "Layer":
        """Return the layer of one sample, as a batch of one with a kernel [3, 3, I, O]."""
        kernel = self.kernel if self.kernel.ndim == 4 else _only(self.kernel, sample)[0]
        noise = self.noise if len(self.noise) == 1 else _only(self.noise, sample)
        style, scale = _only(self.style, sample), _only(self.scale, sample)
        return Layer(kernel, style, scale, noise, self.bias)


class Block(NamedTuple):
    """Parameters of one resolution: two layers, and ToRGB's kernels [B, 3, O] and bias [3]."""

    up: Layer
    conv: Layer
    colours: jax.Array
    bias: jax.Array

    def one(self, sample: jax.Array) -> "Block":
        """Return the block of one sample."""
        colours = _only(self.colours, sample)
        return Block(self.up.one(sample), self.conv.one(sample), colours, self.bias)


class State(NamedTuple):
    """Output of a block.

    Attributes:
        x: input [B, H, W, I] of the next block, modulated; None after the last.
        skip: the skip connection's picture [B, 3, H, W].
    """

    x: Any
    skip: jax.Array


def fits(channels: Sequence[int]) -> bool:
    """Return whether the kernels run here and support the channels, which must be powers of 2."""
    return pallas.mode() != "off" and all(width & (width - 1) == 0 for width in channels)


def synthesise(
    synthesis: Any,
    w_plus: jax.Array,
    before: Mapping[str, jax.Array],
    noises: Sequence[jax.Array | None],
    deltas: Sequence[jax.Array | None],
    size: int,
    window: Box,
) -> jax.Array:
    """Synthesise pictures, the higher resolutions with fused kernels.

    Args:
        synthesis: a `stylegan2.Synthesis`.
        w_plus: codes [B, L, D].
        before: outputs of `trace` at the resolutions below the first fused one.
        noises: for each styled convolution [1 or B, r, r, 1] or None.
        deltas: HyperStyle's weight offsets, as in `Synthesis`.
        size: side of the picture.
        window: part of the picture to compute.

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
    blocks = [
        block(synthesis, index, w_plus, noises, deltas, doubled(box))
        for index, box in enumerate(boxes, done)
    ]
    clamp = synthesis.config.conv_clamp
    return run_blocks(state, blocks, [*boxes, window], size, clamp=clamp).transpose(0, 2, 3, 1)


def block(
    synthesis: Any,
    index: int,
    w_plus: jax.Array,
    noises: Sequence[jax.Array | None],
    deltas: Sequence[jax.Array | None],
    box: Box,
) -> Block:
    """Return the parameters of resolution 4·2^index; arguments as for `synthesise`."""
    up, conv = 2 * index - 1, 2 * index
    to_rgb = synthesis.to_rgbs[index]
    colours = to_rgb.kernel(w_plus[:, 2 * index + 1], deltas[3 * index + 1]).swapaxes(1, 2)
    return Block(
        layer(synthesis.convs[up], w_plus[:, up], noises[up], deltas[3 * index - 1], box),
        layer(synthesis.convs[conv], w_plus[:, conv], noises[conv], deltas[3 * index], box),
        colours,
        to_rgb.bias[...],
    )


def layer(conv: Any, w: jax.Array, noise: jax.Array | None, delta: Any, box: Box) -> Layer:
    """Return the parameters of a styled convolution.

    Args:
        conv: a `stylegan2.StyledConv`.
        w: codes [B, D].
        noise: [1 or B, r, r, 1] of the whole resolution, or None.
        delta: HyperStyle's weight offset, as in `modulated_conv`.
        box: part of the resolution to compute.
    """
    kernel = conv.weight[...] if delta is None else conv.weight[...] * (1 + delta)
    style = conv.modulation(w) * np.float32(1 / np.sqrt(np.prod(kernel.shape[-4:-1])))
    scale = modulated_conv.demodulation(kernel, style)
    if noise is None:
        added = jnp.zeros((1, box[1] - box[0], box[3] - box[2]), jnp.float32)
    else:
        side = noise.shape[1]
        added = conv.noise_strength[...] * cut(noise, box, (0, side, 0, side))[..., 0]
    return Layer(kernel, style, scale, added, conv.bias[...])


def run_blocks(
    state: State,
    blocks: Sequence[Block],
    boxes: Sequence[Box],
    size: int,
    *,
    clamp: float | None,
) -> jax.Array:
    """Compute blocks of ascending resolution.

    Args:
        state: output of the resolution before the first block, cut to the first box; its x is not
            modulated yet.
        blocks: one for each resolution.
        boxes: part of the input of each block, in pixels of the resolution before, and the part of
            the picture to compute.
        size: resolution of the last block.
        clamp: see `GeneratorConfig.conv_clamp`.

    Returns:
        The picture [B, 3, h, w], float32.
    """
    x = (state.x * blocks[0].up.style[:, None, None]).astype(jnp.bfloat16)
    state = State(x, state.skip)
    own = any(each.kernel.ndim == 5 for pair in blocks for each in (pair.up, pair.conv))
    large = sum(size >> i >= SINGLE for i in range(len(blocks))) if own else 0
    together = len(blocks) - large
    for i, each in enumerate(blocks[:together]):
        state = _block(state, each, _style(blocks, i), boxes[i : i + 2], clamp)
    if together == len(blocks):
        return state.skip

    def one(sample: jax.Array) -> jax.Array:
        here = State(*(_only(array, sample) for array in state))
        rest = [each.one(sample) for each in blocks[together:]]
        for i, each in enumerate(rest):
            here = _block(here, each, _style(rest, i), boxes[together + i :][:2], clamp)
        return here.skip[0]

    return jax.lax.map(one, jnp.arange(len(state.x)))


def _block(
    state: State, block: Block, gain: jax.Array | None, boxes: Sequence[Box], clamp: float | None
) -> State:
    """Compute one resolution; `gain` [B, O] is the modulation of the next one's input."""
    up, conv = block.up, block.conv
    kernel = up.kernel
    if kernel.ndim == 4:
        phases = modulated_conv.phases(state.x, kernel)
    else:
        kernel = modulated_conv.phase_kernel(kernel).astype(state.x.dtype)
        phases = per_sample.conv(state.x, kernel, 1)
    finish = Finish(up.scale, up.noise, up.bias, conv.style)
    x = epilogue.filter_and_finish(phases, finish, clamp=clamp)
    kernel = conv.kernel.astype(x.dtype)
    y = conv3x3(x, kernel, padding=1) if kernel.ndim == 4 else per_sample.conv(x, kernel, 1)
    (top, _, left, _), (low, high, first, last) = doubled(boxes[0]), boxes[1]
    kept = (low - top, high - top, first - left, last - left)
    finish = Finish(conv.scale, conv.noise, conv.bias, gain)
    colours = ToRGB(block.colours, block.bias, state.skip)
    return State(*epilogue.finish_to_rgb(y, finish, colours, kept, clamp=clamp))


def _style(blocks: Sequence[Block], at: int) -> jax.Array | None:
    """Return the modulation [B, O] of the input of the block after `at`."""
    return blocks[at + 1].up.style if at + 1 < len(blocks) else None


def _only(array: jax.Array, sample: jax.Array) -> jax.Array:
    """Return one sample of an array [B, ...] as [1, ...]."""
    return jax.lax.dynamic_slice_in_dim(array, sample, 1)
