"""HyperStyle's hypernetwork and its passes in PyTorch, with the published parameter names."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.torch_models.stylegan2 import EqualLinear, Generator

SHARED = (0, 2, 3, 5, 6, 8, 9, 11, 12)
KERNELS = {14: (512, 256), 15: (256, 256), 17: (256, 128), 18: (128, 128), 20: (128, 64)}
KERNELS |= {21: (64, 64), 23: (64, 32), 24: (32, 32)}


class BasicBlock(nn.Module):
    """ResNet's basic block."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity()
        if stride > 1:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, I, H, W] to [B, O, H/stride, W/stride]."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class SharedKernels(nn.Module):
    """`SharedWeightsHypernet`: two linear maps from a vector to a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(512, 512 * 9) / 400)
        self.b1 = nn.Parameter(torch.zeros(512 * 9))
        self.w2 = nn.Parameter(torch.randn(512, 512 * 512) / 400)
        self.b2 = nn.Parameter(torch.zeros(512 * 512))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map [B, 512] to weight offsets [B, 512, 512, 3, 3]."""
        rows = (z @ self.w2 + self.b2).view(-1, 512, 512)
        return (rows @ self.w1 + self.b1).view(-1, 512, 512, 3, 3)


def _convs(*layers: tuple[int, int, int]) -> nn.Sequential:
    modules = []
    for inputs, outputs, stride in layers:
        modules += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU()]
    return nn.Sequential(*modules)


class SharedBlock(nn.Module):
    """`HyperRefinementBlock`."""

    def __init__(self, hypernet: SharedKernels) -> None:
        super().__init__()
        inner = [(128, 128, 2)] * 3
        self.convs = _convs((512, 128, 1), *inner, (128, 512, 2))
        self.linear = EqualLinear(512, 512)
        self.hypernet = hypernet

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [B, 512, 16, 16] to weight offsets [B, 512, 512, 3, 3]."""
        return self.hypernet(self.linear(self.convs(x).flatten(1)))


class SeparateBlock(nn.Module):
    """`RefinementBlock`; `kernel` is its layer's (inputs, outputs)."""

    def __init__(self, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.kernel = kernel
        self.convs = _convs((512, 256, 2), (256, 256, 2), (256, 512, 2))
        conv = nn.Conv2d(512, kernel[0] * kernel[1], 1)
        self.output = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [B, 512, 16, 16] to weight offsets [B, O, I, 3, 3]."""
        inputs, outputs = self.kernel
        return self.output(self.convs(x)).view(-1, outputs, inputs, 1, 1).expand(-1, -1, -1, 3, 3)


class Hypernet(nn.Module):
    """`SharedWeightsHyperNetResNet` for the generator of 1024²."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(6, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.PReLU(64)
        stages = ((64, 64, 3, 1), (64, 128, 4, 2), (128, 256, 6, 2), (256, 512, 3, 2))
        blocks = [
            BasicBlock(outputs if index else inputs, outputs, 1 if index else stride)
            for inputs, outputs, count, stride in stages
            for index in range(count)
        ]
        self.body = nn.Sequential(*blocks)
        self.shared_weight_hypernet = SharedKernels()
        self.refinement_blocks = nn.ModuleDict()
        for layer in SHARED:
            self.refinement_blocks[str(layer)] = SharedBlock(self.shared_weight_hypernet)
        for layer, kernel in KERNELS.items():
            self.refinement_blocks[str(layer)] = SeparateBlock(kernel)

    def forward(
        self, pictures: torch.Tensor, reconstructions: torch.Tensor
    ) -> list[torch.Tensor | None]:
        """Map two [B, 3, 256, 256] to 26 weight offsets, [B, O, I, 3, 3] or None."""
        x = torch.cat([pictures, reconstructions], 1)
        x = self.body(self.relu(self.bn1(self.conv1(x))))
        blocks = self.refinement_blocks
        return [blocks[str(i)](x) if str(i) in blocks else None for i in range(26)]


def invert(
    generator: Generator,
    w_encoder: Callable[[torch.Tensor], torch.Tensor],
    latent_avg: torch.Tensor,
    hypernet: Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor | None]],
    pictures: torch.Tensor,
    passes: int = 5,
) -> tuple[torch.Tensor, list[torch.Tensor | None] | None, torch.Tensor]:
    """Invert pictures as published: sum the offsets of all passes, and synthesise after each.

    Returns:
        The codes [B, 18, 512], the summed offsets and the last picture [B, 3, 1024, 1024].
    """
    codes = w_encoder(pictures)[:, None] + latent_avg
    picture, total = generator.synthesis(codes), None
    for _ in range(passes):
        shown = F.adaptive_avg_pool2d(picture, 256)
        deltas = hypernet(pictures, shown)
        if total is not None:
            pairs = zip(deltas, total, strict=True)
            deltas = [a if a is None or b is None else a + b for a, b in pairs]
        total = deltas
        picture = generator.synthesis(codes, total)
    return codes, total, picture
