"""Layers common to several networks."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

SQRT2 = math.sqrt(2.0)

EPSILON = 1e-8
"""Added under the root by normalisation, as published."""


class EqualLinear(nnx.Module):
    """Linear layer with equalised learning rate: x @ weight · gain · lr_mul/√in + bias · lr_mul.

    Weights are stored as published: divided by `lr_mul` and not scaled by 1/√in.

    Source: rosinality/stylegan2-pytorch `model.py`, `EqualLinear`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        lr_mul: float = 1.0,
        bias: float = 0.0,
        gain: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.scale = gain * lr_mul / math.sqrt(inputs)
        self.lr_mul = lr_mul
        key = rngs.params()
        self.weight = nnx.Param(jax.random.normal(key, (inputs, outputs)) / lr_mul)  # [in, out]
        self.bias = nnx.Param(jnp.full((outputs,), bias / lr_mul, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [..., in] to [..., out]."""
        return dot(x, self.weight[...]) * self.scale + self.bias[...] * self.lr_mul


def dot(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Multiply x [..., in] by weight [in, out] with pairwise summation of up to 16 partial sums.

    XLA's CPU matrix product adds 512 terms sequentially, with twice the rounding error of
    PyTorch's, which the eight mapping layers and the synthesis then amplify.
    """
    parts = math.gcd(16, x.shape[-1])
    x = x.reshape(*x.shape[:-1], parts, -1)
    sums = jnp.einsum("...pi,pio->p...o", x, weight.reshape(parts, -1, weight.shape[-1]))
    while len(sums) > 1:
        sums = sums[0::2] + sums[1::2]
    return sums[0]


def leaky_relu(x: jax.Array, slope: float = 0.2, gain: float = SQRT2) -> jax.Array:
    """Return leaky ReLU times a gain; StyleGAN2's √2 preserves the variance."""
    return jnp.where(x >= 0, x * gain, x * (slope * gain))


def pixel_norm(x: jax.Array) -> jax.Array:
    """Divide by the root mean square over the channels, the last axis."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + EPSILON)
