"""Discriminator of the generator's adversarial training: StyleGAN2's residual blocks, small."""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.nn.conv import SAME3, library
from emojax.nn.layers import EqualLinear, leaky_relu


class EqualConv(nnx.Module):
    """Convolution with equalised learning rate, without bias."""

    def __init__(self, inputs: int, outputs: int, size: int, *, rngs: nnx.Rngs) -> None:
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (size, size, inputs, outputs)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H,W,O]."""
        kernel = self.weight[...]
        scale = np.float32(1 / math.sqrt(math.prod(kernel.shape[:3])))
        pads = SAME3 if len(kernel) == 3 else ((0, 0), (0, 0))
        return library(x, kernel * scale, 1, pads)


class Block(nnx.Module):
    """Two convolutions and a skip connection; height and width are halved by averaging."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = EqualConv(inputs, inputs, 3, rngs=rngs)
        self.conv2 = EqualConv(inputs, outputs, 3, rngs=rngs)
        self.skip = EqualConv(inputs, outputs, 1, rngs=rngs)
        self.bias1 = nnx.Param(jnp.zeros((inputs,)))
        self.bias2 = nnx.Param(jnp.zeros((outputs,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H/2,W/2,O]."""
        y = leaky_relu(self.conv1(x) + self.bias1[...])
        y = leaky_relu(self.conv2(halved(y)) + self.bias2[...])
        return (y + self.skip(halved(x))) * np.float32(math.sqrt(0.5))


class Discriminator(nnx.Module):
    """Pictures to one score each: high for drawings, low for the generator's pictures."""

    def __init__(self, channels: Sequence[int], *, rngs: nnx.Rngs) -> None:
        """Build it.

        Args:
            channels: the generator's, from 4x4 on.
            rngs: for the weights.
        """
        widths = list(reversed(channels))
        self.first = EqualConv(3, widths[0], 1, rngs=rngs)
        self.blocks = nnx.List(Block(a, b, rngs=rngs) for a, b in itertools.pairwise(widths))
        self.hidden = EqualLinear(16 * widths[-1], widths[-1], rngs=rngs)
        self.last = EqualLinear(widths[-1], 1, rngs=rngs)

    def __call__(self, pictures: jax.Array) -> jax.Array:
        """Map pictures [B,R,R,3] in [-1, 1] to scores [B]."""
        x = leaky_relu(self.first(pictures))
        for block in self.blocks:
            x = block(x)
        x = leaky_relu(self.hidden(x.reshape(len(x), -1)))
        return self.last(x)[:, 0]


def halved(x: jax.Array) -> jax.Array:
    """Average 2x2 pixels of [B,H,W,C]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))
