"""How close a reconstruction is to its picture: squared error, PSNR and MS-SSIM.

All take float pictures [B,H,W,3] in [-1, 1] and return one number a picture.
"""

import jax
import jax.numpy as jnp
import numpy as np

RANGE = 2.0
"""Distance between black and white."""
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, Wang et al. 2003."""
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


@jax.jit
def l2(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean squared difference, the encoders' own L2 figure."""
    return jnp.square(a - b).mean((1, 2, 3))


@jax.jit
def psnr(a: jax.Array, b: jax.Array) -> jax.Array:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    return 10 * jnp.log10(RANGE**2 / l2(a, b))


@jax.jit
def ms_ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """Multi-scale structural similarity, 1 for equal pictures.

    Five scales, a Gaussian window of 11 pixels without padding, and halving by the mean of 2×2
    blocks (Wang, Simoncelli and Bovik 2003). Negative contrast terms count as zero.

    Raises:
        ValueError: the pictures are too small for five scales, below 176 pixels.
    """
    if min(a.shape[1:3]) < WINDOW << (len(SCALES) - 1):
        raise ValueError(f"pictures are {list(a.shape)}, wanted sides of 176 or more")
    product = jnp.ones(())
    for index, exponent in enumerate(SCALES):
        luminance, contrast = _ssim_terms(a, b)
        last = index == len(SCALES) - 1
        term = (luminance * contrast if last else contrast).mean((1, 2))  # [B,3]
        product = product * jnp.maximum(term, 0) ** exponent
        if not last:
            a, b = _halve(a), _halve(b)
    return product.mean(-1)


def _ssim_terms(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    mean_a, mean_b = _blur(a), _blur(b)
    variance = _blur(a * a) - mean_a**2 + _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (variance + c2)


def _blur(x: jax.Array) -> jax.Array:
    """Gaussian mean over the places where the window fits, axis by axis."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SIGMA**2))
    taps = [float(tap) for tap in taps / taps.sum()]
    for axis in (1, 2):
        size = x.shape[axis] - WINDOW + 1
        parts = (jax.lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(WINDOW))
        x = sum(tap * part for tap, part in zip(taps, parts, strict=True))
    return x


def _halve(x: jax.Array) -> jax.Array:
    height, width = (side // 2 * 2 for side in x.shape[1:3])
    x = x[:, :height, :width]
    return x.reshape(x.shape[0], height // 2, 2, width // 2, 2, -1).mean((2, 4))
