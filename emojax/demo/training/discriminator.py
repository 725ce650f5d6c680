"""Discriminator of the generator's adversarial training: patches of pictures to scores.

A network trained by regression is right about faces and wrong about their fine detail, which is a
hundredth of a picture's variance. The pictures enter as wavelets of 2x2 pixels, with the fine ones
amplified: from pixels the discriminator learns nothing in hundreds of steps. Every score is of a
patch of 48x48 pixels, so one picture is hundreds of samples (Isola et al., "Image-to-Image
Translation with Conditional Adversarial Networks").
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.nn.equal_conv import EqualConv
from emojax.nn.layers import leaky_relu

_LEVELS = 3
"""Sizes of features: 1/2, 1/4 and 1/8 of the picture's side."""
_FINE, _FINEST = 10.0, 20.0
"""Gain of differences along an axis and across the diagonal, of which drawings have 0.05 and 0.02
(standard deviation) beside 0.4 of the mean."""


class Block(nnx.Module):
    """Two convolutions and a skip connection; height and width are halved by averaging.

    Source: rosinality/stylegan2-pytorch `model.py`, `ResBlock`, without its filter.
    """

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = EqualConv(inputs, inputs, rngs=rngs)
        self.conv2 = EqualConv(inputs, outputs, rngs=rngs)
        self.skip = EqualConv(inputs, outputs, size=1, bias=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H/2,W/2,O]."""
        y = leaky_relu(self.conv1(x))
        y = leaky_relu(self.conv2(halved(y)))
        return (y + self.skip(halved(x))) * np.float32(math.sqrt(0.5))


class Discriminator(nnx.Module):
    """Pictures to scores of their patches: high for drawings, low for the generator's pictures."""

    def __init__(self, channels: Sequence[int], *, rngs: nnx.Rngs) -> None:
        """Build it.

        Args:
            channels: the generator's, from 4x4 on; those of its last resolutions are used.
            rngs: for the weights.
        """
        widths = list(reversed(channels))[:_LEVELS]
        self.first = EqualConv(12, widths[0], rngs=rngs)
        self.blocks = nnx.List(Block(a, b, rngs=rngs) for a, b in itertools.pairwise(widths))
        self.last = EqualConv(widths[-1], 1, size=1, bias=False, rngs=rngs)

    def __call__(self, pictures: jax.Array) -> jax.Array:
        """Map pictures [B,R,R,3] in [-1, 1] to scores [B,R/8,R/8]."""
        x = leaky_relu(self.first(wavelets(pictures)))
        for block in self.blocks:
            x = block(x)
        return self.last(x)[..., 0]


def wavelets(x: jax.Array) -> jax.Array:
    """Return the Haar wavelets of 2x2 pixels of [B,H,W,C], amplified: [B,H/2,W/2,4·C]."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    a, b, c, d = (x[:, :, i, :, j] for i in range(2) for j in range(2))
    parts = [a + b + c + d, _FINE * (a - b + c - d), _FINE * (a + b - c - d)]
    return 0.25 * jnp.concatenate([*parts, _FINEST * (a - b - c + d)], -1)


def halved(x: jax.Array) -> jax.Array:
    """Average 2x2 pixels of [B,H,W,C]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))
