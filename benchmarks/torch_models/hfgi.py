"""HFGI in PyTorch with the published names: e4e encoder, aligner, consultation encoder."""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.torch_models.encoders import GradualStyleEncoder, ResidualUnit
from benchmarks.torch_models.stylegan2 import Generator

SIDE = 256
"""Side of the pictures that the networks see."""
FUSED = 7
"""Number of the generator's styled convolution after which the map is fused, the first of 64²."""


class Encoder4Editing(GradualStyleEncoder):
    """e4e's encoder: the first head gives a code for all layers, the others what each adds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures [B, 3, 256, 256] to codes [B, L, 512], without the mean latent."""
        heads = super().forward(x)
        return torch.cat([heads[:, :1], heads[:, :1] + heads[:, 1:]], 1)


class EqualConv(nn.Module):
    """3x3 convolution with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / math.sqrt(9 * inputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, I, H, W] to [B, O, H, W]."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=1)


class ScaledLeakyReLU(nn.Module):
    """Leaky ReLU times √2."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] to [B, C, H, W]."""
        return F.leaky_relu(x, 0.2) * math.sqrt(2)


def _stem(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.PReLU(outputs))


def _stage(inputs: int, between: int, outputs: int, stride: int = 1) -> nn.Sequential:
    pairs = itertools.pairwise((inputs, between, outputs, outputs))
    steps = (stride, 1, 1)
    units = [ResidualUnit(*pair, step, False) for pair, step in zip(pairs, steps, strict=True)]
    return nn.Sequential(*units)


def _condition() -> nn.Sequential:
    return nn.Sequential(EqualConv(64, 512), ScaledLeakyReLU(), EqualConv(512, 512))


class Aligner(nn.Module):
    """Aligns a distortion map to a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_layer1 = _stem(6, 16)
        self.conv_layer2 = _stage(16, 32, 32, 2)
        self.conv_layer3 = _stage(32, 48, 48, 2)
        self.conv_layer4 = _stage(48, 64, 64, 2)
        self.dconv_layer1 = _stage(112, 64, 32)
        self.dconv_layer2 = _stage(64, 32, 16)
        self.dconv_layer3 = _stage(32, 16, 3)

    def forward(self, distortion: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """Map distortion and pictures [B, 3, 256, 256] to the aligned map."""
        full = self.conv_layer1(torch.cat([distortion, pictures], 1))
        half = self.conv_layer2(full)
        quarter = self.conv_layer3(half)
        x = self.conv_layer4(quarter)
        for stage, skip in (
            (self.dconv_layer1, quarter),
            (self.dconv_layer2, half),
            (self.dconv_layer3, full),
        ):
            doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = stage(torch.cat([doubled, skip], 1))
        return x


class Consultation(nn.Module):
    """Consultation encoder: an aligned map to a scale and a shift of the generator's features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_layer1 = _stem(3, 32)
        self.conv_layer2 = _stage(32, 48, 48, 2)
        self.conv_layer3 = _stage(48, 64, 64, 2)
        self.condition_scale3, self.condition_shift3 = _condition(), _condition()

    def forward(self, aligned: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map [B, 3, 256, 256] to scale and shift [B, 512, 64, 64]."""
        x = self.conv_layer3(self.conv_layer2(self.conv_layer1(aligned)))
        return self.condition_scale3(x), self.condition_shift3(x)


class HFGI(nn.Module):
    """The networks of the published file: `encoder`, `residue`, `grid_align` and `decoder`."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder4Editing(), generator
        self.residue, self.grid_align = Consultation(), Aligner()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Invert photographs [B, 3, 256, 256] and draw them again, [B, 3, S, S]."""
        codes = self.encoder(pictures)
        shown = self.decoder.synthesis(codes).clamp(-1, 1)
        shown = F.interpolate(shown, (SIDE, SIDE), mode="bilinear", align_corners=False)
        scale, shift = self.residue(self.grid_align(pictures - shown, shown))
        hook = self.decoder.convs[FUSED - 1].register_forward_hook(
            lambda _module, _given, x: x * (1 + scale) + shift
        )
        try:
            return self.decoder.synthesis(codes)
        finally:
            hook.remove()
