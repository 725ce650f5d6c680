"""3x3 convolution in fewer products: Winograd's F(2x2, 3x3), and its like for stride 2.

XLA's CPU backend has no such kernel of its own. A tile of 2x2 outputs takes 16 products where the
definition has 36; at stride 2 it takes 25. Written as matrix products between two sums of slices
that is faster from some size on (`pays`), at 8e-7 relative error in float32.

Each transform works along one axis. At stride 1 it is Lavin and Gray's, "Fast Algorithms for
Convolutional Neural Networks", equations 8 and 9. At stride 2 the two outputs of a tile read five
values, y0 = k0 v0 + k1 v1 + k2 v2 and y1 = k0 v2 + k1 v3 + k2 v4. The outer taps share v2:
k0 v0 + k2 v2 = k0 (v0 - v2) + (k0 + k2) v2 and k0 v2 + k2 v4 = (k0 + k2) v2 - k2 (v2 - v4), three
products for four.
"""

import jax
import jax.numpy as jnp

Grid = list[list[jax.Array]]

TILE = 2
"""Outputs of a tile along an axis."""
PART = 256
"""Output channels that one sample takes at a time: their transformed kernels stay in the cache, and
products are still wide enough for two cores."""


def pays(x: jax.Array, kernel: jax.Array, stride: int) -> bool:
    """Say whether it is worth it for x [B, H, W, I]: float32, whole tiles, wide enough.

    Measured on two AVX-512 cores: the transforms cost less than the products saved while they stay
    in the cache (1 to 4 MB a sample), and from 256 channels on wherever they are.
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
    """Correlate x [B, H, W, I] with kernel [3, 3, I, O], padding 1; H, W divide into tiles.

    Samples go one after another: their transforms then stay in the cache.
    """
    if len(x) == 1 and kernel.shape[3] > PART and kernel.shape[3] % PART == 0:
        return _in_parts(x[0], kernel, stride)[None]
    planes = _planes(kernel, stride)
    return jax.lax.map(lambda sample: _outputs(_tiles(sample, stride), planes, stride), x)


def _in_parts(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Take the output channels a part at a time.

    XLA transforms whatever kernels it can at the start of a program, all layers' into fresh
    memory. In a loop it waits, and every layer uses the same memory.
    """
    tiles = _tiles(x, stride)

    def outputs(start: jax.Array) -> jax.Array:
        part = jax.lax.dynamic_slice_in_dim(kernel, start, PART, axis=3)
        return _outputs(tiles, _planes(part, stride), stride)

    parts = jax.lax.map(outputs, jnp.arange(0, kernel.shape[3], PART))  # [O/PART, H, W, PART]
    return jnp.concatenate(list(parts), -1)


def _planes(kernel: jax.Array, stride: int) -> Grid:
    return _along_both(_KERNEL[stride], [list(row) for row in kernel])


def _tiles(x: jax.Array, stride: int) -> Grid:
    """Return the transformed tiles of x [H, W, I]: a grid of [rows, columns, I]."""
    height, width, channels = x.shape
    step = TILE * stride  # from tile to tile
    rows, columns = height // step, width // step
    padded = jnp.pad(x, ((1, step - 1), (1, step - 1), (0, 0)))
    steps = padded.reshape(rows + 1, step, columns + 1, step, channels)

    def pixel(i: int, j: int) -> jax.Array:  # (i, j) of every tile
        (down, i), (right, j) = divmod(i, step), divmod(j, step)
        return steps[down : down + rows, i, right : right + columns, j]

    span = range(step + 3 - stride)
    return _along_both(_INPUT[stride], [[pixel(i, j) for j in span] for i in span])


def _outputs(tiles: Grid, planes: Grid, stride: int) -> jax.Array:
    """Multiply, and put the tiles' outputs together: [H', W', O]."""
    pairs = zip(tiles, planes, strict=True)
    products = [[a @ b for a, b in zip(*pair, strict=True)] for pair in pairs]
    corners = _along_both(_OUTPUT[stride], products)
    pairs = [jnp.stack(row, 2) for row in corners]  # [rows, columns, 2, O] each
    rows, columns, _, outputs = pairs[0].shape
    return jnp.stack(pairs, 1).reshape(TILE * rows, TILE * columns, outputs)


def _along_both(transform, grid: Grid) -> Grid:
    """Apply a transform of lists to the columns of a grid, then to its rows."""
    columns = [transform(list(column)) for column in zip(*grid, strict=True)]
    return [transform(list(row)) for row in zip(*columns, strict=True)]


_INPUT = {
    1: lambda v: [v[0] - v[2], v[1] + v[2], v[2] - v[1], v[1] - v[3]],
    2: lambda v: [v[0] - v[2], v[2], v[2] - v[4], v[1], v[3]],
}
_KERNEL = {
    1: lambda k: [k[0], (k[0] + k[2] + k[1]) * 0.5, (k[0] + k[2] - k[1]) * 0.5, k[2]],
    2: lambda k: [k[0], k[0] + k[2], k[2], k[1], k[1]],
}
_OUTPUT = {
    1: lambda m: [m[0] + m[1] + m[2], m[1] - m[2] - m[3]],
    2: lambda m: [m[0] + m[1] + m[3], m[1] - m[2] + m[4]],
}
