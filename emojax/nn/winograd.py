"""Winograd convolution F(2x2, 3x3) for CPUs, and an analogous algorithm for stride 2.

XLA's CPU backend has no such kernel. A tile of 2x2 outputs needs 16 multiplications instead of 36,
or 25 at stride 2. Expressed as matrix products between sums of slices, this is faster for large
enough inputs (`pays`), with a relative error of 8e-7 in float32.

Transforms are separable and work along one axis at a time. Those of stride 1 are equations 8 and 9
of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks". At stride 2 the two outputs
of a tile depend on five inputs, y0 = k0 v0 + k1 v1 + k2 v2 and y1 = k0 v2 + k1 v3 + k2 v4. The
outer taps share v2, which makes three products of four: k0 v0 + k2 v2 = k0 (v0 - v2) + (k0 + k2) v2
and k0 v2 + k2 v4 = (k0 + k2) v2 - k2 (v2 - v4).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from emojax.nn import output_parts

Grid = list[list[jax.Array]]
Transform = Callable[[list[jax.Array]], list[jax.Array]]

TILE = 2
"""Outputs of a tile along an axis."""


def pays(x: jax.Array, kernel: jax.Array, stride: int) -> bool:
    """Return whether Winograd convolution of x [B, H, W, I] is supported and faster.

    Supported are float32 and sizes divisible into tiles. Measured on two AVX-512 cores, it is
    faster while the transformed sample stays in the cache (1 to 4 MB), and from 256 channels on in
    any case.
    """
    height, width = x.shape[1:3]
    narrow, wide = sorted(kernel.shape[2:])
    step = TILE * stride
    if kernel.shape[:2] != (3, 3) or x.dtype != jnp.float32 or height % step or width % step:
        return False
    if min(height, width) < (64 if stride == 2 else 32):
        return False
    if stride == 1:
        pixels = height * width
        cached = pixels * narrow >= 2**18 and pixels * wide <= 2**20
        return narrow >= 256 or (narrow >= 64 and cached)
    return stride == 2 and narrow >= 256


def conv3x3(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Correlate x [B, H, W, I] with kernel [3, 3, I, O], padding 1.

    Samples are computed sequentially, so that their transforms stay in the cache.

    Args:
        x: input; H and W are multiples of `TILE` times the stride.
        kernel: weights.
        stride: 1 or 2.
    """
    if len(x) == 1 and output_parts.divides(kernel):
        tiles = _tiles(x[0], stride)
        some = lambda part: _outputs(tiles, _planes(part, stride), stride)  # noqa: E731
        return output_parts.in_parts(some, kernel)[None]
    planes = _planes(kernel, stride)
    return jax.lax.map(lambda sample: _outputs(_tiles(sample, stride), planes, stride), x)


def _planes(kernel: jax.Array, stride: int) -> Grid:
    """Return the transformed kernel: a grid of [I, O]."""
    return _along_both(_KERNEL[stride], [list(row) for row in kernel])


def _tiles(x: jax.Array, stride: int) -> Grid:
    """Return the transformed tiles of x [H, W, I]: a grid of [rows, columns, I]."""
    height, width, channels = x.shape
    step = TILE * stride  # distance between tiles
    rows, columns = height // step, width // step
    padded = jnp.pad(x, ((1, step - 1), (1, step - 1), (0, 0)))
    steps = padded.reshape(rows + 1, step, columns + 1, step, channels)

    def pixel(i: int, j: int) -> jax.Array:  # input (i, j) of every tile
        (down, i), (right, j) = divmod(i, step), divmod(j, step)
        return steps[down : down + rows, i, right : right + columns, j]

    span = range(step + 3 - stride)
    return _along_both(_INPUT[stride], [[pixel(i, j) for j in span] for i in span])


def _outputs(tiles: Grid, planes: Grid, stride: int) -> jax.Array:
    """Multiply transformed tiles and kernels, and assemble the output [H', W', O]."""
    pairs = zip(tiles, planes, strict=True)
    products = [[a @ b for a, b in zip(*pair, strict=True)] for pair in pairs]
    corners = _along_both(_OUTPUT[stride], products)
    pairs = [jnp.stack(row, 2) for row in corners]  # [rows, columns, 2, O] each
    rows, columns, _, outputs = pairs[0].shape
    return jnp.stack(pairs, 1).reshape(TILE * rows, TILE * columns, outputs)


def _along_both(transform: Transform, grid: Grid) -> Grid:
    """Apply a one-dimensional transform to the columns of a grid, then to its rows."""
    columns = [transform(list(column)) for column in zip(*grid, strict=True)]
    return [transform(list(row)) for row in zip(*columns, strict=True)]


_INPUT: dict[int, Transform] = {
    1: lambda v: [v[0] - v[2], v[1] + v[2], v[2] - v[1], v[1] - v[3]],
    2: lambda v: [v[0] - v[2], v[2], v[2] - v[4], v[1], v[3]],
}
_KERNEL: dict[int, Transform] = {
    1: lambda k: [k[0], (k[0] + k[2] + k[1]) * 0.5, (k[0] + k[2] - k[1]) * 0.5, k[2]],
    2: lambda k: [k[0], k[0] + k[2], k[2], k[1], k[1]],
}
_OUTPUT: dict[int, Transform] = {
    1: lambda m: [m[0] + m[1] + m[2], m[1] - m[2] - m[3]],
    2: lambda m: [m[0] + m[1] + m[3], m[1] - m[2] + m[4]],
}
