"""IR-SE-50 encoders in PyTorch with the published parameter names: pSp and the W encoder."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.torch_models.stylegan2 import EqualLinear

STAGES = ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3))


class SqueezeExcite(nn.Module):
    """Channel gate computed from the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] to [B, C, H, W]."""
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class ResidualUnit(nn.Module):
    """`bottleneck_IR_SE`, or `bottleneck_IR` without the gate."""

    def __init__(self, inputs: int, outputs: int, stride: int, gated: bool = True) -> None:
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(conv, nn.BatchNorm2d(outputs))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            *([SqueezeExcite(outputs)] if gated else []),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, I, H, W] to [B, O, H/stride, W/stride]."""
        return self.res_layer(x) + self.shortcut_layer(x)


class Trunk(nn.Module):
    """IR-SE-50."""

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.input_layer = nn.Sequential(stem, nn.BatchNorm2d(64), nn.PReLU(64))
        units = [
            ResidualUnit(outputs if index else inputs, outputs, 1 if index else 2)
            for inputs, outputs, count in STAGES
            for index in range(count)
        ]
        self.body = nn.Sequential(*units)

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features after the second, third and fourth stage."""
        x, kept = self.input_layer(x), []
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in (6, 20, 23):
                kept.append(x)
        return kept


class StyleHead(nn.Module):
    """Stride-2 convolutions down to one pixel and a linear layer (map2style)."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        layers = []
        for _ in range(steps):
            layers += [nn.Conv2d(512, 512, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(512, 512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, 512, 2^steps, 2^steps] to [B, 512]."""
        return self.linear(self.convs(x).flatten(1))


class GradualStyleEncoder(Trunk):
    """pSp's encoder."""

    def __init__(self, n_styles: int = 18) -> None:
        super().__init__()
        self.steps = [4 if i < 3 else 5 if i < 7 else 6 for i in range(n_styles)]
        self.styles = nn.ModuleList(StyleHead(count) for count in self.steps)
        self.latlayer1 = nn.Conv2d(256, 512, 1)
        self.latlayer2 = nn.Conv2d(128, 512, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures [B, 3, 256, 256] to codes [B, L, 512], without the mean latent."""
        fine, middle, coarse = self.stages(x)
        middle = _doubled(coarse) + self.latlayer1(middle)
        fine = _doubled(middle) + self.latlayer2(fine)
        maps = {4: coarse, 5: middle, 6: fine}
        return torch.stack(
            [head(maps[steps]) for head, steps in zip(self.styles, self.steps, strict=True)], 1
        )


class WEncoder(Trunk):
    """HyperStyle's encoder into W."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = EqualLinear(512, 512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures [B, 3, 256, 256] to codes [B, 512], without the mean latent."""
        return self.linear(self.stages(x)[-1].mean((2, 3)))


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
