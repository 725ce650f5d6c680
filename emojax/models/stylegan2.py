"""StyleGAN2's generator: a mapping network from z to w and a synthesis network from W+ to pictures.

Sources: rosinality/stylegan2-pytorch `model.py` and NVlabs/stylegan2-ada-pytorch
`training/networks.py`, which are the same network with different parameter names;
yuval-alaluf/hyperstyle `models/stylegan2/model.py` for the weight offsets.
"""

import collections.abc
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.models import fused_synthesis, generator
from emojax.models.generator import Noise
from emojax.nn import window as windows
from emojax.nn.layers import EqualLinear, leaky_relu, pixel_norm
from emojax.nn.modulated_conv import modulated_conv, upsample

After = collections.abc.Mapping[int, Callable[[jax.Array], jax.Array]]
"""Changes of features [B,H,W,C] by the number of the styled convolution that they follow."""


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Dimensions and precision of a generator.

    Attributes:
        channels: feature maps at 4², 8², ... up to the size of the picture.
        style_dim: length D of w.
        z_dim: length of z.
        n_mlp: layers of the mapping network.
        lr_mlp: learning-rate multiplier of the mapping network; its weights are stored divided by
            it.
        conv_clamp: NVlabs' limit on the output of every convolution, or None.
        bfloat16_from: resolution from which on blocks compute in bfloat16; None for float32.
    """

    channels: tuple[int, ...]
    style_dim: int = 512
    z_dim: int = 512
    n_mlp: int = 8
    lr_mlp: float = 0.01
    conv_clamp: float | None = None
    bfloat16_from: int | None = None

    @classmethod
    def published(cls, size: int, *, channel_base: int = 32768) -> "GeneratorConfig":
        """Return the published dimensions: channel_base/resolution feature maps, at most 512.

        A `channel_base` of 32768 is rosinality's channel multiplier 2 and NVlabs' config-f, 16384
        is multiplier 1.
        """
        resolutions = [4 * 2**i for i in range(int(np.log2(size)) - 1)]
        return cls(channels=tuple(min(512, channel_base // r) for r in resolutions))

    @property
    def size(self) -> int:
        """Height and width of the picture in pixels."""
        return 4 * 2 ** (len(self.channels) - 1)

    @property
    def n_latent(self) -> int:
        """Number of style vectors L of a W+ code: 18 at 1024²."""
        return 2 * len(self.channels)

    @property
    def n_deltas(self) -> int:
        """Number of convolutions including ToRGB, as HyperStyle counts them: 26 at 1024²."""
        return 3 * len(self.channels) - 1

    @property
    def noise_sizes(self) -> tuple[int, ...]:
        """Resolution of the noise of each styled convolution."""
        return tuple(4 * 2 ** ((i + 1) // 2) for i in range(2 * len(self.channels) - 1))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sizes of the intermediate pictures, rising; the last is `size`."""
        return tuple(4 * 2**i for i in range(len(self.channels)))

    @property
    def truncates(self) -> bool:
        """Whether there is a mean code that codes can be drawn nearer to."""
        return True

    def dtype_at(self, resolution: int) -> np.dtype:
        """Return the dtype of the convolutions at a resolution."""
        half = self.bfloat16_from is not None and resolution >= self.bfloat16_from
        return jnp.dtype(jnp.bfloat16 if half else jnp.float32)


