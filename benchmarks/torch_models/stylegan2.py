"""StyleGAN2 generator in PyTorch, in the published form and in the fastest forms known to us.

Parameter names are rosinality's. `form="original"` modulates the weights of every sample, uses
grouped convolutions, and filters by zero insertion and a 4x4 depthwise convolution, as the
published code does without its CUDA extension. `form="best"` modulates the activations, demodulates
the output with a small matrix product and filters separably by depthwise convolutions; it is meant
for channels_last and `torch.compile`. `form="shifted"` differs in the filter, a weighted sum of
shifted pictures: cuDNN's depthwise convolutions of channels_last are slow on GPUs.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

FIR = (1.0, 3.0, 3.0, 1.0)

Form = Literal["original", "best", "shifted"]
Deltas = Sequence[torch.Tensor | None]


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, lr_mul: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mul)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr_mul))
        self.scale, self.lr_mul = lr_mul / math.sqrt(inputs), lr_mul

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., in] to [..., out]."""
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)


class PixelNorm(nn.Module):
    """Normalisation of z to unit mean square."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map [B, D] to [B, D]."""
        return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)


class MappingLayer(EqualLinear):
    """Linear layer and leaky ReLU of the mapping network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, D] to [B, D]."""
        return F.leaky_relu(super().forward(x), 0.2) * math.sqrt(2)


