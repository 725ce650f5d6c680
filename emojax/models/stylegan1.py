"""StyleGAN's generator: mapping network, and synthesis by adaptive instance normalisation.

Sources: genforce/genforce `models/stylegan_generator.py` and genforce/interfacegan
`models/stylegan_generator_model.py`, lernapparat's notebook (all three of NVIDIA's weights), and
rosinality/style-based-gan-pytorch `model.py`, a training of its own. These are three functions,
whose differences are listed in `Arithmetic`.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.models import generator
from emojax.models.generator import Noise
from emojax.nn import transposed_conv
from emojax.nn import window as windows
from emojax.nn.conv import conv
from emojax.nn.layers import SQRT2, EqualLinear, leaky_relu, pixel_norm

Variant = Literal["nvidia", "lernapparat", "rosinality"]

FUSED_FROM = 128
"""Resolution from which on upsampling and convolution are one transposed convolution."""


class Arithmetic(NamedTuple):
    """What the published networks compute differently.

    Attributes:
        epsilon: added to the variance by instance normalisation.
        lr_mlp: learning-rate multiplier of the mapping network.
        gain: of the styles' and ToRGB's weights; that of the convolutions is √2.
        one: added to the scale that a style gives.
        fused: factor of the transposed convolutions' kernels, sums of four shifts.
        in_conv: the bias belongs to the convolution, before blur and noise; the constant has none.
        noise_gain: noise strengths are multiplied by √(2 / channels).
        one_noise: the two layers of a resolution share a noise picture.
    """

    epsilon: float = 1e-8
    lr_mlp: float = 0.01
    gain: float = 1.0
    one: float = 1.0
    fused: float = 1.0
    in_conv: bool = False
    noise_gain: bool = False
    one_noise: bool = False


ARITHMETIC: dict[Variant, Arithmetic] = {
    "nvidia": Arithmetic(),
    "lernapparat": Arithmetic(epsilon=1e-5),
    "rosinality": Arithmetic(1e-5, 1.0, SQRT2, 0.0, 0.25, True, True, True),
}


@dataclasses.dataclass(frozen=True)
class StyleGAN1Config:
    """Dimensions of a generator, and which published function it computes.

    Attributes:
        channels: feature maps at 4², 8², ... up to the size of the picture.
        variant: see `Arithmetic`.
        style_dim: length D of w.
        z_dim: length of z.
        n_mlp: layers of the mapping network.
    """

    channels: tuple[int, ...]
    variant: Variant = "nvidia"
    style_dim: int = 512
    z_dim: int = 512
    n_mlp: int = 8

    @property
    def arithmetic(self) -> Arithmetic:
        """What this variant computes."""
        return ARITHMETIC[self.variant]

    @property
    def size(self) -> int:
        """Height and width of the picture in pixels."""
        return 4 * 2 ** (len(self.channels) - 1)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The full size only: lower ToRGB layers were trained with other features below them."""
        return (self.size,)

    @property
    def n_latent(self) -> int:
        """Number of style vectors L of a W+ code: 18 at 1024²."""
        return 2 * len(self.channels)

    @property
    def noise_sizes(self) -> tuple[int, ...]:
        """Resolution of each noise picture."""
        each = 1 if self.arithmetic.one_noise else 2
        return tuple(4 * 2**i for i in range(len(self.channels)) for _ in range(each))

    @property
    def truncates(self) -> bool:
        """Whether there is a mean code that codes can be drawn nearer to."""
        return True


