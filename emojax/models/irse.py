"""IR-SE-50, the backbone of ArcFace and of the pSp, e4e and W encoders.

All shapes are NHWC.

Source: eladrich/pixel2style2pixel `models/encoders/helpers.py` and `psp_encoders.py` (after
TreB1eN's InsightFace_Pytorch).
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.nn.conv import conv

BATCH_NORM_EPSILON = 1e-5
REDUCTION = 16
"""Ratio of a squeeze-excite layer's channels to its hidden channels."""


@dataclasses.dataclass(frozen=True)
class TrunkConfig:
    """Dimensions of the trunk; the defaults are those of the published IR-SE-50.

    Attributes:
        stem: channels after the input layer.
        widths: channels of each stage; every stage halves height and width.
        units: number of residual units in each stage.
    """

    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)


class PReLU(nnx.Module):
    """max(x, 0) + weight · min(x, 0) with one weight for each channel."""

    def __init__(self, channels: int) -> None:
        self.weight = nnx.Param(jnp.full((channels,), 0.25, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [...,C] to [...,C]."""
        return jnp.where(x >= 0, x, x * self.weight[...].astype(x.dtype))


class SqueezeExcite(nnx.Module):
    """Squeeze-excite: scale channels by a gate of the channel means (`SEModule`; no biases)."""

    def __init__(self, channels: int, *, dtype: str = "float32", rngs: nnx.Rngs) -> None:
        hidden = channels // REDUCTION
        self.fc1 = nnx.Linear(channels, hidden, use_bias=False, dtype=dtype, rngs=rngs)
        self.fc2 = nnx.Linear(hidden, channels, use_bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,C] to [B,H,W,C]."""
        means = x.mean((1, 2), keepdims=True)  # [B,1,1,C]
        return x * jax.nn.sigmoid(self.fc2(jax.nn.relu(self.fc1(means))))


class Shortcut(nnx.Module):
    """Strided 1×1 convolution and BatchNorm, for units that change the number of channels."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, dtype: str = "float32", rngs: nnx.Rngs
    ) -> None:
        self.conv = Conv(inputs, outputs, size=1, stride=stride, bias=False, dtype=dtype, rngs=rngs)
        self.norm = batch_norm(outputs, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H/stride,W/stride,O]."""
        return self.norm(self.conv(x))


class ResidualUnit(nnx.Module):
    """Residual unit: BN, 3×3, PReLU, strided 3×3, BN and squeeze-excite, added to the shortcut.

    Source: `bottleneck_IR_SE`, and `bottleneck_IR` without squeeze-excite (`gated=False`). Their
    MaxPool2d(1, stride) shortcut amounts to subsampling.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        *,
        gated: bool = True,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        common = {"dtype": dtype, "rngs": rngs}
        self.stride = stride
        self.norm1 = batch_norm(inputs, **common)
        self.conv1 = Conv(inputs, outputs, bias=False, **common)
        self.prelu = PReLU(outputs)
        self.conv2 = Conv(outputs, outputs, stride=stride, bias=False, **common)
        self.norm2 = batch_norm(outputs, **common)
        self.gate = SqueezeExcite(outputs, **common) if gated else None
        self.shortcut = None if inputs == outputs else Shortcut(inputs, outputs, stride, **common)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H/stride,W/stride,O]."""
        skip = self.shortcut(x) if self.shortcut else x[:, :: self.stride, :: self.stride]
        x = self.conv2(self.prelu(self.conv1(self.norm1(x))))
        x = self.norm2(x)
        return (self.gate(x) if self.gate else x) + skip


class Trunk(nnx.Module):
    """Input layer and residual units."""

    def __init__(self, config: TrunkConfig, *, dtype: str = "float32", rngs: nnx.Rngs) -> None:
        self.config, self.dtype = config, dtype
        self.conv = Conv(3, config.stem, bias=False, dtype=dtype, rngs=rngs)
        self.norm = batch_norm(config.stem, dtype=dtype, rngs=rngs)
        self.prelu = PReLU(config.stem)
        self.body = nnx.List([])
        inputs = config.stem
        for width, units in zip(config.widths, config.units, strict=True):
            for index in range(units):
                stride = 2 if index == 0 else 1
                self.body.append(ResidualUnit(inputs, width, stride, dtype=dtype, rngs=rngs))
                inputs = width

    def __call__(self, pictures: jax.Array) -> list[jax.Array]:
        """Return the features after each stage.

        Args:
            pictures: [B,H,W,3] in [-1, 1]; H and W divisible by 2 to the number of stages.

        Returns:
            One array [B, H/2^(s+1), W/2^(s+1), widths[s]] for each stage s.
        """
        x = self.prelu(self.norm(self.conv(pictures)))
        stages, start = [], 0
        for units in self.config.units:
            for unit in self.body[start : start + units]:
                x = unit(x)
            stages.append(x)
            start += units
        return stages


class Conv(nnx.Module):
    """Square convolution with padding as in PyTorch, by default of size // 2 on every side."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        size: int = 3,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        self.stride, self.dtype = stride, dtype
        self.padding = size // 2 if padding is None else padding
        init = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(init(rngs.params(), (size, size, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros((outputs,))) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H',W',O] in `dtype`."""
        x, kernel = x.astype(self.dtype), self.kernel[...].astype(self.dtype)
        y = conv(x, kernel, stride=self.stride, padding=self.padding)
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)


def batch_norm(channels: int, *, dtype: str = "float32", rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Return a BatchNorm that always uses its stored statistics."""
    return nnx.BatchNorm(
        channels, use_running_average=True, epsilon=BATCH_NORM_EPSILON, dtype=dtype, rngs=rngs
    )
