"""DualStyleGAN: a StyleGAN2 whose faces take the structure and the colours of an artistic portrait.

A face has an intrinsic code, a portrait an extrinsic one. Of each row of the extrinsic code, a
coarse one changes the generator's features by a residual block, a fine one replaces the intrinsic
row, both by a weight: with all weights 0 the face is drawn as StyleGAN2 draws it. All shapes are
NHWC.

Source: Yang et al. 2022, williamyang1991/DualStyleGAN `model/dualstylegan.py`.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.models.generator import Noise
from emojax.models.irse import batch_norm
from emojax.models.stylegan2 import GeneratorConfig, Mapping, Synthesis
from emojax.nn.equal_conv import EqualConv
from emojax.nn.layers import EqualLinear, dot, leaky_relu

EPSILON = 1e-5
"""Added to the variance by instance normalisation, PyTorch's default."""


@dataclasses.dataclass(frozen=True)
class DualStyleGANConfig(GeneratorConfig):
    """Dimensions: those of the StyleGAN2 inside, and of what styles change.

    Attributes:
        structure: first rows of an extrinsic code, which change structure; the others change
            colours. 7 as published.
        structure_mlp: layers that transform structure rows.
    """

    structure: int = 7
    structure_mlp: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.structure < self.n_latent:
            raise ValueError(f"structure is {self.structure}, wanted 1 to {self.n_latent - 1} rows")

    def weights(self, structure: float, colour: float) -> np.ndarray:
        """Return a weight for each row [L] of one for structure and one for colours."""
        rows = np.arange(self.n_latent) < self.structure
        return np.where(rows, structure, colour).astype(np.float32)


class AdaptiveNorm(nnx.Module):
    """Instance normalisation, then a scale and a shift that depend on a style."""

    def __init__(self, style_dim: int, channels: int, *, rngs: nnx.Rngs) -> None:
        key = rngs.params()
        self.weight = nnx.Param(jax.random.normal(key, (style_dim, 2 * channels)) * 0.02)
        self.bias = nnx.Param(jnp.zeros((2 * channels,)))

    def __call__(self, x: jax.Array, style: jax.Array) -> jax.Array:
        """Map x [B,H,W,C] with a style [B,D] to [B,H,W,C]."""
        both = dot(style, self.weight[...]) + self.bias[...]
        gamma, beta = jnp.split(both[:, None, None], 2, -1)  # [B,1,1,C]
        wide = x.astype(jnp.float32)
        mean, variance = wide.mean((1, 2), keepdims=True), wide.var((1, 2), keepdims=True)
        normal = (wide - mean) * jax.lax.rsqrt(variance + EPSILON)
        return (gamma * normal + beta).astype(x.dtype)


class ResidualBlock(nnx.Module):
    """What a structure row adds to the generator's features."""

    def __init__(self, style_dim: int, channels: int, *, rngs: nnx.Rngs) -> None:
        self.norm1 = AdaptiveNorm(style_dim, channels, rngs=rngs)
        self.conv1 = EqualConv(channels, channels, rngs=rngs)
        self.norm2 = AdaptiveNorm(style_dim, channels, rngs=rngs)
        self.conv2 = EqualConv(channels, channels, rngs=rngs)

    def __call__(self, x: jax.Array, style: jax.Array) -> jax.Array:
        """Map x [B,H,W,C] with a transformed row [B,D] to what is added [B,H,W,C]."""
        x = leaky_relu(self.conv1(self.norm1(x, style)))
        return leaky_relu(self.conv2(self.norm2(x, style)))


class Fused(NamedTuple):
    """What `Synthesis` takes to draw faces in a style.

    Attributes:
        w_plus: [B,L,D] the intrinsic codes, in the rows of colours mixed with the extrinsic ones.
        after: functions of the features after the convolutions of structure rows.
    """

    w_plus: jax.Array
    after: dict[int, Callable[[jax.Array], jax.Array]]


