"""Convolutions with implementations and gradients of their own on CPUs; NHWC and HWIO.

XLA's CPU backend is slow for depthwise convolutions and for several of the gradients. Each function
here uses forms that are fast there, and XLA's own convolution on every other platform.
"""

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after, along height and width."""

Convolve = Callable[[jax.Array, jax.Array, int, str | Pads], jax.Array]
"""(x, kernel, stride, padding) to the output."""

Pair = tuple[jax.Array, jax.Array]

Gradients = Callable[[jax.Array, jax.Array, jax.Array, int, str | Pads], Pair]
"""(x, kernel, gradient of the output, stride, padding) to the gradients of x and kernel."""


def library(x: jax.Array, kernel: jax.Array, stride: int, padding: str | Pads) -> jax.Array:
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
