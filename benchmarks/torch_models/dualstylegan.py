"""DualStyleGAN in PyTorch under its published names, on `stylegan2.Generator`; eager."""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.torch_models.stylegan2 import (
    Activate,
    EqualLinear,
    Generator,
    MappingLayer,
    PixelNorm,
)


class EqualConv(nn.Module):
    """3x3 convolution with equalised learning rate, without bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] to [B, C, H, W]."""
        return F.conv2d(x, self.weight * (1 / math.sqrt(9 * x.shape[1])), padding=1)


class AdaptiveNorm(nn.Module):
    """Instance normalisation with gamma and beta of a style."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.style = nn.Linear(style_dim, 2 * channels)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] with a style [B, D] to [B, C, H, W]."""
        gamma, beta = self.style(style)[:, :, None, None].chunk(2, 1)
        return gamma * F.instance_norm(x) + beta


class ResidualBlock(nn.Module):
    """What a structure row adds to features."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(EqualConv(channels), Activate(channels))
        self.conv2 = nn.Sequential(EqualConv(channels), Activate(channels))
        self.norm = AdaptiveNorm(channels, style_dim)
        self.norm2 = AdaptiveNorm(channels, style_dim)

    def forward(self, x: torch.Tensor, style: torch.Tensor, weight: float) -> torch.Tensor:
        """Map [B, C, H, W] with a style [B, D] to [B, C, H, W]."""
        added = self.conv2(self.norm2(self.conv(self.norm(x, style)), style))
        return x + weight * added


class DualStyleGAN(nn.Module):
    """Generator, transform of structure rows, and one module for each row."""

    def __init__(self, channels: Sequence[int], style_dim: int = 512, structure: int = 7) -> None:
        super().__init__()
        layers = [MappingLayer(style_dim, style_dim, lr_mul=0.01) for _ in range(2)]
        self.style = nn.Sequential(PixelNorm(), *layers)
        self.generator = Generator(channels, style_dim)
        widths = [channels[(i + 1) // 2] for i in range(structure)]
        colours = 2 * len(channels) - structure
        self.res = nn.ModuleList(
            [ResidualBlock(each, style_dim) for each in widths]
            + [EqualLinear(style_dim, style_dim) for _ in range(colours)]
        )
        self.structure = structure

    def forward(
        self, z_plus: torch.Tensor, style: torch.Tensor, weights: Sequence[float]
    ) -> torch.Tensor:
        """Draw intrinsic codes [B, L, D] in Z+ in the style of extrinsic ones: [B, 3, S, S]."""
        first = self.structure
        w_plus, extrinsic = (self._mapped(self.generator.style, each) for each in (z_plus, style))
        rows = self._mapped(self.style, extrinsic[:, :first])
        mixed = [
            weights[i] * self.res[i](extrinsic[:, i]) + (1 - weights[i]) * w_plus[:, i]
            for i in range(first, w_plus.shape[1])
        ]
        codes = torch.cat([w_plus[:, :first], torch.stack(mixed, 1)], 1)
        layers = [self.generator.conv1, *self.generator.convs][:first]
        hooks = [
            layer.register_forward_hook(
                lambda _layer, _given, x, i=i: self.res[i](x, rows[:, i], weights[i])
            )
            for i, layer in enumerate(layers)
        ]
        try:
            return self.generator.synthesis(codes)
        finally:
            for hook in hooks:
                hook.remove()

    @staticmethod
    def _mapped(network: nn.Module, codes: torch.Tensor) -> torch.Tensor:
        return network(codes.reshape(-1, codes.shape[-1])).reshape(codes.shape)
