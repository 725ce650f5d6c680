"""Inception-v3 as used by FID and KID: maps pictures to 2048 pooled features.

Source: mseitzer/pytorch-fid `inception.py` and the TorchScript archive of clean-fid; both hold the
network that TensorFlow published in 2015. It differs from torchvision's: BatchNorm epsilon 1e-3,
average pooling does not count the padding, and the last block uses max pooling.
"""

import dataclasses
import functools
import operator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.nn.conv import views
from emojax.nn.conv_norm import ConvNorm
from emojax.nn.pooling import max_pool

FEATURES = 2048


@dataclasses.dataclass(frozen=True)
class InceptionConfig:
    """Normalisation of the input.

    Attributes:
        normalisation: "cleanfid" for (x − 128) / 128, "pytorch-fid" for 2x / 255 − 1, with x in
            0..255. The features differ by 0.6 %, so statistics of different normalisations cannot
            be compared.
    """

    normalisation: Literal["cleanfid", "pytorch-fid"] = "cleanfid"

    def __post_init__(self) -> None:
        if self.normalisation not in ("cleanfid", "pytorch-fid"):
            raise ValueError(
                f"normalisation is {self.normalisation!r}, wanted 'cleanfid' or 'pytorch-fid'"
            )


Layer = tuple[int, int | tuple[int, int]]
"""(channels, kernel size) of a padded convolution of stride 1."""


class Chain(nnx.Module):
    """Convolutions of one branch, in sequence."""

    def __init__(self, inputs: int, *layers: Layer, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([])
        for outputs, size in layers:
            self.layers.append(conv(inputs, outputs, size, rngs=rngs))
            inputs = outputs

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H,W,O]."""
        for layer in self.layers:
            x = layer(x)
        return x


class Branches(nnx.Module):
    """Mixed_5b to 5d and 6b to 6e: parallel chains and a pooling branch, concatenated."""

    def __init__(
        self, inputs: int, chains: list[list[Layer]], pooled: int, *, rngs: nnx.Rngs
    ) -> None:
        self.branches = nnx.List([Chain(inputs, *layers, rngs=rngs) for layers in chains])
        self.pool = conv(inputs, pooled, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H,W,O]."""
        outputs = [branch(x) for branch in self.branches]
        return jnp.concatenate([*outputs, self.pool(x, between=average_pool)], -1)


class Reduction(nnx.Module):
    """Mixed_6a and 7a: chains that end with stride 2 without padding, and max pooling.

    Args:
        inputs: channels of the input.
        chains: of each branch, its layers of stride 1 and the channels of its last convolution.
        rngs: for the initial weights.
    """

    def __init__(
        self, inputs: int, chains: list[tuple[list[Layer], int]], *, rngs: nnx.Rngs
    ) -> None:
        self.branches, self.ends = nnx.List([]), nnx.List([])
        for layers, last in chains:
            self.branches.append(Chain(inputs, *layers, rngs=rngs))
            wide = layers[-1][0] if layers else inputs
            self.ends.append(conv(wide, last, 3, stride=2, padding="VALID", rngs=rngs))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,(H-1)/2,(W-1)/2,O]."""
        pairs = zip(self.branches, self.ends, strict=True)
        return jnp.concatenate([*(end(branch(x)) for branch, end in pairs), max_pool(x, 3)], -1)


class Expanded(nnx.Module):
    """Mixed_7b and 7c: two of the branches end in parallel 1×3 and 3×1 convolutions."""

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
        """Map [B,H,W,I] to [B,H,W,2048]."""
        outputs = [self.single(x)]
        for trunk, row, column in zip(self.trunks, self.rows, self.columns, strict=True):
            y = trunk(x)
            outputs += [row(y), column(y)]
        if self.pooling == "average":
            return jnp.concatenate([*outputs, self.pool(x, between=average_pool)], -1)
        return jnp.concatenate([*outputs, self.pool(max_pool(x, 3, 1, "SAME"))], -1)


class Inception(nnx.Module):
    """Inception-v3 up to its pool3 features."""

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
        narrow: list[list[Layer]] = [
            [(64, 1)],
            [(48, 1), (64, 5)],
            [(64, 1), (96, 3), (96, 3)],
        ]
        self.blocks5 = nnx.List(
            [
                Branches(wide, narrow, pool, rngs=rngs)
                for wide, pool in ((192, 32), (256, 64), (288, 64))
            ]
        )
        self.reduction6 = Reduction(288, [([], 384), ([(64, 1), (96, 3)], 96)], rngs=rngs)
        self.blocks6 = nnx.List(
            [Branches(768, seven_by_seven(c), 192, rngs=rngs) for c in (128, 160, 160, 192)]
        )
        row: Layer = (192, (1, 7))
        column: Layer = (192, (7, 1))
        chains7: list[tuple[list[Layer], int]] = [([(192, 1)], 320), ([(192, 1), row, column], 192)]
        self.reduction7 = Reduction(768, chains7, rngs=rngs)
        self.blocks7 = nnx.List(
            [Expanded(1280, "average", rngs=rngs), Expanded(2048, "max", rngs=rngs)]
        )

    def __call__(self, pictures: jax.Array) -> jax.Array:
        """Return features [B,2048].

        Args:
            pictures: [B,299,299,3] float, 0..255, resized by `emojax.nn.resize.clean_resize`.
        """
        x = self.stem[2](self.stem[1](self.stem[0](self.normalise(pictures))))
        x = max_pool(self.stem[4](self.stem[3](max_pool(x, 3))), 3)
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
    """Return a convolution with BatchNorm (epsilon 1e-3) and ReLU."""
    return ConvNorm(
        inputs, outputs, size, stride=stride, padding=padding, activation=jax.nn.relu, rngs=rngs
    )


def seven_by_seven(middle: int) -> list[list[Layer]]:
    """Return the chains of Mixed_6b to 6e; 7×7 filters are factored into 1×7 and 7×1."""
    row: Layer = (middle, (1, 7))
    column: Layer = (middle, (7, 1))
    return [
        [(192, 1)],
        [(middle, 1), row, (192, (7, 1))],
        [(middle, 1), column, row, column, (192, (1, 7))],
    ]


def average_pool(x: jax.Array) -> jax.Array:
    """Return the 3×3 average pooling of stride 1, without counting the padding."""
    rows, columns = (_neighbours(size) for size in x.shape[1:3])
    inverse = (1 / np.outer(rows, columns)[..., None]).astype(np.float32)
    return functools.reduce(operator.add, views(x, (3, 3), 1, "SAME")) * inverse


def _neighbours(size: int) -> np.ndarray:
    """Return how many positions of a 3-wide window are inside the axis, for each centre."""
    return np.convolve(np.ones(size), np.ones(3), "same")
