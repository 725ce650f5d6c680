"""Convolutions of inference networks, each in the form that is fastest where it runs.

XLA's CPU backend has no good kernel for depthwise convolutions; a sum of shifted products is ten
to twenty times as fast there. 1×1 convolutions are matrix products everywhere. GPUs and TPUs get
their library's own convolution for the rest. All shapes are NHWC and HWIO.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


class ConvNorm(nnx.Module):
    """Convolution without bias, BatchNorm by stored statistics, activation.

    Weights are kept as published; the norm is one multiplication and one addition after the
    convolution, which fuse with the activation. `model.train()` makes it normalise by the batch
    and follow its statistics, as `nnx.BatchNorm` does; `model.eval()` undoes that.
    """

    momentum = 0.98

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        padding: str = "SAME",
        depthwise: bool = False,
        activation: Callable[[jax.Array], jax.Array] | None = None,
        epsilon: float = 1e-3,
        rngs: nnx.Rngs,
    ) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        self.stride, self.padding, self.epsilon = stride, padding, epsilon
        self.depthwise, self.activation = depthwise, activation
        self.use_running_average = True
        shape = (height, width, 1 if depthwise else inputs, outputs)
        init = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
        self.kernel = nnx.Param(init(rngs.params(), shape))
        self.scale = nnx.Param(jnp.ones(outputs))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.mean = nnx.BatchStat(jnp.zeros(outputs))
        self.var = nnx.BatchStat(jnp.ones(outputs))

    def __call__(
        self, x: jax.Array, between: Callable[[jax.Array], jax.Array] | None = None
    ) -> jax.Array:
        """Map [B,H,W,I] to [B,H',W',O]; "SAME" puts the odd pixel at the end, as TensorFlow does.

        Args:
            x: the input.
            between: a linear map of pixels to run after the convolution. Before a 1×1 convolution
                an average pool gives the same, but has more channels to go over.
        """
        convolve = depthwise if self.depthwise else convolution
        y = convolve(x, self.kernel[...], self.stride, self.padding)
        y = between(y) if between else y
        mean, var = self._statistics(y)
        gain = self.scale[...] * lax.rsqrt(var + self.epsilon)
        y = y * gain + (self.bias[...] - mean * gain)
        return self.activation(y) if self.activation else y

    def _statistics(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and variance [O] to normalise y by."""
        if self.use_running_average:
            return self.mean[...], self.var[...]
        mean, var = y.mean((0, 1, 2)), y.var((0, 1, 2))
        for kept, new in ((self.mean, mean), (self.var, var)):
            step = (1 - self.momentum) * (lax.stop_gradient(new) - kept[...])
            kept[...] = kept[...] + step
        return mean, var


def convolution(
    x: jax.Array, kernel: jax.Array, stride: int = 1, padding: str = "SAME"
) -> jax.Array:
    """Convolve [B,H,W,I] with [h,w,I,O]; `padding` is "SAME" (TensorFlow's) or "VALID"."""
    if kernel.shape[:2] == (1, 1) and stride == 1:
        return x @ kernel[0, 0]
    return _library(x, kernel, stride, padding)


def depthwise(x: jax.Array, kernel: jax.Array, stride: int = 1, padding: str = "SAME") -> jax.Array:
    """Convolve every channel of [B,H,W,C] with its own [h,w] filter of [h,w,1,C]."""
    return _depthwise(x, kernel, stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
    return lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, kernel: _shifted(x, kernel, stride, padding),
        default=lambda x, kernel: _library(x, kernel, stride, padding),
    )


def _depthwise_forward(
    x: jax.Array, kernel: jax.Array, stride: int, padding: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _depthwise(x, kernel, stride, padding), (x, kernel)


def _depthwise_backward(
    stride: int, padding: str, kept: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The library's gradients; on a CPU, sums of shifted products as the convolution is.

    Left to itself, the gradient of `_shifted` adds up one padded picture a tap.
    """

    def library(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(lambda x, kernel: _library(x, kernel, stride, padding), x, kernel)[1](dy)

    def shifted(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        height, width, _, channels = kernel.shape
        pads = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], (stride, stride), padding)
        # dy with zeros between, and around so that every pixel of x has all its taps
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

    return lax.platform_dependent(*kept, dy, cpu=shifted, default=library)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _library(x: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def _shifted(x: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
    """Sum of shifted pictures, each times one tap of every channel; XLA makes one loop of it."""
    taps = kernel.reshape(-1, kernel.shape[-1])  # [h·w,C]
    seen = views(x, kernel.shape, stride, padding)
    return sum(view * tap for view, tap in zip(seen, taps, strict=True))


def views(
    x: jax.Array, shape: tuple[int, ...], stride: int, padding: str, border: float = 0.0
) -> list[jax.Array]:
    """Return what each tap of an [h,w] window sees, row by row: h·w arrays [B,H',W',C]."""
    pads = lax.padtype_to_pads(x.shape[1:3], shape[:2], (stride, stride), padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=border)
    batch, height, width, channels = x.shape
    bottom, right = height - shape[0] + 1, width - shape[1] + 1  # valid corners
    return [
        lax.slice(x, (0, i, j, 0), (batch, i + bottom, j + right, channels), (1, stride, stride, 1))
        for i in range(shape[0])
        for j in range(shape[1])
    ]
