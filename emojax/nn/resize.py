"""Pillow's antialiased resizing as two matrix products, for use inside jitted functions.

When a picture is reduced, the filter is widened by the same factor; weights beyond the border are
dropped and the rest normalised. Pictures are resized horizontally, then vertically, with 8 bits in
between, as by every Pillow below 13, with which the classifier's and the encoders' authors worked.
Pillow 13 resizes vertically first where that is cheaper (its pull request 9549), which changes
values by one level.

Source: python-pillow `src/libImaging/Resample.c`, `precompute_coeffs`.
"""

import functools
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
    """Resize [B,H,W,C] of 0..255 to [B,height,width,C] float32, horizontally first.

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
        x = one_pass(x, weights(x.shape[3], width, kind), 3)
    if x.shape[2] != height:
        x = one_pass(x, weights(x.shape[2], height, kind), 2)
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


def _floating(x: jax.Array, matrix: np.ndarray, axis: int) -> jax.Array:
    return _product(x, matrix.astype(np.float32), axis)


def _fixed_point(x: jax.Array, matrix: np.ndarray, axis: int) -> jax.Array:
    """Run one pass of Resample.c's 8-bit code exactly, so that ties are rounded as Pillow does.

    Parts of a weight's bits are multiplied separately, so that each sum of products with 0..255
    stays below 2^24, where float32 is exact: two parts of 11 bits on a CPU; elsewhere 8, 7 and 7
    bits, which like 0..255 are exact in bfloat16, in a single product on matrix units.
    """
    fixed = np.floor(matrix * 2**BITS + 0.5).astype(np.int64)
    return lax.platform_dependent(
        x,
        cpu=lambda x: _by_halves(x, fixed, axis),
        default=lambda x: _by_thirds(x, fixed, axis),
    )


def _by_halves(x: jax.Array, fixed: np.ndarray, axis: int) -> jax.Array:
    parts = _bits(fixed, BITS // 2, 0)
    return _rounded([_product(x, part, axis) for part in parts], BITS // 2, 0)


def _by_thirds(x: jax.Array, fixed: np.ndarray, axis: int) -> jax.Array:
    parts = np.concatenate(_bits(fixed, 14, 7, 0)).astype(jnp.bfloat16)
    sums = _product(x.astype(jnp.bfloat16), parts, axis)
    return _rounded(jnp.split(sums, 3, axis), 14, 7, 0)


def _bits(fixed: np.ndarray, *places: int) -> list[np.ndarray]:
    """Split integers into float32 parts that start at these bits, the highest with the sign."""
    rest, parts = fixed, []
    for place in places:
        parts.append((rest >> place).astype(np.float32))
        rest = rest & (2**place - 1)
    return parts


def _rounded(sums: list[jax.Array], *places: int) -> jax.Array:
    """Combine the sums of the parts and round to 0..255 as Pillow's `clip8` does."""
    pairs = zip(sums, places, strict=True)
    total = sum(part.astype(jnp.int32) << place for part, place in pairs) + (1 << (BITS - 1))
    return jnp.clip(total >> BITS, 0, 255).astype(jnp.float32)


def _product(x: jax.Array, matrix: np.ndarray, axis: int) -> jax.Array:
    """Apply a matrix [out, in] along the last (3) or last but one (2) axis of [B,C,H,W]."""
    pair = (x, matrix.T) if axis == 3 else (matrix, x)
    return jnp.matmul(*pair, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))
