"""Convolution with equalised learning rate; NHWC and HWIO."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.nn.conv import conv


class EqualConv(nnx.Module):
    """Convolution with the weight times 1/√(k²·in), and a bias that is added as it is stored.

    The side of the output is the input's. Source: rosinality/stylegan2-pytorch `model.py`,
    `EqualConv2d`.
    """

    def __init__(self, inputs: int, outputs: int, *, size: int = 3, rngs: nnx.Rngs) -> None:
        self.scale = 1 / math.sqrt(size * size * inputs)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (size, size, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros((outputs,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H,W,O], in the input's dtype."""
        kernel = (self.weight[...] * self.scale).astype(x.dtype)
        return conv(x, kernel, padding=kernel.shape[0] // 2) + self.bias[...].astype(x.dtype)
