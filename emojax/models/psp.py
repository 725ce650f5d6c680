"""Encoders of face pictures into the W+ space of StyleGAN2: pSp, its W and W+ variants, and e4e.

HyperStyle's W encoder is the "w" architecture. All shapes are NHWC.

Sources: Richardson et al. 2021 (pSp), eladrich/pixel2style2pixel `models/encoders/psp_encoders.py`;
Tov et al. 2021 (e4e), omertov/encoder4editing `models/encoders/psp_encoders.py`.
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.models import irse
from emojax.nn.layers import EqualLinear, leaky_relu
from emojax.nn.pooling import pooling_matrix, resample

COARSE, MIDDLE = 3, 7
"""Styles below COARSE use the 16² feature map, those below MIDDLE the 32², the rest the 64²."""
HEAD_SLOPE = 0.01
"""PyTorch's default slope of `nn.LeakyReLU()`; StyleGAN2's is 0.2."""
POOLED = 7
"""Side of the feature map that the W+ variant flattens."""

Architecture = Literal["gradual", "e4e", "w", "w_plus"]


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """Dimensions of an encoder; the defaults are those of `psp_ffhq_encode.pt`.

    Attributes:
        architecture: "gradual" (GradualStyleEncoder), "e4e" (Encoder4Editing), "w"
            (BackboneEncoderUsingLastLayerIntoW) or "w_plus" (...IntoWPlus).
        n_styles: number of style vectors L of a face, the generator's `n_latent`.
        style_dim: length D of a style vector.
        average_rows: rows of `latent_avg`, which is added to the output: `n_styles`, 1 for an
            encoder trained in W, 0 for one trained without the average.
        resolution: side of the input picture in pixels, a power of two times 16.
        stem: see `irse.TrunkConfig`.
        widths: see `irse.TrunkConfig`.
        units: see `irse.TrunkConfig`.
        dtype: dtype of the convolutions; linear layers and codes are always float32.
    """

    architecture: Architecture = "gradual"
    n_styles: int = 18
    style_dim: int = 512
    average_rows: int = 18
    resolution: int = 256
    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.architecture not in HEADS:
            raise ValueError(f"architecture {self.architecture!r} is none of {', '.join(HEADS)}")
        if self.average_rows not in (0, 1, self.n_styles):
            raise ValueError(f"average_rows {self.average_rows} is none of 0, 1, {self.n_styles}")


class StyleHead(nnx.Module):
    """Stride-2 convolutions down to one pixel, then a linear layer (map2style).

    Source: `GradualStyleBlock`.
    """

    def __init__(
        self, inputs: int, outputs: int, side: int, *, dtype: str = "float32", rngs: nnx.Rngs
    ) -> None:
        self.convs = nnx.List([])
        for _ in range(int(math.log2(side))):
            self.convs.append(irse.Conv(inputs, outputs, stride=2, dtype=dtype, rngs=rngs))
            inputs = outputs
        self.linear = EqualLinear(outputs, outputs, rngs=rngs)

    def __call__(self, features: jax.Array) -> jax.Array:
        """Map [B,s,s,C] to [B,D]."""
        return self.linear(self.pooled(features))

    def pooled(self, features: jax.Array) -> jax.Array:
        """Return the input [B,D] of the linear layer."""
        x = features
        for conv in self.convs:
            x = leaky_relu(conv(x), HEAD_SLOPE, 1.0)
        return x[:, 0, 0].astype(jnp.float32)


class GradualHead(nnx.Module):
    """Feature pyramid over the last three stages, and a `StyleHead` for each style vector."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs) -> None:
        _, fine, middle, coarse = config.widths
        common = {"dtype": config.dtype, "rngs": rngs}
        self.lateral1 = irse.Conv(middle, coarse, size=1, **common)
        self.lateral2 = irse.Conv(fine, coarse, size=1, **common)
        sides = [config.resolution // 16 << level(i) for i in range(config.n_styles)]
        self.heads = nnx.List(StyleHead(coarse, config.style_dim, side, **common) for side in sides)

    def __call__(self, stages: list[jax.Array]) -> jax.Array:
        """Map the trunk's stages to [B,L,D]."""
        maps = self.pyramid(stages)
        return jnp.stack([head(maps[level(i)]) for i, head in enumerate(self.heads)], 1)

    def pyramid(self, stages: list[jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the feature maps of levels 0, 1 and 2, of 1/16, 1/8 and 1/4 of the side."""
        _, fine, middle, coarse = stages
        p2 = upsample(coarse) + self.lateral1(middle)
        return coarse, p2, upsample(p2) + self.lateral2(fine)


class E4eHead(GradualHead):
    """Gradual head whose first output is a base code and whose others are offsets from it.

    Source: `Encoder4Editing.forward`, at its inference stage.
    """

    def __call__(self, stages: list[jax.Array]) -> jax.Array:
        """Map the trunk's stages to [B,L,D]."""
        codes = super().__call__(stages)
        return jnp.concatenate([codes[:, :1], codes[:, :1] + codes[:, 1:]], 1)


class WHead(nnx.Module):
    """Global average pooling and a linear layer to a single w, repeated for every layer."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs) -> None:
        self.n_styles = config.n_styles
        self.linear = EqualLinear(config.widths[-1], config.style_dim, rngs=rngs)

    def __call__(self, stages: list[jax.Array]) -> jax.Array:
        """Map the trunk's stages to [B,L,D]."""
        code = self.linear(stages[-1].astype(jnp.float32).mean((1, 2)))
        return jnp.broadcast_to(code[:, None], (code.shape[0], self.n_styles, code.shape[1]))


class WPlusHead(nnx.Module):
    """BatchNorm, 7×7 average pooling and two linear layers to all style vectors at once."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs) -> None:
        self.n_styles = config.n_styles
        width, dim = config.widths[-1], config.style_dim
        self.norm = irse.batch_norm(width, rngs=rngs)
        self.linear1 = nnx.Linear(POOLED * POOLED * width, dim, rngs=rngs)
        self.linear2 = EqualLinear(dim, dim * config.n_styles, rngs=rngs)

    def __call__(self, stages: list[jax.Array]) -> jax.Array:
        """Map the trunk's stages to [B,L,D]."""
        x = self.norm(stages[-1].astype(jnp.float32))
        x = resample(x, pooling_matrix(x.shape[1], POOLED))
        codes = self.linear2(self.linear1(x.reshape(x.shape[0], -1)))  # flattened as H, W, C
        return codes.reshape(x.shape[0], self.n_styles, -1)


HEADS = {"gradual": GradualHead, "e4e": E4eHead, "w": WHead, "w_plus": WPlusHead}


class Encoder(nnx.Module):
    """Trunk, head and the average latent code, to which the output of the head is relative."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        trunk = irse.TrunkConfig(config.stem, config.widths, config.units)
        self.trunk = irse.Trunk(trunk, dtype=config.dtype, rngs=rngs)
        self.head = HEADS[config.architecture](config, rngs=rngs)
        self.latent_avg = (
            nnx.Param(jnp.zeros((config.average_rows, config.style_dim)))
            if config.average_rows
            else None
        )

    def __call__(self, pictures: jax.Array) -> jax.Array:
        """Encode pictures.

        Args:
            pictures: [B,R,R,3] aligned faces in [-1, 1], R = `config.resolution`.

        Returns:
            [B,L,D] codes in W+, including the average.
        """
        codes = self.head(self.trunk(pictures.astype(self.config.dtype)))
        return codes if self.latent_avg is None else codes + self.latent_avg[...]


def level(style: int) -> int:
    """Return the pyramid level of a style: 0 is 1/16 of the picture's side, 1 is 1/8, 2 is 1/4."""
    return 0 if style < COARSE else 1 if style < MIDDLE else 2


def upsample(x: jax.Array) -> jax.Array:
    """Double height and width bilinearly with aligned corners, as `_upsample_add` does."""
    return resample(x, bilinear_matrix(x.shape[1], 2 * x.shape[1]))


def bilinear_matrix(size: int, target: int) -> np.ndarray:
    """Return the matrix [target, size] of linear interpolation with aligned corners."""
    position = np.arange(target) * (size - 1) / (target - 1)
    return np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(size)))
