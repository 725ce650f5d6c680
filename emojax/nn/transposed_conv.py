"""Transposed 4x4 convolution of stride 2 in phases, and what older generators build of it; NHWC.

Along one axis the output u[2i + p] of phase p depends on two inputs: u[2i] on x[i - 1] and x[i] by
the taps 3 and 1, u[2i + 1] on x[i] and x[i + 1] by 2 and 0. All four phases are therefore one 2x2
convolution with four times the outputs, 16 multiplications for each input pixel where a dilated
input takes 64. Of few pixels the time goes into rearranging the kernel; there every tap is a matrix
product with the kernel as it is, and the products are shifted and added.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from emojax.nn import output_parts
from emojax.nn.conv import conv

FEW = 64
"""Input pixels, of all pictures, up to which taps are quicker than phases on two CPU cores: at 4x4
with 512 channels three times as quick for one picture, 1.7 times for four."""


class Phases(NamedTuple):
    """Rows of even and odd index of an array; in a pair of pairs, columns too."""

    even: jax.Array
    odd: jax.Array


def transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return PyTorch's `conv_transpose2d(x, kernel, stride=2, padding=1)`.

    Args:
        x: [B, H, W, I].
        kernel: [4, 4, I, O], not flipped.

    Returns:
        [B, 2H, 2W, O].
    """
    batch, height, width, _ = x.shape
    few = isinstance(batch, int) and batch * height * width <= FEW  # in exports batch has no value
    return interleaved(phases_by_taps(x, kernel) if few else phases(x, kernel))


def up_nearest(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with zeros around after nearest upsampling to twice the side.

    Args:
        x: [B, H, W, I].
        kernel: [3, 3, I, O].

    Returns:
        [B, 2H, 2W, O].
    """
    if not output_parts.divides(kernel):
        return transposed(x, nearest_kernel(kernel))
    return lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, kernel: output_parts.in_parts(
            lambda part: transposed(x, nearest_kernel(part)), kernel
        ),
        default=lambda x, kernel: transposed(x, nearest_kernel(kernel)),
    )


def phases(x: jax.Array, kernel: jax.Array) -> tuple[Phases, Phases]:
    """Return `transposed` as phases [B, H, W, O]: those of even rows, then those of odd rows."""
    batch, height, width, _ = x.shape
    outputs = kernel.shape[-1]
    for _ in range(2):  # rows, then columns; both times it is axis -4
        pair = kernel[..., 3::-2, :, :, :], kernel[..., 2::-2, :, :, :]
        kernel = jnp.stack(pair, -2)
    y = conv(x, kernel.reshape(2, 2, x.shape[-1], 4 * outputs), padding=1)
    y = y.reshape(batch, height + 1, width + 1, 2, 2, outputs)
    even, odd = (
        Phases(*(y[:, p : p + height, q : q + width, p, q] for q in (0, 1))) for p in (0, 1)
    )
    return even, odd


def phases_by_taps(x: jax.Array, kernel: jax.Array) -> tuple[Phases, Phases]:
    """Return what `phases` returns, by a matrix product for each tap."""
    taps = _taps(x.reshape(-1, x.shape[-1]), kernel)
    rows = _added(taps.reshape(4, 4, *x.shape[:3], -1))
    even, odd = (_added(row) for row in rows)
    return even, odd


def of_one_pixel(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return PyTorch's `conv_transpose2d(x, kernel)` of pictures of one pixel.

    Args:
        x: [B, I].
        kernel: [4, 4, I, O], not flipped.

    Returns:
        [B, 4, 4, O].
    """
    return jnp.moveaxis(_taps(x, kernel), 2, 0)


def _taps(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return the products [4, 4, N, O] of x [N, I] and every tap of a kernel [4, 4, I, O]."""
    both = jnp.broadcast_to(x, (16, *x.shape))
    products = lax.batch_matmul(both, kernel.reshape(16, x.shape[1], -1))
    return products.reshape(4, 4, len(x), -1)


def _added(taps: jax.Array) -> Phases:
    """Add what the four taps of an axis give to its even and to its odd positions.

    Args:
        taps: the taps come first, the axis is the fourth.
    """
    size = taps.shape[3]
    ends = [(0, 0)] * (taps.ndim - 1)
    before = jnp.pad(taps[3], [*ends[:2], (1, 0), *ends[3:]])
    after = jnp.pad(taps[0], [*ends[:2], (0, 1), *ends[3:]])
    before = lax.slice_in_dim(before, 0, size, axis=2)
    after = lax.slice_in_dim(after, 1, size + 1, axis=2)
    return Phases(taps[1] + before, taps[2] + after)


def interleaved(parts: tuple[Phases, Phases]) -> jax.Array:
    """Return [B, 2H, 2W, C] of its phases."""
    batch, height, width, channels = parts[0].even.shape
    y = jnp.stack([jnp.stack(row, 3) for row in parts], 2)  # [B, H, 2, W, 2, C]
    return y.reshape(batch, 2 * height, 2 * width, channels)


def blurred(parts: tuple[Phases, Phases]) -> tuple[Phases, Phases]:
    """Filter by [1, 2, 1] / 4 along both axes, with zeros around the picture."""
    even, odd = (_filtered(row, axis=2) for row in parts)
    columns = [_filtered(Phases(*pair), axis=1) for pair in zip(even, odd, strict=True)]
    even, odd = (Phases(*pair) for pair in zip(*columns, strict=True))
    return even, odd


def _filtered(parts: Phases, axis: int) -> Phases:
    """Filter by [1, 2, 1] / 4 along an axis whose even and odd positions are given."""
    even, odd = parts
    size = even.shape[axis]
    ends = [(0, 0)] * even.ndim
    before = jnp.pad(odd, [*ends[:axis], (1, 0), *ends[axis + 1 :]])
    after = jnp.pad(even, [*ends[:axis], (0, 1), *ends[axis + 1 :]])
    before = jax.lax.slice_in_dim(before, 0, size, axis=axis)
    after = jax.lax.slice_in_dim(after, 1, size + 1, axis=axis)
    return Phases(0.5 * even + 0.25 * (before + odd), 0.5 * odd + 0.25 * (even + after))


def fused_kernel(kernel: jax.Array) -> jax.Array:
    """Return the 4x4 kernel of a fused up-convolution, the sum of four shifts of the 3x3 kernel.

    Source: tkarras/progressive_growing_of_gans `networks.py`, `upscale2d_conv2d`.

    Args:
        kernel: [3, 3, I, O].
    """
    padded = jnp.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
    return padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]


def nearest_kernel(kernel: jax.Array) -> jax.Array:
    """Return the 4x4 kernel that does nearest upsampling and a 3x3 convolution in one.

    It is the fused kernel of the flipped one: a transposed convolution flips its kernel.

    Args:
        kernel: [3, 3, I, O].
    """
    return fused_kernel(kernel[::-1, ::-1])
