"""Pillow's antialiased resizing as two matrix products, for use inside jitted functions.

When a picture is reduced, the filter is widened by the same factor; weights beyond the border are
dropped and the rest normalised.

Source: python-pillow `src/libImaging/Resample.c`, `precompute_coeffs`.
"""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Filter = Literal["bilinear", "bicubic"]

BITS = 22
"""Fractional bits of a weight in Pillow's 8-bit passes (`PRECISION_BITS`)."""


@functools.lru_cache(maxsize=256)
def weights(inputs: int, outputs: int, kind: Filter) -> np.ndarray:
    """Return the matrix [outputs, inputs], float64, that resizes one axis.

    Args:
        inputs: length of the axis before.
        outputs: length of the axis after.
        kind: "bilinear" or "bicubic" (a = -1/2).
    """
    function, radius = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}[kind]
    scale = inputs / outputs
    widening = max(scale, 1.0)
    support = radius * widening
    centres = (np.arange(outputs) + 0.5) * scale
    first = np.maximum(np.floor(centres - support + 0.5), 0)[:, None]
    last = np.minimum(np.floor(centres + support + 0.5), inputs)[:, None]
    position = np.arange(inputs)[None]
    values = function((position - centres[:, None] + 0.5) / widening)
    values = np.where((position >= first) & (position < last), values, 0.0)
    return values / values.sum(1, keepdims=True)


def resize(
    pictures: jax.Array, height: int, width: int, kind: Filter, *, as_uint8: bool = False
) -> jax.Array:
    """Resize [B,H,W,C] of 0..255 to [B,height,width,C] float32, horizontally first as Pillow does.

    Args:
        pictures: uint8 or float, 0..255; integer values if `as_uint8`.
        height: output height.
        width: output width.
        kind: the filter.
        as_uint8: reproduce Pillow's 8-bit result bit for bit: weights of 22 bits, each pass rounded
            and clipped to 0..255; not differentiable. Otherwise nothing is rounded or clipped, as
            in Pillow's mode "F".
    """
    one_pass = _fixed_point if as_uint8 else _floating
    x = pictures.transpose(0, 3, 1, 2).astype(jnp.float32)  # [B,C,H,W]
    if x.shape[3] != width:
        x = one_pass(lambda matrix: _matmul(x, matrix.T), weights(x.shape[3], width, kind))
    if x.shape[2] != height:
        x = one_pass(lambda matrix: _matmul(matrix, x), weights(x.shape[2], height, kind))
    return x.transpose(0, 2, 3, 1)


def clean_resize(pictures: jax.Array, size: int = 299) -> jax.Array:
    """Resize as clean-fid's "clean" mode does: bicubic, antialiased, float, clipped, not rounded.

    Args:
        pictures: [B,H,W,3] uint8 or float, 0..255.
        size: side of the square result; 299 is the input size of Inception.

    Returns:
        [B,size,size,3] float32, 0..255.

    Source: clean-fid `resize.py`, `make_resizer("PIL", False, "bicubic", ...)`.
    """
    return jnp.clip(resize(pictures, size, size, "bicubic"), 0.0, 255.0)


def _floating(apply: Callable[[np.ndarray], jax.Array], matrix: np.ndarray) -> jax.Array:
    return apply(matrix.astype(np.float32))


def _fixed_point(apply: Callable[[np.ndarray], jax.Array], matrix: np.ndarray) -> jax.Array:
    """Run one pass of Resample.c's 8-bit code exactly, so that ties are rounded as Pillow does.

    A weight's high and low 11 bits are multiplied separately: each sum of products with 0..255
    stays below 2^24, where float32 is exact.
    """
    fixed = np.floor(matrix * 2**BITS + 0.5).astype(np.int64)
    high, low = fixed >> BITS // 2, fixed & (2 ** (BITS // 2) - 1)
    sums = [apply(part.astype(np.float32)).astype(jnp.int32) for part in (high, low)]
    total = (sums[0] << BITS // 2) + sums[1] + (1 << (BITS - 1))
    return jnp.clip(total >> BITS, 0, 255).astype(jnp.float32)


def _matmul(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))
