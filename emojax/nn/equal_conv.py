"""Convolution with equalised learning rate; NHWC and HWIO."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.nn import transposed_conv
from emojax.nn.conv import conv


class EqualConv(nnx.Module):
    """Convolution with the weight times gain/√(k²·in); the side of the output is the input's.

    Sources: rosinality/stylegan2-pytorch `model.py`, `EqualConv2d`; the convolutions of
    ProgressiveGAN.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        size: side k of the kernel.
        gain: of the weight.
        bias: whether there is one.
        equalises_bias: whether the bias is multiplied by the same number; else it is added as it is
            stored.
        rngs: for the initial weights.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        size: int = 3,
        gain: float = 1.0,
        bias: bool = True,
        equalises_bias: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        self.scale = gain / np.sqrt(size * size * inputs)
        self.bias_scale = self.scale if equalises_bias else 1.0
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (size, size, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros((outputs,))) if bias else None

    def __call__(self, x: jax.Array, *, up: bool = False) -> jax.Array:
        """Map [B,H,W,I] to [B,H,W,O], or after nearest upsampling to twice the side."""
        kernel = self.weight[...].astype(x.dtype)
        if up:
            y = transposed_conv.up_nearest(x, kernel)
        elif len(kernel) == 1:
            y = x @ kernel[0, 0]
        else:
            y = conv(x, kernel, padding=kernel.shape[0] // 2)
        # The output is scaled, not the kernel, of which a copy would be kept from the start.
        y = y.astype(jnp.float32) * np.float32(self.scale)
        if self.bias is not None:
            y = y + self.bias[...] * np.float32(self.bias_scale)
        return y.astype(x.dtype)
