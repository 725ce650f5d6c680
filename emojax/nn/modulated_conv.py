"""Array functions of the networks: FIR resampling and modulated convolution, all NHWC."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from emojax.nn import winograd

OUTER, INNER = 0.25, 0.75
"""The originals' resampling filter [1, 3, 3, 1] / 8 along one axis, times the 2 that makes up for
the zeros inserted between the values."""

EPSILON = 1e-8
"""Keeps demodulation and normalisation finite; the originals' value."""

Padding = tuple[tuple[int, int], tuple[int, int]]

SAME: Padding = ((1, 1), (1, 1))
"""What a 3x3 kernel needs to keep the size."""

FOLDED = 128
"""Output channels up to which a GPU folds the filter into `up_conv`'s kernel."""

DIMENSIONS = ("NHWC", "HWIO", "NHWC")

_PIXELS = 1024
"""Of pictures that a kernel's gradient takes at a time on a CPU: what the caches hold."""


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: int | tuple[tuple[int, int], tuple[int, int]] = 0,
) -> jax.Array:
    """Correlate x [B, H, W, I] with kernel [k, k, I, O], as every framework's convolution does.

    Args:
        x: input.
        kernel: weights, HWIO.
        stride: step along both axes.
        padding: zeros on every side, or ((top, bottom), (left, right)).

    Returns:
        [B, H', W', O] in the input's dtype.
    """
    if isinstance(padding, int):
        padding = ((padding, padding), (padding, padding))
    return _conv(x, kernel, stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    def library(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _library(x, kernel, stride, padding)

    def on_cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
        if padding == SAME and winograd.pays(x, kernel, stride):
            return winograd.conv3x3(x, kernel, stride)
        if _outputs(x, kernel, stride, padding) == (1, 1):
            return _one_pixel(x, kernel, padding)
        return library(x, kernel)

    return jax.lax.platform_dependent(x, kernel, cpu=on_cpu, default=library)


def _library(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=DIMENSIONS
    )


def _outputs(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> tuple[int, ...]:
    """Return the height and width of a convolution's output."""
    sizes = zip(x.shape[1:3], padding, kernel.shape[:2], strict=True)
    return tuple((size + sum(pads) - taps) // stride + 1 for size, pads, taps in sizes)


def _one_pixel(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Correlate where only one pixel comes out: one product, its window being the whole kernel.

    XLA's CPU backend would turn the kernel round first, which takes ten times as long.
    """
    height, width, _, outputs = kernel.shape
    window = jnp.pad(x, ((0, 0), *padding, (0, 0)))[:, :height, :width]
    return (window.reshape(len(x), -1) @ kernel.reshape(-1, outputs))[:, None, None]


def _conv_forward(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _conv(x, kernel, stride, padding), (x, kernel)


def _conv_backward(
    stride: int, padding: Padding, kept: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The library's gradients; on a CPU, each in the form that its backend is fast at."""

    def library(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(lambda x, kernel: _library(x, kernel, stride, padding), x, kernel)[1](dy)

    def on_cpu(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        d_kernel = _kernel_gradient(x, kernel.shape, dy, stride, padding)
        if stride > 1:
            return _picture_gradient(x.shape, kernel, dy, stride, padding), d_kernel
        # Turned round here, as inside a loop the backend takes any other order for an odd one.
        around = [
            (taps - 1 - before, taps - 1 - after)
            for taps, (before, after) in zip(kernel.shape[:2], padding, strict=True)
        ]
        turned = kernel[::-1, ::-1].swapaxes(2, 3)
        return _library(dy, turned, 1, tuple(around)), d_kernel

    return jax.lax.platform_dependent(*kept, dy, cpu=on_cpu, default=library)


def _picture_gradient(
    shape: tuple[int, ...], kernel: jax.Array, dy: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """Spread dy over the pixels it came of, phase by phase of the stride.

    Pixels of one phase meet every stride-th tap only, so each phase is a small convolution of dy.
    XLA's CPU backend puts zeros into dy instead: stride² times the products, and no fast form.
    """
    lows = [before for before, _ in padding]
    counts = [-(-(size + low) // stride) for size, low in zip(shape[1:3], lows, strict=True)]

    def phase(row: int, column: int) -> jax.Array:
        taps = kernel[row::stride, column::stride]
        if 0 in taps.shape:
            return jnp.zeros((shape[0], *counts, shape[3]), dy.dtype)
        around = [
            (seen - 1, count - out)
            for seen, count, out in zip(taps.shape[:2], counts, dy.shape[1:3], strict=True)
        ]
        return _library(dy, taps[::-1, ::-1].swapaxes(2, 3), 1, tuple(around))

    rows = [jnp.stack([phase(i, j) for j in range(stride)], 3) for i in range(stride)]
    whole = jnp.stack(rows, 2)  # [B, H/s, s, W/s, s, I]
    whole = whole.reshape(shape[0], counts[0] * stride, counts[1] * stride, shape[3])
    return whole[:, lows[0] : lows[0] + shape[1], lows[1] : lows[1] + shape[2]]


def _kernel_gradient(
    x: jax.Array, shape: tuple[int, ...], dy: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """Sum over a batch of dy times what each tap sees, a matrix product for a few pictures.

    XLA's CPU backend makes a convolution with a picture-sized kernel of this, and has no fast
    form for that: `up_conv`'s small kernels take 13 times as long as here. All pictures at once
    would leave the caches: 1.8 times as long.
    """
    height, width, inputs, outputs = shape
    size = [stride * (side - 1) + 1 for side in dy.shape[1:3]]
    count = math.gcd(len(x), max(1, _PIXELS // math.prod(dy.shape[1:3])))  # pictures at a time
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))

    def add(total: jax.Array, few: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x, dy = few
        seen = [
            x[:, i : i + size[0] : stride, j : j + size[1] : stride]
            for i in range(height)
            for j in range(width)
        ]
        rows = jnp.concatenate(seen, -1).reshape(-1, height * width * inputs)
        return total + dy.reshape(-1, outputs).T @ rows, None

    few = tuple(each.reshape(-1, count, *each.shape[1:]) for each in (x, dy))
    start = jnp.zeros((outputs, height * width * inputs), x.dtype)
    total, _ = jax.lax.scan(add, start, few)  # [O, k·k·I]: the longer side last is the faster
    return total.T.reshape(shape)


_conv.defvjp(_conv_forward, _conv_backward)


def phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return the rows and columns of even and odd index of u, `up_conv`'s transposed convolution.

    One 2x2 convolution: nine of its sixteen taps are not zero, yet on a GPU it is faster than four
    small ones. Phase (p, q) at (i, j) is u[2i - p, 2j - q], which depends on x[i-1] and x[i] only.

    Args:
        x: [B, H, W, I].
        kernel: [3, 3, I, O].

    Returns:
        [B, H+1, W+1, 4·O], channels in the order p, q, o.
    """
    return _library(x, phase_kernel(kernel).astype(x.dtype), 1, SAME)


def phase_kernel(kernel: jax.Array) -> jax.Array:
    """Rearrange [..., 3, 3, I, O] into the 2x2 kernels of the four phases [..., 2, 2, I, 4·O]."""
    for _ in range(2):  # rows, then columns: each time axis -4
        odd = kernel[..., 1:2, :, :, :]
        pair = (kernel[..., 2::-2, :, :, :], jnp.concatenate([odd, jnp.zeros_like(odd)], -4))
        kernel = jnp.stack(pair, -2)
    return kernel.reshape(*kernel.shape[:-3], -1)


def up_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed 3x3 convolution of stride 2, then the FIR filter: [B, H, W, I] to [B, 2H, 2W, O].

    The transposed convolution u (2H + 1 wide) is never put together: its rows and columns of even
    and odd index are four small convolutions of the input, nine products a pixel where a dilated
    input costs 36, and the filter runs on those four phases as they are. The zeros the filter
    needs around u are made by the convolutions' padding.

    Args:
        x: input.
        kernel: weights [3, 3, I, O], not flipped.

    Returns:
        [B, 2H, 2W, O] float32: the filter sums in float32 whatever x is.

    Source: rosinality/stylegan2-pytorch `model.py`, `ModulatedConv2d` with `upsample=True`.
    """
    if x.dtype != jnp.bfloat16 or kernel.shape[3] > FOLDED:
        return _up_by_phases(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=_up_by_phases, default=_up_folded)


def _up_by_phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Four small convolutions, filtered as phases; nothing of u is put together."""
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
    """One 3x3 convolution to the four phases of the result, the filter folded into its kernel.

    Four times the products of `_up_by_phases`, and one pass over memory for three: faster on a GPU
    where the channels are few (benchmarks/README.md).
    """
    batch, height, width, _ = x.shape
    outputs = kernel.shape[3]
    y = _library(x, fold_kernel(kernel).astype(x.dtype), 1, SAME)
    y = y.reshape(batch, height, width, 2, 2, outputs).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(batch, 2 * height, 2 * width, outputs).astype(jnp.float32)


def fold_kernel(kernel: jax.Array) -> jax.Array:
    """Fold the filter into [3, 3, I, O]: [3, 3, I, 4·O] gives the four phases of `up_conv`.

    u[2i + a] is the sum of kernel[a] · x[i] and y[n] that of filter[t] · u[n - 1 + t], so y[2j + p]
    is the sum of filter[2s + a - 1 - p] · kernel[a] · x[j - 1 + s] over a and s = 0, 1, 2.
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
    """Filter the phases u[0], u[2] ... and u[-1], u[1] ... along an axis into y's even and odd."""
    e0, e1 = (jax.lax.slice_in_dim(even, at, at + size, axis=axis) for at in (0, 1))
    o0, o1, o2 = (jax.lax.slice_in_dim(odd, at, at + size, axis=axis) for at in (0, 1, 2))
    return OUTER * (o0 + e1) + INNER * (e0 + o1), OUTER * (e0 + o2) + INNER * (o1 + e1)


def upsample(x: jax.Array) -> jax.Array:
    """Double the size by zero insertion and the FIR filter, zeros beyond the border.

    Each axis: y[2j] = (x[j-1] + 3 x[j]) / 4 and y[2j+1] = (3 x[j] + x[j+1]) / 4.

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
    """Convolve with weights scaled per sample and input channel, renormalised per output channel.

    Scaling the weights equals scaling the input before and the output after, so no kernel per
    sample is made: the output's scale rsqrt(style² · Σ_k kernel² + 1e-8) is one small product.

    Args:
        x: [B, H, W, I].
        kernel: equalised weights [k, k, I, O], scaled here by 1/√(I·k²).
        style: [B, I].
        up: double the size (see `up_conv`).
        demodulate: renormalise.
        delta: HyperStyle's change of the kernel, kernel·(1 + delta): broadcastable to
            [k, k, I, O], or with a leading batch axis for a kernel per sample.

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
    else:  # one sample at a time: grouped convolutions are slow everywhere
        y = jax.lax.map(lambda pair: convolve(pair[0][None], pair[1])[0], (modulated, kernel))
    y = y.astype(jnp.float32)
    return y * demodulation(kernel, style)[:, None, None, :] if demodulate else y


def demodulation(kernel: jax.Array, style: jax.Array) -> jax.Array:
    """Return the scale [B, O] that renormalises the output of a kernel times style [B, I].

    Args:
        kernel: [k, k, I, O], or [B, k, k, I, O].
        style: equalised.
    """
    energy = jnp.sum(jnp.square(kernel), axis=(-4, -3))  # [(B,) I, O]
    products = "bi,io->bo" if energy.ndim == 2 else "bi,bio->bo"
    return jax.lax.rsqrt(jnp.einsum(products, jnp.square(style), energy) + EPSILON)


def _conv_same(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with the padding that keeps the size."""
    return conv(x, kernel.astype(x.dtype), padding=kernel.shape[0] // 2)