class Layer(nnx.Module):
    """Convolution, blur, noise, bias, leaky ReLU and adaptive instance normalisation.

    The first layer has no convolution, and every second one after it doubles the resolution.
    """

    def __init__(
        self, config: StyleGAN1Config, index: int, inputs: int, outputs: int, *, rngs: nnx.Rngs
    ) -> None:
        self.arithmetic, self.index = config.arithmetic, index
        if index:
            self.weight = nnx.Param(jax.random.normal(rngs.params(), (3, 3, inputs, outputs)))
        if index or not self.arithmetic.in_conv:
            self.bias = nnx.Param(jnp.zeros((outputs,)))
        self.noise_strength = nnx.Param(jnp.zeros((outputs,)))
        gain = self.arithmetic.gain
        self.style = EqualLinear(config.style_dim, 2 * outputs, gain=gain, rngs=rngs)

    def __call__(self, x: jax.Array, w: jax.Array, noise: jax.Array | None) -> jax.Array:
        """Map x [B, H, W, I] with codes w [B, D] to [B, H', W', O]; noise is broadcast to that."""
        rules, channels = self.arithmetic, self.noise_strength.shape[0]
        x = self.convolved(x) if self.index else x
        if noise is not None:
            gain = np.float32(np.sqrt(2 / channels) if rules.noise_gain else 1.0)
            x = x + self.noise_strength[...] * gain * noise
        if not rules.in_conv:
            x = x + self.bias[...]
        return self.modulated(leaky_relu(x, gain=1.0), w)

    def convolved(self, x: jax.Array) -> jax.Array:
        """Convolve [B, H, W, I], with upsampling and blur in every second layer."""
        inputs, inside = x.shape[-1], self.arithmetic.in_conv
        kernel = self.weight[...] * np.float32(SQRT2 / np.sqrt(9 * inputs))
        bias = self.bias[...] if inside else np.float32(0)
        if self.index % 2:
            return conv(x, kernel, padding=1) + bias
        if 2 * x.shape[1] >= FUSED_FROM:
            kernel = transposed_conv.fused_kernel(kernel) * np.float32(self.arithmetic.fused)
        else:
            kernel = transposed_conv.nearest_kernel(kernel)
        phases = transposed_conv.phases(x, kernel)
        if inside:
            phases = jax.tree.map(lambda part: part + bias, phases)
        return transposed_conv.interleaved(transposed_conv.blurred(phases))

    def modulated(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Normalise each feature map of x [B, H, W, C], then scale and shift it as w says."""
        scale, shift = jnp.split(self.style(w)[:, None, None], 2, axis=-1)
        x = x - _mean(x)
        root = jax.lax.rsqrt(_mean(jnp.square(x)) + self.arithmetic.epsilon)
        return x * (root * (scale + self.arithmetic.one)) + shift


def _mean(x: jax.Array) -> jax.Array:
    """Return the mean over each feature map; rows first, which sums a million values exactly."""
    return x.mean(2, keepdims=True).mean(1, keepdims=True)


class ToRGB(nnx.Module):
    """1x1 convolution to RGB."""

    def __init__(self, config: StyleGAN1Config, *, rngs: nnx.Rngs) -> None:
        inputs = config.channels[-1]
        self.scale = config.arithmetic.gain / np.sqrt(inputs)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (inputs, 3)))
        self.bias = nnx.Param(jnp.zeros((3,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B, H, W, C] to [B, H, W, 3]."""
        return x @ (self.weight[...] * np.float32(self.scale)) + self.bias[...]


class Mapping(nnx.Module):
    """Mapping network: normalisation of z to unit mean square, then `n_mlp` layers."""

    def __init__(self, config: StyleGAN1Config, *, rngs: nnx.Rngs) -> None:
        widths = [config.z_dim] + [config.style_dim] * config.n_mlp
        lr_mul = config.arithmetic.lr_mlp
        self.layers = nnx.List(
            EqualLinear(a, b, lr_mul=lr_mul, gain=SQRT2, rngs=rngs)
            for a, b in itertools.pairwise(widths)
        )

    def __call__(self, z: jax.Array) -> jax.Array:
        """Map z [B, z_dim] to w [B, D]."""
        return list(self.trace(z))[-1]

    def trace(self, z: jax.Array) -> Iterator[jax.Array]:
        """Yield the output [B, D] of every layer."""
        x = pixel_norm(z)
        for layer in self.layers:
            x = leaky_relu(layer(x), gain=1.0)
            yield x


class Synthesis(nnx.Module):
    """Synthesis network: two layers at each of the doubling resolutions, then ToRGB."""

    def __init__(self, config: StyleGAN1Config, *, rngs: nnx.Rngs) -> None:
        self.config = config
        channels = [width for width in config.channels for _ in range(2)]
        self.const = nnx.Param(jax.random.normal(rngs.params(), (4, 4, channels[0])))
        self.layers = nnx.List(
            Layer(config, i, channels[max(0, i - 1)], width, rngs=rngs)
            for i, width in enumerate(channels)
        )
        self.noise = nnx.List(  # constant pictures
            nnx.Param(jax.random.normal(rngs.params(), (size, size))) for size in config.noise_sizes
        )
        self.to_rgb = ToRGB(config, rngs=rngs)

    def __call__(
        self,
        w_plus: jax.Array,
        *,
        noise: Noise = "const",
        resolution: int | None = None,
        window: windows.Box | None = None,
    ) -> jax.Array:
        """Synthesise pictures.

        Args:
            w_plus: [B, L, D] codes in W+.
            noise: "const" for the stored noise, "none", or an array [B or 1, r, r, 1] for each of
                `config.noise_sizes`.
            resolution: the full size; there is no other.
            window: top, bottom, left, right of the part to return; all of each feature map is
                computed in any case, since normalisation needs it.

        Returns:
            [B, h, w, 3] float32, about [-1, 1] and not clipped.
        """
        generator.check(self.config, w_plus, noise, resolution)
        *_, x = self.trace(w_plus, noise=noise)
        if window:
            x = windows.cut(x, window, (0, self.config.size, 0, self.config.size))
        return self.to_rgb(x)

    def trace(self, w_plus: jax.Array, *, noise: Noise = "const") -> Iterator[jax.Array]:
        """Yield the output of every layer [B, H, W, C]; arguments as for `__call__`."""
        x = jnp.broadcast_to(self.const[...], (w_plus.shape[0], *self.const.shape))
        for i, layer in enumerate(self.layers):
            x = layer(x, w_plus[:, i], self._noise_of(i, noise))
            yield x

    def _noise_of(self, layer: int, noise: Noise) -> jax.Array | None:
        """Return the noise [1 or B, h, w, 1] of a layer."""
        index = layer // 2 if self.config.arithmetic.one_noise else layer
        if noise == "none":
            return None
        if isinstance(noise, str):
            return self.noise[index][...][None, :, :, None]
        return noise[index]


class StyleGAN1(generator.Mapped):
    """Mapping network, synthesis network and the mean latent `latent_avg` [D]."""

    def __init__(self, config: StyleGAN1Config, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.mapping = Mapping(config, rngs=rngs)
        self.synthesis = Synthesis(config, rngs=rngs)
        self.latent_avg = nnx.Variable(jnp.zeros((config.style_dim,)))
