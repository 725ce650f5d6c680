"""DCGAN's generator of 64²: transposed convolutions with batch normalisation.

Source: pytorch/examples `dcgan/main.py`, `Generator`. Radford et al. (2016), section 6.3.2, do
arithmetic with its z: see `emojax.latents.arithmetic.analogy`.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.models import generator
from emojax.models.generator import Noise
from emojax.nn import transposed_conv
from emojax.nn import window as windows

EPSILON = 1e-5
"""Added to the variance by batch normalisation."""


@dataclasses.dataclass(frozen=True)
class DCGANConfig(generator.UnmappedConfig):
    """Dimensions of a generator.

    Attributes:
        channels: feature maps at 4², 8², ... up to half the size of the picture.
        z_dim: length of z.
    """

    channels: tuple[int, ...] = (512, 256, 128, 64)
    z_dim: int = 100

    @property
    def size(self) -> int:
        """Height and width of the picture in pixels."""
        return 4 * 2 ** len(self.channels)


class Statistics(NamedTuple):
    """Mean and variance [C] of a batch, the biased one, with the number of values behind them."""

    mean: jax.Array
    var: jax.Array
    values: int


class BatchNorm(nnx.Module):
    """Batch normalisation by the stored statistics, or by those of the batch."""

    def __init__(self, channels: int) -> None:
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))

    def __call__(self, x: jax.Array, *, of_batch: bool) -> jax.Array:
        """Normalise [B, H, W, C]."""
        mean, var = self.mean[...], self.var[...]
        if of_batch:
            mean, var, _ = statistics(x)
        gain = self.scale[...] * jax.lax.rsqrt(var + EPSILON)
        return (x - mean) * gain + self.bias[...]


def statistics(x: jax.Array) -> Statistics:
    """Return the statistics of a batch [B, H, W, C]."""
    mean = x.mean((0, 1, 2))
    return Statistics(mean, jnp.square(x - mean).mean((0, 1, 2)), x.size // x.shape[-1])


class Synthesis(nnx.Module):
    """Transposed 4x4 convolutions, each followed by batch normalisation and ReLU; tanh at last."""

    def __init__(self, config: DCGANConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        widths = (config.z_dim, *config.channels, 3)
        self.kernels = nnx.List(  # [4, 4, I, O], as published: not flipped
            nnx.Param(0.02 * jax.random.normal(rngs.params(), (4, 4, a, b)))
            for a, b in itertools.pairwise(widths)
        )
        self.norms = nnx.List(BatchNorm(width) for width in config.channels)

    def __call__(
        self,
        w_plus: jax.Array,
        *,
        noise: Noise = "const",
        resolution: int | None = None,
        window: windows.Box | None = None,
        batch_statistics: bool = False,
    ) -> jax.Array:
        """Synthesise pictures.

        Args:
            w_plus: [B, 1, z_dim], z of each picture.
            noise: "const" and "none" are the same; there is none.
            resolution: the full size; there is no other.
            window: top, bottom, left, right of the part to return.
            batch_statistics: normalise by the batch, as the original does when it samples: a
                picture then depends on the others of its batch.

        Returns:
            [B, h, w, 3] float32 in [-1, 1].
        """
        generator.check(self.config, w_plus, noise, resolution)
        *_, (_, x) = self.trace(w_plus, batch_statistics=batch_statistics)
        if window:
            x = windows.cut(x, window, (0, self.config.size, 0, self.config.size))
        return x

    def trace(
        self, w_plus: jax.Array, *, batch_statistics: bool = False
    ) -> Iterator[tuple[str, jax.Array]]:
        """Yield (name, array) of every step: `convs.i`, `norms.i`, `relus.i`, at last `tanh`."""
        z, kernel = w_plus[:, 0], self.kernels[0][...]
        x = transposed_conv.of_one_pixel(z, kernel)
        yield "convs.0", x
        for i, norm in enumerate(self.norms):
            x = norm(x, of_batch=batch_statistics)
            yield f"norms.{i}", x
            x = jax.nn.relu(x)
            yield f"relus.{i}", x
            x = transposed_conv.transposed(x, self.kernels[i + 1][...])
            yield f"convs.{i + 1}", x
        yield "tanh", jnp.tanh(x)


class DCGAN(generator.Unmapped):
    """The synthesis network; a code is z itself."""

    def __init__(self, config: DCGANConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.synthesis = Synthesis(config, rngs=rngs)

    def mapping(self, z: jax.Array) -> jax.Array:
        """Return z [B, z_dim]."""
        return z
