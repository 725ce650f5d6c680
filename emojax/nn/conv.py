"""Convolutions with implementations and gradients of their own on CPUs; NHWC and HWIO.

XLA's CPU backend is slow for depthwise convolutions and for several of the gradients. Each function
here uses forms that are fast there, and XLA's own convolution on every other platform.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from emojax.nn import winograd

Pads = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after, along height and width."""

SAME3: Pads = ((1, 1), (1, 1))
"""Padding that preserves the size under a 3x3 kernel."""

_PIXELS = 1024
"""Output pixels per step of the CPU gradient of a kernel; more would not stay in the cache."""

Convolve = Callable[[jax.Array, jax.Array, int, str | Pads], jax.Array]
"""(x, kernel, stride, padding) to the output."""

Pair = tuple[jax.Array, jax.Array]

Gradients = Callable[[jax.Array, jax.Array, jax.Array, int, str | Pads], Pair]
"""(x, kernel, gradient of the output, stride, padding) to the gradients of x and kernel."""


def library(
    x: jax.Array, kernel: jax.Array, stride: int, padding: str | Sequence[tuple[int, int]]
) -> jax.Array:
    """Return XLA's convolution of x [B,H,W,I] with kernel [h,w,I/groups,O]."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def with_cpu_form(forward: Convolve, gradients: Gradients) -> Convolve:
    """Return a convolution that runs `forward` and `gradients` on CPUs and `library` elsewhere.

    Args:
        forward: the convolution on a CPU.
        gradients: its gradients on a CPU; differentiating `forward` automatically would be slow.
    """

    def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: str | Pads) -> jax.Array:
        return lax.platform_dependent(
            x,
            kernel,
            cpu=lambda x, kernel: forward(x, kernel, stride, padding),
            default=lambda x, kernel: library(x, kernel, stride, padding),
        )

    def keep(
        x: jax.Array, kernel: jax.Array, stride: int, padding: str | Pads
    ) -> tuple[jax.Array, Pair]:
        return differentiable(x, kernel, stride, padding), (x, kernel)

    def backward(stride: int, padding: str | Pads, kept: Pair, dy: jax.Array) -> Pair:
        def on_cpu(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
            return gradients(x, kernel, dy, stride, padding)

        def default(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
            return jax.vjp(lambda x, kernel: library(x, kernel, stride, padding), x, kernel)[1](dy)

        return lax.platform_dependent(*kept, dy, cpu=on_cpu, default=default)

    differentiable = jax.custom_vjp(convolve, nondiff_argnums=(2, 3))
    differentiable.defvjp(keep, backward)
    return differentiable


def conv(x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int | Pads = 0) -> jax.Array:
    """Correlate x [B,H,W,I] with kernel [k,k,I,O].

    Args:
        x: input.
        kernel: weights.
        stride: step along both axes.
        padding: zeros on every side, or ((top, bottom), (left, right)).

    Returns:
        [B,H',W',O] in the input's dtype.
    """
    pads = ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding
    return _conv(x, kernel, stride, pads)


def _dense(x: jax.Array, kernel: jax.Array, stride: int, padding: str | Pads) -> jax.Array:
    if padding == SAME3 and winograd.pays(x, kernel, stride):
        return winograd.conv3x3(x, kernel, stride)
    pads = _pads(x, kernel.shape, stride, padding)
    if _output_size(x, kernel, stride, pads) == (1, 1):
        return _one_pixel(x, kernel, pads)
    return library(x, kernel, stride, padding)


def _output_size(
    x: jax.Array, kernel: jax.Array, stride: int, pads: Sequence[tuple[int, int]]
) -> tuple[int, ...]:
    """Return the height and width of the output."""
    sizes = zip(x.shape[1:3], pads, kernel.shape[:2], strict=True)
    return tuple((size + sum(pad) - taps) // stride + 1 for size, pad, taps in sizes)


def _one_pixel(x: jax.Array, kernel: jax.Array, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """Correlate to a single pixel, by one matrix product of the window and the whole kernel.

    XLA's CPU backend would transpose the kernel first, which takes ten times as long.
    """
    height, width, _, outputs = kernel.shape
    window = jnp.pad(x, ((0, 0), *pads, (0, 0)))[:, :height, :width]
    return (window.reshape(len(x), -1) @ kernel.reshape(-1, outputs))[:, None, None]


def _dense_gradients(
    x: jax.Array, kernel: jax.Array, dy: jax.Array, stride: int, padding: str | Pads
) -> Pair:
    pads = _pads(x, kernel.shape, stride, padding)
    d_kernel = _kernel_gradient(x, kernel.shape, dy, stride, pads)
    if stride > 1:
        return _strided_input_gradient(x.shape, kernel, dy, stride, pads), d_kernel
    rows, columns = (
        (taps - 1 - before, taps - 1 - after)
        for taps, (before, after) in zip(kernel.shape[:2], pads, strict=True)
    )
    # Transposed explicitly: inside a loop, the CPU backend is slow for any other order of axes.
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    return _conv(dy, turned, 1, (rows, columns)), d_kernel  # a gradient's gradient is fast, too


def _strided_input_gradient(
    shape: tuple[int, ...],
    kernel: jax.Array,
    dy: jax.Array,
    stride: int,
    pads: Sequence[tuple[int, int]],
) -> jax.Array:
    """Return the gradient of the input, phase by phase of the stride.

    Pixels of one phase are covered by every stride-th tap only, so each phase is a small
    convolution of dy. XLA's CPU backend dilates dy with zeros instead: stride² times the
    multiplications, and no fast kernel.
    """
    lows = [before for before, _ in pads]
    counts = [-(-(size + low) // stride) for size, low in zip(shape[1:3], lows, strict=True)]

    def phase(row: int, column: int) -> jax.Array:
        taps = kernel[row::stride, column::stride]
        if 0 in taps.shape:
            return jnp.zeros((shape[0], *counts, shape[3]), dy.dtype)
        around = [
            (seen - 1, count - out)
            for seen, count, out in zip(taps.shape[:2], counts, dy.shape[1:3], strict=True)
        ]
        return library(dy, taps[::-1, ::-1].swapaxes(2, 3), 1, around)

    rows = [jnp.stack([phase(i, j) for j in range(stride)], 3) for i in range(stride)]
    whole = jnp.stack(rows, 2)  # [B,H/s,s,W/s,s,I]
    whole = whole.reshape(shape[0], counts[0] * stride, counts[1] * stride, shape[3])
    return whole[:, lows[0] : lows[0] + shape[1], lows[1] : lows[1] + shape[2]]


def _kernel_gradient(
    x: jax.Array,
    shape: tuple[int, ...],
    dy: jax.Array,
    stride: int,
    pads: Sequence[tuple[int, int]],
) -> jax.Array:
    """Return the gradient of the kernel as matrix products of dy and the slices under each tap.

    About `_PIXELS` output pixels are taken at a time, so that slices stay in the cache: rows of a
    large picture, or several small pictures. XLA's CPU backend computes this gradient as a
    convolution with a picture-sized kernel, for which it has no fast form: the small kernels of
    `up_conv` take 13 times as long.
    """
    height, width, inputs, outputs = shape
    batch, tall, wide = dy.shape[:3]
    rows = _rows(tall, wide)
    count = math.gcd(batch, max(1, _PIXELS // (rows * wide))) if rows == tall else 1
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    size = (stride * (rows - 1) + 1, stride * (wide - 1) + 1)

    def add(total: jax.Array, at: jax.Array) -> tuple[jax.Array, None]:
        first, row = count * (at // (tall // rows)), rows * (at % (tall // rows))
        few = lax.dynamic_slice(
            x, (first, stride * row, 0, 0), (count, size[0] + height - 1, *x.shape[2:])
        )
        slopes = lax.dynamic_slice(dy, (first, row, 0, 0), (count, rows, wide, outputs))
        seen = [
            few[:, i : i + size[0] : stride, j : j + size[1] : stride]
            for i in range(height)
            for j in range(width)
        ]
        under = jnp.concatenate(seen, -1).reshape(-1, height * width * inputs)
        return total + slopes.reshape(-1, outputs).T @ under, None

    start = jnp.zeros((outputs, height * width * inputs), x.dtype)
    total, _ = lax.scan(add, start, jnp.arange(batch // count * (tall // rows)))
    return total.T.reshape(shape)  # from [O,k·k·I]: faster with the longer axis last


def _rows(tall: int, wide: int) -> int:
    """Return how many rows of a picture are taken at a time, a divisor of its height."""
    fitting = [rows for rows in range(1, tall + 1) if tall % rows == 0 and rows * wide <= _PIXELS]
    return fitting[-1] if fitting and 4 * fitting[-1] * wide > _PIXELS else tall


_conv = with_cpu_form(_dense, _dense_gradients)


def depthwise(x: jax.Array, kernel: jax.Array, stride: int = 1, padding: str = "SAME") -> jax.Array:
    """Convolve every channel of [B,H,W,C] with its own filter of [h,w,1,C]."""
    return _depthwise(x, kernel, stride, padding)


def _shifted(x: jax.Array, kernel: jax.Array, stride: int, padding: str | Pads) -> jax.Array:
    """Sum shifted slices of x times one tap each; XLA fuses them into one loop."""
    taps = kernel.reshape(-1, kernel.shape[-1])  # [h·w,C]
    seen = views(x, kernel.shape, stride, padding)
    products = (view * tap for view, tap in zip(seen, taps, strict=True))
    return functools.reduce(operator.add, products)


def _shifted_gradients(
    x: jax.Array, kernel: jax.Array, dy: jax.Array, stride: int, padding: str | Pads
) -> tuple[jax.Array, jax.Array]:
    """Return the gradients of `_shifted` as sums of shifted products, too.

    Automatic differentiation would add one padded array for each tap.
    """
    height, width, _, channels = kernel.shape
    pads = _pads(x, kernel.shape, stride, padding)
    # dilate dy by the stride and pad it so that every pixel of x is covered by all taps
    around = [
        (taps - 1 - low, size + low - stride * (out - 1) - 1, stride - 1)
        for size, out, taps, (low, _) in zip(
            x.shape[1:3], dy.shape[1:3], kernel.shape[:2], pads, strict=True
        )
    ]
    spread = lax.pad(dy, jnp.zeros((), dy.dtype), ((0, 0, 0), *around, (0, 0, 0)))
    dx = _shifted(spread, kernel[::-1, ::-1], 1, "VALID")
    seen = views(x, kernel.shape, stride, padding)
    taps = [jnp.sum(view * dy, (0, 1, 2)) for view in seen]
    return dx, jnp.stack(taps).reshape(height, width, 1, channels)


_depthwise = with_cpu_form(_shifted, _shifted_gradients)


def views(
    x: jax.Array,
    window: tuple[int, ...],
    stride: int,
    padding: str | Pads,
    border: float = 0.0,
) -> list[jax.Array]:
    """Return the slice of x [B,H,W,C] under each tap of a window, row by row.

    Args:
        x: input.
        window: height and width; further entries are ignored.
        stride: step along both axes.
        padding: as for `library`.
        border: value of the padding.

    Returns:
        h·w arrays [B,H',W',C].
    """
    pads = _pads(x, window, stride, padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=border)
    batch, height, width, channels = x.shape
    bottom, right = height - window[0] + 1, width - window[1] + 1  # valid corners
    return [
        lax.slice(x, (0, i, j, 0), (batch, i + bottom, j + right, channels), (1, stride, stride, 1))
        for i in range(window[0])
        for j in range(window[1])
    ]


def _pads(
    x: jax.Array, window: tuple[int, ...], stride: int, padding: str | Pads
) -> list[tuple[int, int]]:
    """Return the zeros before and after, along height and width."""
    if not isinstance(padding, str):
        return list(padding)
    return list(lax.padtype_to_pads(x.shape[1:3], window[:2], (stride, stride), padding))