class DualStyleGAN(nnx.Module):
    """StyleGAN2's mapping and synthesis networks, and what styles change in them."""

    def __init__(self, config: DualStyleGANConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        width = config.style_dim
        self.mapping = Mapping(config, rngs=rngs)
        self.synthesis = Synthesis(config, rngs=rngs)
        transform = dataclasses.replace(config, z_dim=width, n_mlp=config.structure_mlp)
        self.transform = Mapping(transform, rngs=rngs)
        channels = [config.channels[(i + 1) // 2] for i in range(config.structure)]
        self.blocks = nnx.List(ResidualBlock(width, each, rngs=rngs) for each in channels)
        colours = range(config.structure, config.n_latent)
        self.colours = nnx.List(EqualLinear(width, width, rngs=rngs) for _ in colours)

    def __call__(
        self,
        w_plus: jax.Array,
        styles: jax.Array,
        weights: jax.Array,
        *,
        noise: Noise = "const",
        resolution: int | None = None,
    ) -> jax.Array:
        """Draw faces in a style: pictures [B,r,r,3], about [-1, 1] and not clipped.

        Args:
            w_plus: see `fused`.
            styles: see `fused`.
            weights: see `fused`.
            noise: see `Synthesis`.
            resolution: see `Synthesis`.
        """
        codes, after = self.fused(w_plus, styles, weights)
        return self.synthesis(codes, noise=noise, after=after, resolution=resolution)

    def fused(self, w_plus: jax.Array, styles: jax.Array, weights: jax.Array) -> Fused:
        """Return the codes and the changes of features that draw faces in a style.

        Args:
            w_plus: [B,L,D] intrinsic codes in W+.
            styles: [B,L,D] or [1,L,D] extrinsic codes in W+; codes in Z+, as files hold them, are
                mapped first, row by row, by `mapping`.
            weights: [L] how much each row of the style counts, 0: not at all; the original's
                fuse_index sets those of the rows behind it to 0.
        """
        first = self.config.structure
        structure = self.transform(styles[:, :first])

        def adding(i: int) -> Callable[[jax.Array], jax.Array]:
            def add(x: jax.Array) -> jax.Array:
                style = jnp.broadcast_to(structure[:, i], (len(x), structure.shape[-1]))
                return x + weights[i].astype(x.dtype) * self.blocks[i](x, style)

            return add

        rows = [colour(styles[:, first + i]) for i, colour in enumerate(self.colours)]
        share = weights[first:, None]
        mixed = share * jnp.stack(rows, 1) + (1 - share) * w_plus[:, first:]
        codes = jnp.concatenate([w_plus[:, :first], mixed], 1)
        return Fused(codes, {i: adding(i) for i in range(first)})


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
    """Dimensions of the networks that draw random styles; the defaults are the published ones.

    Attributes:
        structure: rows of an extrinsic code that change structure.
        colour: rows that change colours.
        style_dim: length D of a row.
        hidden: width of a sample and of the hidden layers.
    """

    structure: int = 7
    colour: int = 11
    style_dim: int = 512
    hidden: int = 128


class RowSampler(nnx.Module):
    """Three linear layers without bias, BatchNorm and ReLU between them."""

    def __init__(self, width: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.linear1 = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.norm1 = batch_norm(width, rngs=rngs)
        self.linear2 = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.norm2 = batch_norm(width, rngs=rngs)
        self.linear3 = nnx.Linear(width, outputs, use_bias=False, rngs=rngs)

    def __call__(self, z: jax.Array) -> jax.Array:
        """Map samples [B,hidden] to [B,outputs]."""
        x = jax.nn.relu(self.norm1(self.linear1(z)))
        x = jax.nn.relu(self.norm2(self.linear2(x)))
        return self.linear3(x)


class StyleSampler(nnx.Module):
    """Draws random styles: extrinsic codes in Z+ of two samples.

    The original's generate.py normalises by the statistics of the batch; here the running ones are
    used, so that a style does not depend on the others of its batch.

    Source: williamyang1991/DualStyleGAN `model/sampler/icp.py`, `_netT`.
    """

    def __init__(self, config: SamplerConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        width = config.style_dim
        self.structure = RowSampler(config.hidden, config.structure * width, rngs=rngs)
        self.colour = RowSampler(config.hidden, config.colour * width, rngs=rngs)

    def __call__(self, structure: jax.Array, colour: jax.Array) -> jax.Array:
        """Map samples [B,hidden] for structure and for colours to codes in Z+ [B,L,D]."""
        shape = (len(structure), -1, self.config.style_dim)
        both = (self.structure(structure), self.colour(colour))
        return jnp.concatenate([rows.reshape(shape) for rows in both], 1)