class StyledConv(nnx.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU times √2 and clamp."""

    def __init__(
        self,
        config: GeneratorConfig,
        inputs: int,
        outputs: int,
        size: int,
        *,
        up: bool,
        rngs: nnx.Rngs,
    ) -> None:
        self.up, self.clamp = up, config.conv_clamp
        self.modulation = EqualLinear(config.style_dim, inputs, bias=1.0, rngs=rngs)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (3, 3, inputs, outputs)))
        self.noise = nnx.Param(jax.random.normal(rngs.params(), (size, size)))  # constant picture
        self.noise_strength = nnx.Param(jnp.zeros(()))
        self.bias = nnx.Param(jnp.zeros((outputs,)))

    def __call__(
        self, x: jax.Array, w: jax.Array, noise: jax.Array | None, delta: jax.Array | None
    ) -> jax.Array:
        """Map x [B, H, W, I] with style w [B, D] to [B, H', W', O]; noise is broadcast to that."""
        y = modulated_conv(x, self.weight[...], self.modulation(w), up=self.up, delta=delta)
        if noise is not None:
            y = y + self.noise_strength[...] * noise
        return _clamped(leaky_relu(y + self.bias[...]), self.clamp).astype(x.dtype)


class ToRGB(nnx.Module):
    """Modulated 1x1 convolution to float32 RGB, without demodulation."""

    def __init__(self, config: GeneratorConfig, inputs: int, *, rngs: nnx.Rngs) -> None:
        self.clamp = config.conv_clamp
        self.modulation = EqualLinear(config.style_dim, inputs, bias=1.0, rngs=rngs)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (1, 1, inputs, 3)))
        self.bias = nnx.Param(jnp.zeros((3,)))

    def __call__(self, x: jax.Array, w: jax.Array, delta: jax.Array | None) -> jax.Array:
        """Map x [B, H, W, I] with style w [B, D] to [B, H, W, 3]."""
        kernel = self.kernel(w, delta).astype(x.dtype)
        rgb = jnp.einsum("bhwi,bio->bhwo", x, kernel, preferred_element_type=jnp.float32)
        return _clamped(rgb + self.bias[...], self.clamp)

    def kernel(self, w: jax.Array, delta: jax.Array | None) -> jax.Array:
        """Return the modulated kernels [B, I, 3] of codes w [B, D]."""
        kernel = self.weight[...]
        if delta is not None:
            kernel = kernel * (1 + delta)
        inputs = kernel.shape[-2]
        style = self.modulation(w) * np.float32(1 / np.sqrt(inputs))
        return kernel.reshape(-1, inputs, 3) * style[:, :, None]


class Mapping(nnx.Module):
    """Mapping network: normalisation of z to unit mean square, then `n_mlp` layers."""

    def __init__(self, config: GeneratorConfig, *, rngs: nnx.Rngs) -> None:
        widths = [config.z_dim] + [config.style_dim] * config.n_mlp
        self.layers = nnx.List(
            EqualLinear(a, b, lr_mul=config.lr_mlp, rngs=rngs)
            for a, b in itertools.pairwise(widths)
        )

    def __call__(self, z: jax.Array) -> jax.Array:
        """Map z [B, z_dim] to w [B, D]."""
        x = pixel_norm(z)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x


class Synthesis(nnx.Module):
    """Synthesis network: blocks of doubling resolution with RGB skip connections."""

    def __init__(self, config: GeneratorConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        channels, sizes = config.channels, config.noise_sizes
        self.const = nnx.Param(jax.random.normal(rngs.params(), (4, 4, channels[0])))
        convs = [StyledConv(config, channels[0], channels[0], 4, up=False, rngs=rngs)]
        for i, (before, after) in enumerate(itertools.pairwise(channels)):
            size = sizes[2 * i + 1]
            convs.append(StyledConv(config, before, after, size, up=True, rngs=rngs))
            convs.append(StyledConv(config, after, after, size, up=False, rngs=rngs))
        self.convs = nnx.List(convs)
        self.to_rgbs = nnx.List(ToRGB(config, width, rngs=rngs) for width in channels)

    def __call__(
        self,
        w_plus: jax.Array,
        *,
        noise: Noise = "const",
        deltas: Sequence[jax.Array | None] | None = None,
        after: After | None = None,
        resolution: int | None = None,
        window: windows.Box | None = None,
    ) -> jax.Array:
        """Synthesise pictures.

        Args:
            w_plus: [B, L, D] codes in W+.
            noise: "const" for the stored noise, "none", or an array for each styled convolution,
                [B or 1, r, r, 1] (see `draw_noise`).
            deltas: HyperStyle's relative weight offsets, `n_deltas` entries (conv1, to_rgb1, then
                two convolutions and a to_rgb for each block), each None or [(B,) k, k, I, O].
            after: functions of the features after styled convolutions, by their numbers in
                `convs`; what they return goes on. Not with a window.
            resolution: return the skip connection's picture at this resolution. Default: the full
                size.
            window: top, bottom, left, right of the part to compute, in pixels at `resolution`.
                Default: all.

        Returns:
            [B, h, w, 3] float32, about [-1, 1] and not clipped; h = w = resolution without window.
        """
        config, size = self.config, resolution or self.config.size
        options: Any = {"noise": noise, "deltas": deltas}
        first = config.bfloat16_from or 2 * size  # never without bfloat16
        if not after and fused_synthesis.fits(config.channels) and size >= max(8, first):
            before = dict(self.trace(w_plus, resolution=max(4, first // 2), **options))
            deltas = [None] * config.n_deltas if deltas is None else deltas
            noises = [_noise_of(conv, noise, i) for i, conv in enumerate(self.convs)]
            box = window or (0, size, 0, size)
            return fused_synthesis.synthesise(self, w_plus, before, noises, deltas, size, box)
        picture, options["after"] = None, after
        for name, x in self.trace(w_plus, resolution=resolution, window=window, **options):
            picture = x if name.startswith("skips") else picture
        assert picture is not None  # every resolution has a skip connection
        return picture

    def trace(
        self,
        w_plus: jax.Array,
        *,
        noise: Noise = "const",
        deltas: Sequence[jax.Array | None] | None = None,
        after: After | None = None,
        resolution: int | None = None,
        window: windows.Box | None = None,
    ) -> Iterator[tuple[str, jax.Array]]:
        """Yield (name, array) of every layer: `convs.i`, `to_rgbs.i`, and their sums `skips.i`.

        What a function of `after` makes of `convs.i` follows it as `after.i`.

        Arguments are those of `__call__`. `convs.0` is rosinality's conv1; NVlabs' block i, of
        resolution 4·2^i, contains convs 2i-1 and 2i. With a window, arrays cover what the next
        block reads and some pixels around it, and the last sum is cut to the window.
        """
        config = self.config
        _check(config, w_plus, noise, deltas, resolution)
        if after and (window or max(after) >= len(self.convs)):
            raise ValueError(f"after has {sorted(after)}: wanted numbers of convs, and no window")
        deltas = [None] * config.n_deltas if deltas is None else deltas
        x = jnp.broadcast_to(self.const[...], (w_plus.shape[0], *self.const.shape))
        skip, box = None, (0, 4, 0, 4)
        last = resolution or config.size
        held = windows.held(last, window or (0, last, 0, last))
        for i, to_rgb in enumerate(self.to_rgbs):
            size = 4 * 2**i
            if size > last:
                return
            if skip is not None:
                box, within = windows.doubled(held[size // 2]), box
                x = windows.cut(x, held[size // 2], within)
                skip = windows.cut(skip, held[size // 2], within)
            x = x.astype(config.dtype_at(size))
            for j in (0,) if i == 0 else (2 * i - 1, 2 * i):
                added = _noise_of(self.convs[j], noise, j, box)
                x = self.convs[j](x, w_plus[:, j], added, deltas[j + (j + 1) // 2])
                yield f"convs.{j}", x
                if after and j in after:
                    x = after[j](x).astype(x.dtype)
                    yield f"after.{j}", x
            rgb = to_rgb(x, w_plus[:, 2 * i + 1], deltas[3 * i + 1])
            yield f"to_rgbs.{i}", rgb
            skip = rgb if skip is None else upsample(skip) + rgb
            skip = windows.cut(skip, window, box) if window and size == last else skip
            yield f"skips.{i}", skip


class Generator(generator.Mapped):
    """Mapping network, synthesis network and the mean latent `latent_avg` [D]."""

    def __init__(self, config: GeneratorConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.mapping = Mapping(config, rngs=rngs)
        self.synthesis = Synthesis(config, rngs=rngs)
        self.latent_avg = nnx.Variable(jnp.zeros((config.style_dim,)))


def mix(first: jax.Array, second: jax.Array, index: int) -> jax.Array:
    """Mix styles: layers before `index` of the first W+ code, the others of the second."""
    return jnp.concatenate([first[:, :index], second[:, index:]], 1)


def _noise_of(
    conv: StyledConv, noise: Noise, index: int, box: windows.Box | None = None
) -> jax.Array | None:
    """Return the noise [1 or B, h, w, 1] of a styled convolution, cut to a box."""
    if noise == "none":
        return None
    chosen = conv.noise[...][None, :, :, None] if isinstance(noise, str) else noise[index]
    side = chosen.shape[1]
    return windows.cut(chosen, box, (0, side, 0, side)) if box else chosen


def _clamped(x: jax.Array, limit: float | None) -> jax.Array:
    return x if limit is None else jnp.clip(x, -limit, limit)


def _check(
    config: GeneratorConfig,
    w_plus: jax.Array,
    noise: Noise,
    deltas: Sequence[jax.Array | None] | None,
    resolution: int | None,
) -> None:
    """Raise ValueError if an argument does not fit the generator."""
    generator.check(config, w_plus, noise, resolution)
    if deltas is not None and len(deltas) != config.n_deltas:
        raise ValueError(f"deltas has {len(deltas)} entries, wanted {config.n_deltas}")
