"""Reconstruction error of pictures: mean squared error, PSNR and MS-SSIM.

All functions take float pictures [B,H,W,3] in [-1, 1] and return one number for each picture.
"""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np

RANGE = 2.0
"""Dynamic range of PSNR: white minus black."""
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, Wang et al. 2003."""
WINDOW, SIGMA = 11, 1.5
"""Width and standard deviation of the Gaussian window in pixels."""
K1, K2 = 0.01, 0.03
"""Constants that stabilise the luminance and contrast terms, as parts of the dynamic range."""
MS_SSIM_SMALLEST = WINDOW << (len(SCALES) - 1)
"""Smallest side, 176, that leaves a whole window at the coarsest scale."""


def reconstruction_error(a: jax.Array, b: jax.Array) -> dict[str, jax.Array]:
    """Return the figures that are defined for pictures of this size, by name.

    Returns:
        `l2`, `psnr` and, from sides of `MS_SSIM_SMALLEST` on, `ms_ssim`; [B] each. `a` is the
        result, `b` what it is compared with.
    """
    figures = {"l2": l2(a, b), "psnr": psnr(a, b)}
    if ms_ssim_problem(a.shape[1], a.shape[2]) is None:
        figures["ms_ssim"] = ms_ssim(a, b)
    return figures


def ms_ssim_problem(height: int, width: int) -> str | None:
    """Return why MS-SSIM is undefined for pictures of a size, as a sentence; None if it is not."""
    if min(height, width) >= MS_SSIM_SMALLEST:
        return None
    return (
        f"MS-SSIM is undefined for pictures of {height}x{width} pixels: its five scales need sides "
        f"of {MS_SSIM_SMALLEST} or more"
    )


@jax.jit
def l2(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the mean squared difference, which the encoders' papers call L2."""
    return jnp.square(a - b).mean((1, 2, 3))


@jax.jit
def psnr(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the peak signal-to-noise ratio in dB; infinite for equal pictures."""
    return 10 * jnp.log10(RANGE**2 / l2(a, b))


@jax.jit
def ms_ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the multi-scale structural similarity, as HyperStyle's scripts do; 1: no difference.

    Five scales, a Gaussian window of 11 pixels without padding, and downsampling by the mean of
    2×2 blocks (Wang, Simoncelli and Bovik 2003). The dynamic range is guessed from `a` at each
    scale, so the arguments do not commute, and each term is averaged over pixels and channels
    before its power is taken. A negative contrast term, which HyperStyle's means leave out, gives
    nan.

    Raises:
        ValueError: the pictures are too small for five scales, see `MS_SSIM_SMALLEST`.

    Source: yuval-alaluf/hyperstyle `criteria/ms_ssim.py`, `MSSSIM`.
    """
    if problem := ms_ssim_problem(a.shape[1], a.shape[2]):
        raise ValueError(problem)
    similar, contrast = ssim_levels(a, b)
    powers = jnp.asarray(SCALES)[:, None]
    return (contrast[:-1] ** powers[:-1]).prod(0) * similar[-1] ** powers[-1]


def ssim_levels(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the mean structural similarity and contrast term at each of the scales, [5,B] each."""
    similar, contrast = [], []
    for _ in SCALES:
        light, structure = _ssim_terms(a, b)
        similar.append((light * structure).mean((1, 2, 3)))
        contrast.append(structure.mean((1, 2, 3)))
        a, b = _halve(a), _halve(b)
    return jnp.stack(similar), jnp.stack(contrast)


def _ssim_terms(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the luminance term and the contrast-structure term of SSIM, [B,H',W',3] each."""
    mean_a, mean_b = _blur(a), _blur(b)
    variance = _blur(a * a) - mean_a**2 + _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    span = jnp.where(a.min((1, 2, 3), keepdims=True) < -0.5, 2.0, 1.0)
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (variance + c2)


def _blur(x: jax.Array) -> jax.Array:
    """Filter with the Gaussian window, axis by axis, where it fits entirely."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SIGMA**2))
    taps = [float(tap) for tap in taps / taps.sum()]
    for axis in (1, 2):
        size = x.shape[axis] - WINDOW + 1
        parts = (jax.lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(WINDOW))
        products = (tap * part for tap, part in zip(taps, parts, strict=True))
        x = functools.reduce(operator.add, products)
    return x


def _halve(x: jax.Array) -> jax.Array:
    height, width = (side // 2 * 2 for side in x.shape[1:3])
    x = x[:, :height, :width]
    return x.reshape(x.shape[0], height // 2, 2, width // 2, 2, -1).mean((2, 4))
