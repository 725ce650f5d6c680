"""Modulated convolution and FIR resampling of StyleGAN2; NHWC and HWIO."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from emojax.nn.conv import SAME3, conv, library
from emojax.nn.layers import EPSILON

OUTER, INNER = 0.25, 0.75
"""The published resampling filter [1, 3, 3, 1] / 8 along one axis, times 2 for the zeros inserted
between the values."""

FOLDED = 128
"""Output channels up to which a GPU folds the filter into `up_conv`'s kernel."""


def phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return the four phases of u, the transposed convolution of `up_conv`.

    Phase (p, q) at (i, j) is u[2i - p, 2j - q], which depends on x[i-1], x[i] and x[j-1], x[j]
    only: one 2x2 convolution. Seven of its sixteen taps are zero, but on a GPU it is faster than
    four smaller convolutions.

    Args:
        x: [B, H, W, I].
        kernel: [3, 3, I, O].

    Returns:
        [B, H+1, W+1, 4·O], channels in the order p, q, o.
    """
    return library(x, phase_kernel(kernel).astype(x.dtype), 1, SAME3)


def phase_kernel(kernel: jax.Array) -> jax.Array:
    """Rearrange [..., 3, 3, I, O] into the 2x2 kernels of the four phases [..., 2, 2, I, 4·O]."""
    for _ in range(2):  # rows, then columns; both times it is axis -4
        odd = kernel[..., 1:2, :, :, :]
        pair = (kernel[..., 2::-2, :, :, :], jnp.concatenate([odd, jnp.zeros_like(odd)], -4))
        kernel = jnp.stack(pair, -2)
    return kernel.reshape(*kernel.shape[:-3], -1)


def up_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed 3x3 convolution of stride 2, followed by the FIR filter.

    The transposed convolution u, 2H + 1 pixels high, is not assembled. Its rows and columns of even
    and odd index (phases) are four small convolutions of the input, nine multiplications for each
    input pixel instead of 36 of a dilated input, and the filter is applied to the phases. The
    padding of the convolutions provides the zeros that the filter needs around u.

    Args:
        x: input [B, H, W, I].
        kernel: weights [3, 3, I, O], not flipped.

    Returns:
        [B, 2H, 2W, O] float32; the filter sums in float32 for any dtype of x.

    Source: rosinality/stylegan2-pytorch `model.py`, `ModulatedConv2d` with `upsample=True`.
    """
    if x.dtype != jnp.bfloat16 or kernel.shape[3] > FOLDED:
        return _up_by_phases(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=_up_by_phases, default=_up_folded)


def _up_by_phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Compute the phases by four small convolutions and filter them."""
    batch, height, width, _ = x.shape
    kernel = kernel.astype(x.dtype)

    def phase(rows: slice, columns: slice) -> jax.Array:
        return conv(x, kernel[rows, columns][::-1, ::-1], padding=1).astype(jnp.float32)

    even, odd = slice(0, 3, 2), slice(1, 2)
    columns = [_filtered(phase(even, c), phase(odd, c), height, axis=1) for c in (even, odd)]
    rows = [_filtered(a, b, width, axis=2) for a, b in zip(*columns, strict=True)]
    y = jnp.stack([jnp.stack(pair, 3) for pair in rows], 2)  # [B, H, 2, W, 2, O]
    return y.reshape(batch, 2 * height, 2 * width, -1)


def _up_folded(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Compute the four phases of the result by one 3x3 convolution that includes the filter.

    This takes four times the multiplications of `_up_by_phases`, but one pass over memory instead
    of three, which is faster on a GPU for few channels (benchmarks/README.md).
    """
    batch, height, width, _ = x.shape
    outputs = kernel.shape[3]
    y = library(x, fold_kernel(kernel).astype(x.dtype), 1, SAME3)
    y = y.reshape(batch, height, width, 2, 2, outputs).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(batch, 2 * height, 2 * width, outputs).astype(jnp.float32)


def fold_kernel(kernel: jax.Array) -> jax.Array:
    """Return the kernel [3, 3, I, 4·O] that computes the four phases of `up_conv`'s result.

    Along one axis u[2i + a] is the sum of kernel[a] · x[i], and y[n] that of filter[t] · u[n - 1 +
    t]. Hence y[2j + p] is the sum of filter[2s + a - 1 - p] · kernel[a] · x[j - 1 + s] over a and
    s = 0, 1, 2.

    Args:
        kernel: [3, 3, I, O].
    """
    taps = np.array([OUTER, INNER, INNER, OUTER], np.float32)
    fold = np.zeros((2, 3, 3), np.float32)  # [p, s, a]
    for p, s, a in np.ndindex(fold.shape):
        t = 2 * s + a - 1 - p
        fold[p, s, a] = taps[t] if 0 <= t < 4 else 0
    product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    kernel = product("psa,abio->sbipo", fold, kernel.astype(jnp.float32))
    kernel = product("qtb,sbipo->stipqo", fold, kernel)
    return kernel.reshape(*kernel.shape[:3], -1)


