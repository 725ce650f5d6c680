"""StyleGAN, ProgressiveGAN and DCGAN in PyTorch, as functions of published state dicts.

Each takes the tensors under their published names and z, and computes what the original does, layer
by layer, with its operations: fused up-convolutions as transposed ones, instance normalisation,
depthwise blur. Pictures are NCHW.
"""

import math
from collections.abc import Mapping

import torch
from torch.nn import functional as F

State = Mapping[str, torch.Tensor]
SQRT2 = math.sqrt(2)


def pixel_norm(x: torch.Tensor) -> torch.Tensor:
    """Divide by the root mean square over the channels."""
    return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


def stylegan1(state: State, z: torch.Tensor) -> torch.Tensor:
    """Genforce's StyleGAN, the smoothed generator of `stylegan_ffhq1024.pth`."""
    w = pixel_norm(z)
    for i in range(8):
        weight, bias = (state[f"mapping.dense{i}.{name}"] for name in ("weight", "bias"))
        scale = 0.01 * SQRT2 / math.sqrt(weight.shape[1])
        w = F.leaky_relu(F.linear(w, weight * scale, bias * 0.01), 0.2)
    x = state["synthesis.layer0.const"].expand(len(z), -1, -1, -1)
    count = sum(key.endswith("apply_noise.noise") for key in state)
    for i in range(count):
        key = f"synthesis.layer{i}"
        x = _convolved(state, key, x, i) if i else x
        noise, strength = (state[f"{key}.apply_noise.{name}"] for name in ("noise", "weight"))
        x = F.leaky_relu(
            x + noise * strength.view(1, -1, 1, 1) + state[f"{key}.bias"].view(1, -1, 1, 1), 0.2
        )
        x = x - torch.mean(x, dim=(2, 3), keepdim=True)
        x = x / torch.sqrt(torch.mean(x**2, dim=(2, 3), keepdim=True) + 1e-8)
        weight = state[f"{key}.style.weight"]
        style = F.linear(w, weight / math.sqrt(weight.shape[1]), state[f"{key}.style.bias"])
        scale, shift = style.view(len(z), 2, -1, 1, 1).unbind(1)
        x = x * (scale + 1) + shift
    weight, bias = (state[f"synthesis.output{count // 2 - 1}.{n}"] for n in ("weight", "bias"))
    return F.conv2d(x, weight / math.sqrt(weight.shape[1]), bias)


def _convolved(state: State, key: str, x: torch.Tensor, index: int) -> torch.Tensor:
    """Convolve as layer `index` does, upsampling in every second one."""
    weight = state[f"{key}.weight"]
    weight = weight * (SQRT2 / math.sqrt(9 * weight.shape[1]))
    if index % 2:
        return F.conv2d(x, weight, padding=1)
    if 2 * x.shape[2] >= 128:
        padded = F.pad(weight, (1, 1, 1, 1))
        kernel = padded[:, :, 1:, 1:] + padded[:, :, :-1, 1:]
        kernel = kernel + padded[:, :, 1:, :-1] + padded[:, :, :-1, :-1]
        x = F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2, padding=1)
    else:
        x = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, padding=1)
    return F.conv2d(x, state[f"{key}.blur.kernel"], padding=1, groups=x.shape[1])


def pggan(state: State, z: torch.Tensor) -> torch.Tensor:
    """Genforce's ProgressiveGAN, the smoothed generator of `pggan_celebahq1024.pth`."""
    x = pixel_norm(z)[:, :, None, None]
    count = sum(key.startswith("layer") for key in state) // 2
    for i in range(count):
        weight, bias = state[f"layer{i}.weight"], state[f"layer{i}.bias"]
        scale = SQRT2 / math.sqrt(weight[0].numel())
        x = pixel_norm(x)
        if i and i % 2 == 0:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = F.conv2d(x, weight * scale, padding=1 if i else 3) + bias.view(1, -1, 1, 1)
        x = F.leaky_relu(x, 0.2)
    weight, bias = (state[f"output{count // 2 - 1}.{name}"] for name in ("weight", "bias"))
    return F.conv2d(pixel_norm(x), weight / math.sqrt(weight.shape[1]), bias)


def gan_zoo(state: State, z: torch.Tensor) -> torch.Tensor:
    """pytorch_GAN_zoo's ProgressiveGAN, `avgG` of `celebaHQ_s6_i80000-6196db68.pth`."""

    def layer(key: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = state[f"{key}.module.weight"], state[f"{key}.module.bias"]
        scale = math.sqrt(2 / weight[0].numel())
        x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2) * scale
        return x if key.startswith("toRGB") else pixel_norm(F.leaky_relu(x, 0.2))

    weight, bias = state["formatLayer.module.weight"], state["formatLayer.module.bias"]
    x = F.linear(pixel_norm(z), weight, bias) * math.sqrt(2 / weight.shape[1])
    x = pixel_norm(F.leaky_relu(x.view(len(z), -1, 4, 4), 0.2))
    x = layer("groupScale0.0", x)
    count = sum(key.startswith("scaleLayers") for key in state) // 4
    for i in range(count):
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = layer(f"scaleLayers.{i}.1", layer(f"scaleLayers.{i}.0", x))
    return layer(f"toRGBLayers.{count}", x)


def dcgan(state: State, z: torch.Tensor) -> torch.Tensor:
    """pytorch/examples' DCGAN with its running statistics."""
    x = F.conv_transpose2d(z[:, :, None, None], state["main.0.weight"])
    for i in (1, 4, 7, 10):
        mean, var = state[f"main.{i}.running_mean"], state[f"main.{i}.running_var"]
        x = F.batch_norm(x, mean, var, state[f"main.{i}.weight"], state[f"main.{i}.bias"])
        x = F.relu(x)
        x = F.conv_transpose2d(x, state[f"main.{i + 2}.weight"], stride=2, padding=1)
    return torch.tanh(x)
