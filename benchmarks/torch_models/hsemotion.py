"""EfficientNet in PyTorch with timm's parameter names (`tf_efficientnet_b0_ns`, `b2_ns`).

The counterpart of `emojax.models.efficientnet`. The state dict of an HSEmotion file loads strictly.
Pictures are NCHW, normalised by ImageNet's mean and standard deviation.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

STAGES = (  # kernel, stride, expansion, channels, repeats
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
BN_EPS = 1e-3


def round_channels(channels: float) -> int:
    """Return the nearest multiple of 8 that is at least 0.9 of the channels."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding, odd padding at the end."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map [B, I, H, W] to [B, O, H/stride, W/stride]."""
        pads, sizes = [], input.shape[:1:-1]
        for size, kernel, stride in zip(sizes, self.kernel_size, self.stride, strict=True):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(input, pads))


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a "same" convolution without bias; `SameConv2d` only for strides that need it."""
    kind = SameConv2d if stride > 1 else nn.Conv2d
    padding = 0 if stride > 1 else kernel // 2
    return kind(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


class SqueezeExcite(nn.Module):
    """Channel gate computed from the channel means."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.conv_expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] to [B, C, H, W]."""
        gate = F.silu(self.conv_reduce(x.mean((2, 3), keepdim=True)), inplace=True)
        return x * torch.sigmoid(self.conv_expand(gate))


class DepthwiseSeparable(nn.Module):
    """Block of the first stage, without expansion."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = conv(inputs, inputs, kernel, stride, inputs)
        self.bn1 = nn.BatchNorm2d(inputs, BN_EPS)
        self.se = SqueezeExcite(inputs, inputs // 4)
        self.conv_pw = conv(inputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs, BN_EPS)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, I, H, W] to [B, O, H/stride, W/stride]."""
        y = self.se(F.silu(self.bn1(self.conv_dw(x)), inplace=True))
        y = self.bn2(self.conv_pw(y))
        return x + y if self.skip else y


class InvertedResidual(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, gate and projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.conv_pw = conv(inputs, middle)
        self.bn1 = nn.BatchNorm2d(middle, BN_EPS)
        self.conv_dw = conv(middle, middle, kernel, stride, middle)
        self.bn2 = nn.BatchNorm2d(middle, BN_EPS)
        self.se = SqueezeExcite(middle, inputs // 4)
        self.conv_pwl = conv(middle, outputs)
        self.bn3 = nn.BatchNorm2d(outputs, BN_EPS)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, I, H, W] to [B, O, H/stride, W/stride]."""
        y = F.silu(self.bn1(self.conv_pw(x)), inplace=True)
        y = self.se(F.silu(self.bn2(self.conv_dw(y)), inplace=True))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.skip else y


class EfficientNet(nn.Module):
    """The classifier; B0 has width = depth = 1, B2 has 1.1 and 1.2."""

    def __init__(self, width: float = 1.0, depth: float = 1.0, outputs: int = 8) -> None:
        super().__init__()
        channels = round_channels(32 * width)
        self.conv_stem = conv(3, channels, 3, 2)
        self.bn1 = nn.BatchNorm2d(channels, BN_EPS)
        blocks = []
        for kernel, stride, expansion, base, repeats in STAGES:
            stage, wide = [], round_channels(base * width)
            for i in range(math.ceil(repeats * depth)):
                shape = (channels, wide, kernel, stride if i == 0 else 1)
                separable = expansion == 1
                stage.append(
                    DepthwiseSeparable(*shape) if separable else InvertedResidual(*shape, expansion)
                )
                channels = wide
            blocks.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*blocks)
        features = round_channels(1280 * width)
        self.conv_head = conv(channels, features)
        self.bn2 = nn.BatchNorm2d(features, BN_EPS)
        self.classifier = nn.Sequential(nn.Linear(features, outputs))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the pooled features [B, C]."""
        x = F.silu(self.bn1(self.conv_stem(x)), inplace=True)
        x = F.silu(self.bn2(self.conv_head(self.blocks(x))), inplace=True)
        return x.mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits [B, outputs]."""
        return self.classifier(self.features(x))