def _filtered(even: jax.Array, odd: jax.Array, size: int, axis: int) -> tuple[jax.Array, jax.Array]:
    """Filter u[0], u[2], ... and u[-1], u[1], ... along an axis; return even and odd phase of y."""
    e0, e1 = (jax.lax.slice_in_dim(even, at, at + size, axis=axis) for at in (0, 1))
    o0, o1, o2 = (jax.lax.slice_in_dim(odd, at, at + size, axis=axis) for at in (0, 1, 2))
    return OUTER * (o0 + e1) + INNER * (e0 + o1), OUTER * (e0 + o2) + INNER * (o1 + e1)


def upsample(x: jax.Array) -> jax.Array:
    """Double height and width by zero insertion and the FIR filter, with zero padding.

    Along each axis, y[2j] = (x[j-1] + 3 x[j]) / 4 and y[2j+1] = (3 x[j] + x[j+1]) / 4.

    Source: rosinality/stylegan2-pytorch `model.py`, `Upsample` (padding 2, 1).
    """
    for axis in (1, 2):
        near = INNER * x
        ends = [(0, 0)] * x.ndim
        ends[axis] = (1, 1)
        far = jnp.pad(OUTER * x, ends)
        size = x.shape[axis]
        before, after = (jax.lax.slice_in_dim(far, at, at + size, axis=axis) for at in (0, 2))
        x = jnp.stack([before + near, near + after], axis + 1)
        x = x.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 2 :])
    return x


def modulated_conv(
    x: jax.Array,
    kernel: jax.Array,
    style: jax.Array,
    *,
    up: bool = False,
    demodulate: bool = True,
    delta: jax.Array | None = None,
) -> jax.Array:
    """Convolve with weights modulated by a style for each sample, and demodulate.

    Instead of the weights, the input is scaled before the convolution and the output after it, so
    samples share one kernel. The scale of the output, rsqrt(style² · Σ_k kernel² + 1e-8), is one
    small matrix product.

    Args:
        x: [B, H, W, I].
        kernel: equalised weights [k, k, I, O], scaled here by 1/√(I·k²).
        style: [B, I].
        up: double height and width, see `up_conv`.
        demodulate: normalise the output.
        delta: HyperStyle's relative weight offset, kernel·(1 + delta): broadcastable to
            [k, k, I, O], or with a leading batch axis for a kernel of every sample.

    Returns:
        [B, H', W', O] float32; only the convolution itself computes in x's dtype.

    Source: rosinality `model.py`, `ModulatedConv2d`; deltas: yuval-alaluf/hyperstyle, same file.
    """
    style = style * np.float32(1 / np.sqrt(np.prod(kernel.shape[:3])))
    if delta is not None:
        kernel = kernel * (1 + delta)
    convolve = up_conv if up else _conv_same
    modulated = x * style[:, None, None, :].astype(x.dtype)
    if kernel.ndim == 4:
        y = convolve(modulated, kernel)
    else:  # sample by sample: grouped convolutions are slow on every platform
        y = jax.lax.map(lambda pair: convolve(pair[0][None], pair[1])[0], (modulated, kernel))
    y = y.astype(jnp.float32)
    return y * demodulation(kernel, style)[:, None, None, :] if demodulate else y


def demodulation(kernel: jax.Array, style: jax.Array) -> jax.Array:
    """Return the factors [B, O] that demodulate the output.

    Args:
        kernel: [k, k, I, O], or [B, k, k, I, O].
        style: [B, I], scaled by 1/√(I·k²).
    """
    energy = jnp.sum(jnp.square(kernel), axis=(-4, -3))  # [(B,) I, O]
    products = "bi,io->bo" if energy.ndim == 2 else "bi,bio->bo"
    return jax.lax.rsqrt(jnp.einsum(products, jnp.square(style), energy) + EPSILON)


def _conv_same(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with the padding that preserves the size."""
    return conv(x, kernel.astype(x.dtype), padding=kernel.shape[0] // 2)
