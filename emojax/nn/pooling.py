"""Pooling and interpolation of feature maps; NHWC."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax.nn.conv import views


def resample(x: jax.Array, matrix: np.ndarray) -> jax.Array:
    """Apply one [out, in] matrix along both sides of square [B,S,S,C] features."""
    weights = jnp.asarray(matrix, x.dtype)
    rows = jnp.einsum("oh,bhwc->bowc", weights, x)
    return jnp.einsum("pw,bowc->bopc", weights, rows)


def pooling_matrix(size: int, target: int) -> np.ndarray:
    """Return the matrix [target, size] of `AdaptiveAvgPool2d`, whose bins may overlap."""
    start = np.arange(target) * size // target
    stop = -(-(np.arange(target) + 1) * size // target)
    inside = (np.arange(size) >= start[:, None]) & (np.arange(size) < stop[:, None])
    return inside / (stop - start)[:, None]


def max_pool(x: jax.Array, size: int, stride: int = 2, padding: str = "VALID") -> jax.Array:
    """Return the size×size max pooling of [B,H,W,C], as a maximum over shifted slices.

    `lax.reduce_window` is slow on CPUs.
    """
    return functools.reduce(jnp.maximum, views(x, (size, size), stride, padding, border=-jnp.inf))


def area_mean(pictures: Any, side: int) -> Any:
    """Shrink square pictures [B,S,S,3] to [B,side,side,3] by the mean over equal blocks."""
    batch, size, _, channels = pictures.shape
    if size == side:
        return pictures
    step = size // side
    return pictures.reshape(batch, side, step, side, step, channels).mean((2, 4))


def centre_mean(pictures: jax.Array, side: int) -> jax.Array:
    """Shrink square pictures [B,S,S,C] by an even factor to the mean of each block's central 2×2.

    That is PyTorch's bilinear `interpolate` without antialiasing, `align_corners` false. Pictures
    that have the size already stay as they are.

    Raises:
        ValueError: S is no even multiple of the side.
    """
    batch, size, _, channels = pictures.shape
    if size == side:
        return pictures
    if size % (2 * side):
        raise ValueError(f"pictures are {size} wide, wanted an even multiple of {side}")
    step = size // side
    blocks = pictures.reshape(batch, side, step, side, step, channels)
    centre = slice(step // 2 - 1, step // 2 + 1)
    return blocks[:, :, centre, :, centre].mean((2, 4))
