"""HFGI's networks: what a code leaves out of a photograph, put back into the generator.

The difference between a photograph and its reconstruction (the distortion map) is aligned to the
picture that the generator draws of a code, edited or not; the consultation encoder turns the
aligned map into a scale and a shift of the generator's features. All shapes are NHWC.

Source: Wang et al. 2022, Tengfei-Wang/HFGI `models/encoders/psp_encoders.py` (`ResidualEncoder`,
`ResidualAligner`) and `models/stylegan2/model.py`.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.models import irse
from emojax.models.stylegan2 import After
from emojax.nn.equal_conv import EqualConv
from emojax.nn.layers import leaky_relu
from emojax.nn.pooling import resample
from emojax.nn.resize import weights


@dataclasses.dataclass(frozen=True)
class HFGIConfig:
    """Dimensions; the defaults are those of the published `ckpt.pt`.

    Attributes:
        channels: the generator's at a quarter of the resolution, where the map is fused.
        resolution: side of the pictures and of the distortion map, a power of two of 32 or more.
        aligner: channels of the aligner's stages, from full size down to an eighth.
        consultation: channels of the consultation encoder's, from full size down to a quarter.
        dtype: dtype of the convolutions.
    """

    channels: int = 512
    resolution: int = 256
    aligner: tuple[int, int, int, int] = (16, 32, 48, 64)
    consultation: tuple[int, int, int] = (32, 48, 64)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.resolution < 32 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution is {self.resolution}, wanted a power of two, 32 or more")

    @property
    def fused(self) -> int:
        """Number of the styled convolution after which the map is fused: 7, the first of 64²."""
        return 2 * (self.resolution // 4).bit_length() - 7


class Stem(nnx.Module):
    """3×3 convolution, BatchNorm and PReLU."""

    def __init__(self, inputs: int, outputs: int, *, dtype: str, rngs: nnx.Rngs) -> None:
        self.conv = irse.Conv(inputs, outputs, bias=False, dtype=dtype, rngs=rngs)
        self.norm = irse.batch_norm(outputs, dtype=dtype, rngs=rngs)
        self.prelu = irse.PReLU(outputs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H,W,O]."""
        return self.prelu(self.norm(self.conv(x)))


class Aligner(nnx.Module):
    """Aligns a distortion map to a picture: three stages down, three up with their skips."""

    def __init__(self, widths: tuple[int, ...], *, dtype: str, rngs: nnx.Rngs) -> None:
        full, half, quarter, eighth = widths
        common = {"dtype": dtype, "rngs": rngs}
        self.stem = Stem(6, full, **common)
        self.down2 = _stage(full, half, half, stride=2, **common)
        self.down3 = _stage(half, quarter, quarter, stride=2, **common)
        self.down4 = _stage(quarter, eighth, eighth, stride=2, **common)
        self.up1 = _stage(eighth + quarter, eighth, half, **common)
        self.up2 = _stage(half + half, half, full, **common)
        self.up3 = _stage(full + full, full, 3, **common)

    def __call__(self, distortion: jax.Array, pictures: jax.Array) -> jax.Array:
        """Map distortion and pictures [B,R,R,3] to the aligned map [B,R,R,3], not limited."""
        *_, (_, aligned) = self.trace(distortion, pictures)
        return aligned

    def trace(self, distortion: jax.Array, pictures: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yield (name, array) of every stage, under the names of the original."""
        full = self.stem(jnp.concatenate([distortion, pictures], -1))
        yield "conv_layer1", full
        half = _run(self.down2, full)
        yield "conv_layer2", half
        quarter = _run(self.down3, half)
        yield "conv_layer3", quarter
        x = _run(self.down4, quarter)
        yield "conv_layer4", x
        rising = ((self.up1, quarter), (self.up2, half), (self.up3, full))
        for number, (stage, skip) in enumerate(rising, 1):
            x = _run(stage, jnp.concatenate([_doubled(x), skip], -1))
            yield f"dconv_layer{number}", x


class Condition(nnx.Module):
    """Two equalised convolutions, leaky ReLU times √2 between them."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = EqualConv(inputs, outputs, rngs=rngs)
        self.conv2 = EqualConv(outputs, outputs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H,W,O]."""
        return self.conv2(leaky_relu(self.conv1(x)))


class Consultation(nnx.Module):
    """Consultation encoder: an aligned map to a scale and a shift of the generator's features."""

    def __init__(
        self, widths: tuple[int, ...], channels: int, *, dtype: str, rngs: nnx.Rngs
    ) -> None:
        full, half, quarter = widths
        common = {"dtype": dtype, "rngs": rngs}
        self.stem = Stem(3, full, **common)
        self.down2 = _stage(full, half, half, stride=2, **common)
        self.down3 = _stage(half, quarter, quarter, stride=2, **common)
        self.scale = Condition(quarter, channels, rngs=rngs)
        self.shift = Condition(quarter, channels, rngs=rngs)

    def __call__(self, aligned: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map [B,R,R,3] to scale and shift [B,R/4,R/4,C]."""
        x = _run(self.down3, _run(self.down2, self.stem(aligned)))
        return self.scale(x), self.shift(x)


class HFGI(nnx.Module):
    """Aligner and consultation encoder."""

    def __init__(self, config: HFGIConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        common = {"dtype": config.dtype, "rngs": rngs}
        self.aligner = Aligner(config.aligner, **common)
        self.consultation = Consultation(config.consultation, config.channels, **common)

    def __call__(self, distortion: jax.Array, pictures: jax.Array) -> After:
        """Return what the generator's features become, as `Synthesis` takes it.

        Args:
            distortion: [B,R,R,3], a photograph less its reconstruction.
            pictures: [B,R,R,3] in [-1, 1], what the generator draws of the codes by itself.
        """
        scale, shift = self.consultation(self.aligner(distortion, pictures))

        def fuse(x: jax.Array) -> jax.Array:
            return x * (1 + scale) + shift

        return {self.config.fused: fuse}


def _stage(
    inputs: int, between: int, outputs: int, *, stride: int = 1, dtype: str, rngs: nnx.Rngs
) -> nnx.List[irse.ResidualUnit]:
    """Return three units: the first has the stride, the second the last width."""
    widths = (inputs, between, outputs, outputs)
    return nnx.List(
        irse.ResidualUnit(*pair, step, gated=False, dtype=dtype, rngs=rngs)
        for pair, step in zip(itertools.pairwise(widths), (stride, 1, 1), strict=True)
    )


def _run(stage: nnx.List[irse.ResidualUnit], x: jax.Array) -> jax.Array:
    for unit in stage:
        x = unit(x)
    return x


def _doubled(x: jax.Array) -> jax.Array:
    """Double height and width bilinearly, corners not aligned."""
    return resample(x, weights(x.shape[1], 2 * x.shape[1], "bilinear"))
