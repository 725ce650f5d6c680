"""Convolution with BatchNorm and activation, the layer of the classifiers; NHWC and HWIO."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from emojax.nn.conv import depthwise, library


class ConvNorm(nnx.Module):
    """Convolution without bias, BatchNorm and activation.

    Weights are stored as published. At inference BatchNorm is one multiplication and one addition
    after the convolution, which XLA fuses with the activation. As with `nnx.BatchNorm`,
    `model.train()` switches to the statistics of the batch and updates the running ones, and
    `model.eval()` back.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        size: kernel size, square or (height, width).
        stride: step along both axes.
        padding: "SAME" or "VALID".
        depthwise: convolve each channel by itself.
        activation: applied last; None for none.
        epsilon: added to the variance.
        rngs: for the initial weights.
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
        """Map [B,H,W,I] to [B,H',W',O]; "SAME" puts odd padding at the end, as TensorFlow does.

        Args:
            x: input.
            between: linear map of each channel to apply between convolution and BatchNorm. Average
                pooling before a 1×1 convolution gives the same result there, on fewer channels.
        """
        convolve = depthwise if self.depthwise else convolution
        y = convolve(x, self.kernel[...], self.stride, self.padding)
        y = between(y) if between else y
        mean, var = self._statistics(y)
        gain = self.scale[...] * lax.rsqrt(var + self.epsilon)
        y = y * gain + (self.bias[...] - mean * gain)
        return self.activation(y) if self.activation else y

    def _statistics(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the mean and variance [O] to normalise with; in training update the stored."""
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
    return library(x, kernel, stride, padding)
