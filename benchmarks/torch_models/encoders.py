"""IR-SE-50 encoders in PyTorch, under the published key names: pSp and the W encoder."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.torch_models.stylegan2 import EqualLinear

STAGES = ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3))


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Unit(nn.Module):
    def __init__(self, inputs, outputs, stride):
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
            SqueezeExcite(outputs),
        )

    def forward(self, x):
        return self.res_layer(x) + self.shortcut_layer(x)


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        stem = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.input_layer = nn.Sequential(stem, nn.BatchNorm2d(64), nn.PReLU(64))
        units = [
            Unit(outputs if index else inputs, outputs, 1 if index else 2)
            for inputs, outputs, count in STAGES
            for index in range(count)
        ]
        self.body = nn.Sequential(*units)

    def stages(self, x):
        """Features after the second, third and fourth stage."""
        x, kept = self.input_layer(x), []
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in (6, 20, 23):
                kept.append(x)
        return kept


class StyleHead(nn.Module):
    def __init__(self, steps):
        super().__init__()
        layers = []
        for _ in range(steps):
            layers += [nn.Conv2d(512, 512, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(512, 512)

    def forward(self, x):
        return self.linear(self.convs(x).flatten(1))


class GradualStyleEncoder(Trunk):
    def __init__(self, n_styles=18):
        super().__init__()
        steps = [4 if i < 3 else 5 if i < 7 else 6 for i in range(n_styles)]
        self.styles = nn.ModuleList(StyleHead(count) for count in steps)
        self.latlayer1 = nn.Conv2d(256, 512, 1)
        self.latlayer2 = nn.Conv2d(128, 512, 1)

    def forward(self, x):
        """Pictures [B, 3, 256, 256] to codes [B, L, 512], without the mean latent."""
        fine, middle, coarse = self.stages(x)
        middle = _doubled(coarse) + self.latlayer1(middle)
        fine = _doubled(middle) + self.latlayer2(fine)
        maps = {4: coarse, 5: middle, 6: fine}
        return torch.stack([head(maps[len(head.convs) // 2]) for head in self.styles], 1)


class WEncoder(Trunk):
    def __init__(self):
        super().__init__()
        self.linear = EqualLinear(512, 512)

    def forward(self, x):
        """Pictures [B, 3, 256, 256] to one code each, [B, 512], without the mean latent."""
        return self.linear(self.stages(x)[-1].mean((2, 3)))


def _doubled(x):
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
