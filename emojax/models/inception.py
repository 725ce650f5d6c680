"""The Inception-v3 that FID and KID are measured with: pictures to 2048 features.

Source: mseitzer/pytorch-fid `inception.py` and the TorchScript archive of clean-fid: both hold the
network of 2015 that TensorFlow published. It differs from the textbook: BatchNorm epsilon 1e-3,
average pools leave the border out of the count, and the last block's pool takes the maximum.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.nn.conv_norm import ConvNorm, views

FEATURES = 2048


@dataclasses.dataclass(frozen=True)
class InceptionConfig:
    """How pictures of 0..255 become the network's input.

    Attributes:
        normalisation: "cleanfid" for (x − 128) / 128, "pytorch-fid" for 2x / 255 − 1; features
        differ
            by 0.6 %, so statistics of one do not compare with those of the other.
    """

    normalisation: Literal["cleanfid", "pytorch-fid"] = "cleanfid"

    def __post_init__(self) -> None:
        if self.normalisation not in ("cleanfid", "pytorch-fid"):
            raise ValueError(
                f"normalisation is {self.normalisation!r}, wanted 'cleanfid' or 'pytorch-fid'"
            )


class Chain(nnx.Module):
    """Layers of one branch, one after another; each is (channels, kernel) at stride 1, padded."""

    def __init__(
        self, inputs: int, *layers: tuple[int, int | tuple[int, int]], rngs: nnx.Rngs
    ) -> None:
        self.layers = nnx.List([])
        for outputs, size in layers:
            self.layers.append(conv(inputs, outputs, size, rngs=rngs))
            inputs = outputs

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return x


class Branches(nnx.Module):
    """Mixed_5b to 5d and 6b to 6e: parallel chains, and a pool branch, joined by channels."""

    def __init__(self, inputs: int, chains: list, pooled: int, *, rngs: nnx.Rngs) -> None:
        self.branches = nnx.List([Chain(inputs, *layers, rngs=rngs) for layers in chains])
        self.pool = conv(inputs, pooled, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        outputs = [branch(x) for branch in self.branches]
        return jnp.concatenate([*outputs, self.pool(x, between=average_pool)], -1)


class Reduction(nnx.Module):
    """Mixed_6a and 7a: chains that end at stride 2 without padding, and a max pool."""

    def __init__(self, inputs: int, chains: list, *, rngs: nnx.Rngs) -> None:
        self.branches, self.ends = nnx.List([]), nnx.List([])
        for *layers, last in chains:
            self.branches.append(Chain(inputs, *layers, rngs=rngs))
            wide = layers[-1][0] if layers else inputs
            self.ends.append(conv(wide, last, 3, stride=2, padding="VALID", rngs=rngs))

    def __call__(self, x: jax.Array) -> jax.Array:
        pairs = zip(self.branches, self.ends, strict=True)
        return jnp.concatenate([*(end(branch(x)) for branch, end in pairs), max_pool(x)], -1)


class Expanded(nnx.Module):
    """Mixed_7b and 7c: two branches end in a 1×3 and a 3×1 convolution side by side."""

    def __init__(self, inputs: int, pool: Literal["average", "max"], *, rngs: nnx.Rngs) -> None:
        self.pooling = pool
        self.single = conv(inputs, 320, rngs=rngs)
        self.trunks = nnx.List(
            [Chain(inputs, (384, 1), rngs=rngs), Chain(inputs, (448, 1), (384, 3), rngs=rngs)]
        )
        self.rows = nnx.List([conv(384, 384, (1, 3), rngs=rngs) for _ in range(2)])
        self.columns = nnx.List([conv(384, 384, (3, 1), rngs=rngs) for _ in range(2)])
        self.pool = conv(inputs, 192, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        outputs = [self.single(x)]
        for trunk, row, column in zip(self.trunks, self.rows, self.columns, strict=True):
            y = trunk(x)
            outputs += [row(y), column(y)]
        if self.pooling == "average":
            return jnp.concatenate([*outputs, self.pool(x, between=average_pool)], -1)
        return jnp.concatenate([*outputs, self.pool(max_pool(x, 1, "SAME"))], -1)


class Inception(nnx.Module):
    """pool3 features of pictures."""

    def __init__(self, config: InceptionConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.stem = nnx.List(
            [
                conv(3, 32, 3, stride=2, padding="VALID", rngs=rngs),
                conv(32, 32, 3, padding="VALID", rngs=rngs),
                conv(32, 64, 3, rngs=rngs),
                conv(64, 80, rngs=rngs),
                conv(80, 192, 3, padding="VALID", rngs=rngs),
            ]
        )
        narrow = [[(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]]
        self.blocks5 = nnx.List(
            [
                Branches(wide, narrow, pool, rngs=rngs)
                for wide, pool in ((192, 32), (256, 64), (288, 64))
            ]
        )
        self.reduction6 = Reduction(288, [[384], [(64, 1), (96, 3), 96]], rngs=rngs)
        self.blocks6 = nnx.List(
            [Branches(768, seven_by_seven(c), 192, rngs=rngs) for c in (128, 160, 160, 192)]
        )
        row, column = (192, (1, 7)), (192, (7, 1))
        chains7 = [[(192, 1), 320], [(192, 1), row, column, 192]]
        self.reduction7 = Reduction(768, chains7, rngs=rngs)
        self.blocks7 = nnx.List(
            [Expanded(1280, "average", rngs=rngs), Expanded(2048, "max", rngs=rngs)]
        )

    def __call__(self, pictures: jax.Array) -> jax.Array:
        """Return features [B,2048].

        Args:
            pictures: [B,299,299,3] float, 0..255 (not rounded: see `emojax.nn.resize`).
        """
        x = self.stem[2](self.stem[1](self.stem[0](self.normalise(pictures))))
        x = max_pool(self.stem[4](self.stem[3](max_pool(x))))
        for block in self.blocks5:
            x = block(x)
        x = self.reduction6(x)
        for block in self.blocks6:
            x = block(x)
        x = self.reduction7(x)
        for block in self.blocks7:
            x = block(x)
        return x.mean((1, 2))

    def normalise(self, pictures: jax.Array) -> jax.Array:
        """Map 0..255 to about [-1, 1]."""
        if self.config.normalisation == "cleanfid":
            return (pictures - 128) / 128
        return pictures * (2 / 255) - 1


def conv(
    inputs: int,
    outputs: int,
    size: int | tuple[int, int] = 1,
    *,
    stride: int = 1,
    padding: str = "SAME",
    rngs: nnx.Rngs,
) -> ConvNorm:
    """Return convolution, BatchNorm (epsilon 1e-3) and ReLU."""
    return ConvNorm(
        inputs, outputs, size, stride=stride, padding=padding, activation=jax.nn.relu, rngs=rngs
    )


def seven_by_seven(middle: int) -> list:
    """Return the chains of Mixed_6b to 6e; 7×7 filters are split into rows and columns."""
    row, column = (middle, (1, 7)), (middle, (7, 1))
    return [
        [(192, 1)],
        [(middle, 1), row, (192, (7, 1))],
        [(middle, 1), column, row, column, (192, (1, 7))],
    ]


def max_pool(x: jax.Array, stride: int = 2, padding: str = "VALID") -> jax.Array:
    """3×3 maximum, as one loop over shifted pictures: `lax.reduce_window` is slow on CPUs."""
    return functools.reduce(jnp.maximum, views(x, (3, 3), stride, padding, border=-jnp.inf))


def average_pool(x: jax.Array) -> jax.Array:
    """3×3 mean at stride 1 of the pixels that exist; the border counts less, as in TensorFlow."""
    rows, columns = (_neighbours(size) for size in x.shape[1:3])
    return sum(views(x, (3, 3), 1, "SAME")) * (1 / np.outer(rows, columns)[..., None]).astype(
        np.float32
    )


def _neighbours(size: int) -> np.ndarray:
    """How many of a 3-wide window's positions lie inside, for each of `size` centres."""
    return np.convolve(np.ones(size), np.ones(3), "same")
