"""ArcFace and LPIPS in PyTorch with the published parameter names."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.torch_models.encoders import Trunk
from emojax.models.lpips import EPSILON, LAYERS, SCALE, SHIFT, Architecture


class ArcFace(Trunk):
    """`Backbone(112, 50, "ir_se")` behind the crop of pSp's IDLoss."""

    def __init__(self) -> None:
        super().__init__()
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, 512),
            nn.BatchNorm1d(512),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures [B, 3, 256, 256] to unit vectors [B, 512]."""
        face = F.adaptive_avg_pool2d(x[:, :, 35:223, 32:220], 112)
        found = self.output_layer(self.stages(face)[-1])
        return found / found.norm(dim=1, keepdim=True)


class Backbone(nn.Module):
    """The features of torchvision's AlexNet or VGG16 that LPIPS compares."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.layers, inputs = LAYERS[architecture], 3
        self.features = nn.ModuleDict()
        for layer in self.layers:
            conv = nn.Conv2d(inputs, layer.channels, layer.size, layer.stride, layer.padding)
            self.features[str(layer.number)] = conv
            inputs = layer.channels

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map pictures [B, 3, H, W] in [-1, 1] to five outputs."""
        shift, scale = (torch.from_numpy(each).view(1, 3, 1, 1) for each in (SHIFT, SCALE))
        x, taps = (x - shift) / scale, []
        for layer in self.layers:
            x = F.max_pool2d(x, layer.pool, 2) if layer.pool else x
            x = F.relu(self.features[str(layer.number)](x))
            if layer.tap:
                taps.append(x)
        return taps


class Lpips(nn.Module):
    """The distance; its weights are all 1."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone = Backbone(architecture)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the distances [B] of pictures [B, 3, H, W]."""
        total = torch.zeros(len(a))
        for x, y in zip(self.backbone(a), self.backbone(b), strict=True):
            x, y = (each / (each.norm(dim=1, keepdim=True) + EPSILON) for each in (x, y))
            total = total + (x - y).square().sum(1).mean((1, 2))
        return total