class ModulatedConv(nn.Module):
    """Modulated convolution; `up` doubles height and width."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        style_dim: int,
        demodulate: bool,
        up: bool,
        form: Form,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.modulation = EqualLinear(style_dim, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.demodulate, self.up, self.padding = demodulate, up, kernel // 2
        self.forward: Callable[..., torch.Tensor] = (
            self.original if form == "original" else self.best
        )
        self.filter = FILTERS[form]

    def original(
        self, x: torch.Tensor, w: torch.Tensor, delta: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Convolve [B, I, H, W] in groups, with weights modulated by w [B, D] for every sample."""
        batch, inputs, height, width = x.shape
        weight = self.weight if delta is None else self.weight * (1 + delta)
        weight = self.scale * weight * self.modulation(w)[:, None, :, None, None]
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum([2, 3, 4], keepdim=True) + 1e-8)
        weight = weight.to(x.dtype)  # the modulation, and so the product, is float32
        x = x.reshape(1, batch * inputs, height, width)
        if self.up:
            weight = weight.transpose(1, 2).reshape(batch * inputs, -1, *weight.shape[-2:])
            y = F.conv_transpose2d(x, weight, stride=2, groups=batch)
            return self.filter(y.view(batch, -1, *y.shape[-2:]))
        y = F.conv2d(x, weight.flatten(0, 1), padding=self.padding, groups=batch)
        return y.view(batch, -1, *y.shape[-2:])

    def best(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Convolve [B, I, H, W] with shared weights, after modulating x by w [B, D]."""
        style = self.modulation(w) * self.scale
        weight = self.weight[0]
        if x.is_contiguous(memory_format=torch.channels_last):
            weight = weight.contiguous(memory_format=torch.channels_last)
        x = x * style[:, :, None, None].to(x.dtype)
        weight_x = weight.to(x.dtype)
        if self.up:
            y = F.conv_transpose2d(x, weight_x.transpose(0, 1), stride=2)
            y = self.filter(y)
        else:
            y = F.conv2d(x, weight_x, padding=self.padding)
        if self.demodulate:
            scale = torch.rsqrt(style.square() @ weight.square().sum((2, 3)).T + 1e-8)
            y = y * scale[:, :, None, None].to(y.dtype)
        return y


def filter_original(x: torch.Tensor, up: int = 1) -> torch.Tensor:
    """Filter as rosinality's `upfirdn2d_native` does: zero insertion, padding, 4x4 convolution.

    Args:
        x: [B, C, H, W].
        up: 1 filters a transposed convolution's output to [B, C, H - 1, W - 1], 2 doubles the size.
    """
    batch, channels, height, width = x.shape
    x = x.reshape(-1, 1, height, 1, width, 1)
    x = F.pad(x, [0, up - 1, 0, 0, 0, up - 1]).view(-1, 1, height * up, width * up)
    x = F.pad(x, (1, 1, 1, 1) if up == 1 else (2, 1, 2, 1))
    fir = torch.tensor(FIR, dtype=x.dtype, device=x.device)
    kernel = torch.outer(fir, fir) / 16
    x = F.conv2d(x, kernel[None, None])
    return x.view(batch, channels, *x.shape[-2:])


def filter_separable(x: torch.Tensor, up: int = 1) -> torch.Tensor:
    """Apply the filter of `filter_original` as two depthwise convolutions of four taps."""
    channels = x.shape[1]
    fir = torch.tensor(FIR, dtype=x.dtype, device=x.device) / 4
    if up == 2:  # zero insertion and filter are one transposed convolution
        kernel = torch.outer(fir, fir).expand(channels, 1, 4, 4)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)
    rows = fir.view(1, 1, 4, 1).expand(channels, 1, 4, 1)
    x = F.conv2d(x, rows, padding=(1, 0), groups=channels)
    return F.conv2d(x, rows.transpose(2, 3), padding=(0, 1), groups=channels)


def filter_shifted(x: torch.Tensor, up: int = 1) -> torch.Tensor:
    """Apply the filter of `filter_original` as weighted sums of shifted pictures."""
    for axis in (2, 3):
        size = x.shape[axis]
        ends = [1, 1, 0, 0] if axis == 3 else [0, 0, 1, 1]
        padded = F.pad(x, ends)
        if up == 2:  # y[2j] = (x[j-1] + 3 x[j]) / 4, y[2j+1] = (3 x[j] + x[j+1]) / 4
            before, after = padded.narrow(axis, 0, size), padded.narrow(axis, 2, size)
            pair = torch.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
            x = pair.flatten(axis, axis + 1)
        else:
            parts = [tap / 4 * padded.narrow(axis, at, size - 1) for at, tap in enumerate(FIR)]
            x = functools.reduce(operator.add, parts)
    return x


FILTERS = {"original": filter_original, "best": filter_separable, "shifted": filter_shifted}


class Noise(nn.Module):
    """Noise times a learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Add noise [1, 1, H, W] to x [B, C, H, W]."""
        return x + self.weight.to(x.dtype) * noise.to(x.dtype)


class Activate(nn.Module):
    """Bias and leaky ReLU times √2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] to [B, C, H, W]."""
        bias = self.bias.to(x.dtype)[:, None, None]
        return F.leaky_relu(x + bias, 0.2) * math.sqrt(2)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise and activation."""

    def __init__(self, inputs: int, outputs: int, style_dim: int, up: bool, form: Form) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, style_dim, True, up, form)
        self.noise = Noise()
        self.activate = Activate(outputs)

    def forward(
        self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor, *delta: torch.Tensor
    ) -> torch.Tensor:
        """Map [B, I, H, W] to [B, O, H', W']; `delta` is none or one weight offset."""
        return self.activate(self.noise(self.conv(x, w, *delta), noise))


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three colours, added to the upsampled skip picture."""

    def __init__(self, inputs: int, style_dim: int, form: Form) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, 1, style_dim, False, False, form)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(
        self, x: torch.Tensor, w: torch.Tensor, skip: torch.Tensor | None, *delta: torch.Tensor
    ) -> torch.Tensor:
        """Return the picture [B, 3, H, W] up to this resolution, float32."""
        rgb = self.conv(x, w, *delta).float() + self.bias
        if skip is None:
            return rgb
        return rgb + self.conv.filter(skip, up=2)


class ConstantInput(nn.Module):
    """Learned constant of 4x4 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Generator(nn.Module):
    """Generator in rosinality's layout.

    Args:
        channels: feature maps at 4², 8², ...
        style_dim: width of z and w.
        n_mlp: layers of the mapping network.
        form: see the module.

    Attributes:
        half_from: resolution from which on convolutions run in bfloat16; None for none.
        memory_format: memory format of the activations.
    """

    def __init__(
        self,
        channels: Sequence[int],
        style_dim: int = 512,
        n_mlp: int = 8,
        form: Form = "original",
    ) -> None:
        super().__init__()
        self.half_from: int | None = None
        self.memory_format = torch.contiguous_format
        mapping = [MappingLayer(style_dim, style_dim, lr_mul=0.01) for _ in range(n_mlp)]
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = ConstantInput(channels[0])
        self.conv1 = StyledConv(channels[0], channels[0], style_dim, False, form)
        self.to_rgb1 = ToRGB(channels[0], style_dim, form)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        self.noises.register_buffer("noise_0", torch.randn(1, 1, 4, 4))
        for i in range(1, len(channels)):
            before, after = channels[i - 1], channels[i]
            self.convs.append(StyledConv(before, after, style_dim, True, form))
            self.convs.append(StyledConv(after, after, style_dim, False, form))
            self.to_rgbs.append(ToRGB(after, style_dim, form))
            for j in (2 * i - 1, 2 * i):
                self.noises.register_buffer(f"noise_{j}", torch.randn(1, 1, 4 * 2**i, 4 * 2**i))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map z [B, D] to pictures [B, 3, size, size]."""
        return self.synthesis(self.style(z)[:, None].expand(-1, 2 * len(self.to_rgbs) + 2, -1))

    def synthesis(self, w_plus: torch.Tensor, deltas: Deltas | None = None) -> torch.Tensor:
        """Map W+ codes [B, L, D] to pictures [B, 3, size, size]; deltas in HyperStyle's order."""
        delta = [() if d is None else (d,) for d in deltas or [None] * (3 * len(self.to_rgbs) + 2)]
        noises = [getattr(self.noises, f"noise_{i}") for i in range(len(self.convs) + 1)]
        x = self.input.input.expand(len(w_plus), -1, -1, -1).contiguous(
            memory_format=self.memory_format
        )
        x = self.conv1(x, w_plus[:, 0], noises[0], *delta[0])
        skip = self.to_rgb1(x, w_plus[:, 1], None, *delta[1])
        for k in range(len(self.to_rgbs)):
            if self.half_from and 8 * 2**k >= self.half_from:
                x = x.to(torch.bfloat16)
            i = 2 * k
            x = self.convs[i](x, w_plus[:, i + 1], noises[i + 1], *delta[3 * k + 2])
            x = self.convs[i + 1](x, w_plus[:, i + 2], noises[i + 2], *delta[3 * k + 3])
            skip = self.to_rgbs[k](x, w_plus[:, i + 3], skip, *delta[3 * k + 4])
        return skip
