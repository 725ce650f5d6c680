"""LPIPS: the learned perceptual distance of two pictures (Zhang et al. 2018), version 0.1.

Features of a classifier of ImageNet after five of its layers, each pixel's vector scaled to unit
length, are compared by a weighted squared difference; smaller is more alike. The classifier and
the weights are published in files of their own.

Sources: richzhang/PerceptualSimilarity `lpips/lpips.py` and `pretrained_networks.py`; torchvision
`models/alexnet.py` and `models/vgg.py`.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.models import irse
from emojax.nn.pooling import max_pool

SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
SCALE = np.array([0.458, 0.448, 0.450], np.float32)
"""ImageNet's mean and standard deviation for pictures in [-1, 1]."""
EPSILON = 1e-10
"""Added to the length of a pixel's vector."""

Architecture = Literal["alexnet", "vgg16"]


class Layer(NamedTuple):
    """A convolution with ReLU.

    Attributes:
        number: torchvision's, in `features`.
        channels: of the output.
        size: of the kernel.
        stride: step along both axes.
        padding: zeros on every side.
        pool: side of the max pooling of stride 2 before it; 0 for none.
        tap: whether the distance compares its output.
    """

    number: int
    channels: int
    size: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0
    tap: bool = False


LAYERS: dict[Architecture, tuple[Layer, ...]] = {
    "alexnet": (
        Layer(0, 64, size=11, stride=4, padding=2, tap=True),
        Layer(3, 192, size=5, padding=2, pool=3, tap=True),
        Layer(6, 384, pool=3, tap=True),
        Layer(8, 256, tap=True),
        Layer(10, 256, tap=True),
    ),
    "vgg16": (
        Layer(0, 64),
        Layer(2, 64, tap=True),
        Layer(5, 128, pool=2),
        Layer(7, 128, tap=True),
        Layer(10, 256, pool=2),
        Layer(12, 256),
        Layer(14, 256, tap=True),
        Layer(17, 512, pool=2),
        Layer(19, 512),
        Layer(21, 512, tap=True),
        Layer(24, 512, pool=2),
        Layer(26, 512),
        Layer(28, 512, tap=True),
    ),
}


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """Which classifier, of torchvision's.

    Attributes:
        architecture: "alexnet" or "vgg16".
    """

    architecture: Architecture = "alexnet"

    def __post_init__(self) -> None:
        if self.architecture not in LAYERS:
            raise ValueError(f"architecture {self.architecture!r} is none of {', '.join(LAYERS)}")

    @property
    def taps(self) -> tuple[int, ...]:
        """Channels of the outputs that are compared."""
        return tuple(layer.channels for layer in LAYERS[self.architecture] if layer.tap)


class Backbone(nnx.Module):
    """The convolutions of a classifier of ImageNet."""

    def __init__(self, config: BackboneConfig, *, rngs: nnx.Rngs) -> None:
        self.config, inputs = config, 3
        self.convs = nnx.List([])
        for layer in LAYERS[config.architecture]:
            size, stride, padding = layer.size, layer.stride, layer.padding
            self.convs.append(
                irse.Conv(
                    inputs, layer.channels, size=size, stride=stride, padding=padding, rngs=rngs
                )
            )
            inputs = layer.channels

    def __call__(self, pictures: jax.Array) -> list[jax.Array]:
        """Map pictures [B,H,W,3] in [-1, 1] to the five outputs [B,h,w,C] that are compared."""
        x, taps = (pictures - SHIFT) / SCALE, []
        for layer, conv in zip(LAYERS[self.config.architecture], self.convs, strict=True):
            x = jax.nn.relu(conv(max_pool(x, layer.pool) if layer.pool else x))
            if layer.tap:
                taps.append(x)
        return taps


@dataclasses.dataclass(frozen=True)
class LinearConfig:
    """Channels of the outputs that are weighted.

    Attributes:
        channels: one number for each output.
    """

    channels: tuple[int, ...] = BackboneConfig().taps


class Linear(nnx.Module):
    """The learned weights of the distance, one for each channel and none negative."""

    def __init__(self, config: LinearConfig, *, rngs: nnx.Rngs) -> None:
        del rngs  # all start as 1
        self.config = config
        self.weights = nnx.List(nnx.Param(jnp.ones((count,))) for count in config.channels)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lpips:
    """The distance: a backbone and its weights; a pytree.

    Attributes:
        backbone: gives the features.
        linear: weighs them.
    """

    backbone: Backbone
    linear: Linear

    def embed(self, pictures: jax.Array) -> list[jax.Array]:
        """Return arrays [B,h,w,C] whose summed squared difference is the distance.

        Args:
            pictures: [B,H,W,3] in [-1, 1]; sides of 31 (AlexNet) or 16 (VGG) pixels at least.
        """
        found = []
        for x, weight in zip(self.backbone(pictures), self.linear.weights, strict=True):
            share = jnp.sqrt(jnp.maximum(weight[...], 0) / (x.shape[1] * x.shape[2]))
            found.append(unit_vectors(x) * share)
        return found

    def layers(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return what each layer adds to the distance, [5,B]; see `embed`."""
        pairs = zip(self.embed(a), self.embed(b), strict=True)
        return jnp.stack([jnp.square(x - y).sum((1, 2, 3)) for x, y in pairs])

    def __call__(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return the distances [B] of pictures, see `embed`."""
        return self.layers(a, b).sum(0)

    def spatial(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return where pictures differ, [B,H,W]; the mean of it is not quite the distance.

        The differences of each layer are enlarged bilinearly to the size of the pictures.
        """
        total = jnp.zeros(a.shape[:3])
        for x, y in zip(self.embed(a), self.embed(b), strict=True):
            difference = jnp.square(x - y).sum(-1) * (x.shape[1] * x.shape[2])
            total += jax.image.resize(difference, a.shape[:3], "bilinear")
        return total


def unit_vectors(x: jax.Array) -> jax.Array:
    """Scale the vector of every pixel of [B,h,w,C] to unit length; zero stays zero."""
    squares = jnp.square(x).sum(-1, keepdims=True)
    some = squares > 0  # the root has no finite gradient at 0
    return x / (jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0) + EPSILON)
