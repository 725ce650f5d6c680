"""ProgressiveGAN's generator: from z to pictures by pixel normalisation and plain convolutions.

Sources: genforce/genforce `models/pggan_generator.py` (the weights of NVIDIA's CelebA-HQ 1024) and
facebookresearch/pytorch_GAN_zoo `models/networks/progressive_conv_net.py`. The first normalises
the input of every layer, the second the output: the same function. The second multiplies biases
by the constant of the equalised learning rate too, and gives ToRGB the gain √2.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.models import generator
from emojax.models.generator import Noise
from emojax.nn import window as windows
from emojax.nn.equal_conv import EqualConv
from emojax.nn.layers import SQRT2, dot, leaky_relu, pixel_norm

Variant = Literal["nvidia", "gan_zoo"]


@dataclasses.dataclass(frozen=True)
class ProgressiveGANConfig(generator.UnmappedConfig):
    """Dimensions of a generator, and which published function it computes.

    Attributes:
        channels: feature maps at 4², 8², ... up to the size of the picture.
        variant: "nvidia", or "gan_zoo" for pytorch_GAN_zoo's scalings.
        z_dim: length of z.
    """

    channels: tuple[int, ...]
    variant: Variant = "nvidia"
    z_dim: int = 512

    def __post_init__(self) -> None:
        if len(self.channels) < 2:
            raise ValueError(f"channels has {len(self.channels)} resolutions, wanted 2 or more")

    @property
    def size(self) -> int:
        """Height and width of the picture in pixels."""
        return 4 * 2 ** (len(self.channels) - 1)

    @property
    def equalises_bias(self) -> bool:
        """Whether biases are multiplied by the constant of the equalised learning rate."""
        return self.variant == "gan_zoo"


class First(nnx.Module):
    """Linear layer from z to the features of 4²."""

    def __init__(self, config: ProgressiveGANConfig, *, rngs: nnx.Rngs) -> None:
        self.config, outputs = config, config.channels[0]
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (config.z_dim, 4, 4, outputs)))
        each_pixel = (4, 4) if config.equalises_bias else ()
        self.bias = nnx.Param(jnp.zeros((*each_pixel, outputs)))

    def __call__(self, z: jax.Array) -> jax.Array:
        """Map [B, z_dim] to [B, 4, 4, C]."""
        config, weight = self.config, self.weight[...]
        taps = 1 if config.equalises_bias else 16  # NVIDIA's is a 4x4 convolution of one pixel
        scale = np.float32(SQRT2 / np.sqrt(taps * config.z_dim))
        x = dot(z, weight.reshape(len(weight), -1)) * scale
        bias = self.bias[...] * (scale if config.equalises_bias else np.float32(1))
        return x.reshape(len(z), *weight.shape[1:]) + bias


class Synthesis(nnx.Module):
    """Two convolutions at each of the doubling resolutions, then ToRGB.

    The ToRGB of half the size is kept too, which the last one is blended with while a network
    grows.
    """

    def __init__(self, config: ProgressiveGANConfig, *, rngs: nnx.Rngs) -> None:
        self.config, channels = config, config.channels
        self.first = First(config, rngs=rngs)
        pairs = [(channels[0], channels[0])]
        for before, after in itertools.pairwise(channels):
            pairs += [(before, after), (after, after)]
        common: Any = {"equalises_bias": config.equalises_bias, "rngs": rngs}
        self.convs = nnx.List(EqualConv(*pair, gain=SQRT2, **common) for pair in pairs)
        gain = SQRT2 if config.variant == "gan_zoo" else 1.0
        self.to_rgbs = nnx.List(
            EqualConv(width, 3, size=1, gain=gain, **common) for width in channels[-2:]
        )

    def __call__(
        self,
        w_plus: jax.Array,
        *,
        noise: Noise = "const",
        resolution: int | None = None,
        window: windows.Box | None = None,
        alpha: float | jax.Array | None = None,
    ) -> jax.Array:
        """Synthesise pictures.

        Args:
            w_plus: [B, 1, D], z of each picture.
            noise: "const" and "none" are the same; there is none.
            resolution: the full size; there is no other.
            window: top, bottom, left, right of the part to return.
            alpha: share of the picture of half the size, as while the network grew; None: none.

        Returns:
            [B, h, w, 3] float32, about [-1, 1] and not clipped.
        """
        generator.check(self.config, w_plus, noise, resolution)
        *_, (_, before), _, (_, x) = self.trace(w_plus)
        picture = self.to_rgbs[-1](pixel_norm(x))
        if alpha is not None:
            coarse = self.to_rgbs[0](pixel_norm(before))
            coarse = jnp.repeat(jnp.repeat(coarse, 2, axis=1), 2, axis=2)
            picture = alpha * coarse + (1 - alpha) * picture
        if window:
            picture = windows.cut(picture, window, (0, self.config.size, 0, self.config.size))
        return picture

    def trace(self, w_plus: jax.Array) -> Iterator[tuple[jax.Array, jax.Array]]:
        """Yield the output [B, H, W, C] of every layer, before and after its leaky ReLU."""
        x = self.first(pixel_norm(w_plus[:, 0]))
        yield x, leaky_relu(x, gain=1.0)
        for i, layer in enumerate(self.convs):
            x = layer(pixel_norm(leaky_relu(x, gain=1.0)), up=i % 2 == 1)
            yield x, leaky_relu(x, gain=1.0)


class ProgressiveGAN(generator.Unmapped):
    """The synthesis network; a code is z, normalised."""

    def __init__(self, config: ProgressiveGANConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.synthesis = Synthesis(config, rngs=rngs)

    def mapping(self, z: jax.Array) -> jax.Array:
        """Return z [B, z_dim] on the sphere of root mean square 1, where the codes are."""
        return pixel_norm(z)
