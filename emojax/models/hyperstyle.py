"""HyperStyle's hypernetwork: maps a picture and its reconstruction to generator weight offsets.

Source: Alaluf et al. 2022, yuval-alaluf/hyperstyle `models/hypernetworks/`. All shapes are NHWC.

The offset of a kernel is an affine function of the last LeakyReLU's output, so the network is split
there: `Hypernet` predicts one 512-vector for each refined layer, and `Hypernet.deltas` maps vectors
to weight offsets. The offsets of several passes add up, and so do the vectors if the bias is
counted once for each pass: sum_i (A v_i + b) = A (sum_i v_i) + n b.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.models import irse
from emojax.nn.layers import EqualLinear, leaky_relu

SHARED = (0, 2, 3, 5, 6, 8, 9, 11, 12)
"""Generator layers of 512 to 512 channels, whose offsets the shared hypernetwork predicts."""
SLOPE = 0.01
"""PyTorch's default slope of `nn.LeakyReLU()`."""
KERNEL = 3


@dataclasses.dataclass(frozen=True)
class HypernetConfig:
    """Dimensions of the hypernetwork; the defaults are those of `hyperstyle_ffhq.pt`.

    Attributes:
        layers: indices of the refined generator layers, ascending: 0 is conv1, 2+3k and 3+3k are
            the two convolutions of block k; the ToRGB layers 1 and 4+3k cannot be refined.
        n_deltas: generator layers including ToRGB: 26 at 1024², 23 at 512², 20 at 256².
        channels: channels of the generator at 4², 8², 16², ...
        resolution: side of the input pictures in pixels.
        widths: channels of each ResNet stage; the last is also the length of a vector.
        units: residual blocks in each ResNet stage.
        shared_width: inner channels of the refinement blocks of shared layers.
        separate_width: inner channels of the other refinement blocks.
        dtype: dtype of the convolutions; vectors and weight offsets are always float32.
    """

    layers: tuple[int, ...] = (0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24)
    n_deltas: int = 26
    channels: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    resolution: int = 256
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 6, 3)
    shared_width: int = 128
    separate_width: int = 256
    dtype: str = "float32"

    def __post_init__(self) -> None:
        wrong = [i for i in self.layers if i % 3 == 1 or not 0 <= i < self.n_deltas]
        if wrong or list(self.layers) != sorted(set(self.layers)):
            raise ValueError(
                f"layers are {self.layers}, wanted ascending indices of 3x3 convolutions (not "
                f"1, 4, 7, ...) below {self.n_deltas}"
            )

    @property
    def shared(self) -> tuple[int, ...]:
        """Refined layers predicted by the shared hypernetwork; they come first in `layers`."""
        full = (self.channels[0], self.channels[0])
        return tuple(i for i in self.layers if i in SHARED and self.kernel(i) == full)

    def kernel(self, layer: int) -> tuple[int, int]:
        """Return the (input, output) channels of a generator layer by its index."""
        block = max(layer - 2, 0) // 3
        outputs = self.channels[block + 1] if layer else self.channels[0]
        return (self.channels[block] if layer % 3 == 2 else outputs), outputs


class BasicBlock(nnx.Module):
    """Residual block of two 3×3 convolutions. Source: torchvision `resnet.py`, `BasicBlock`."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, dtype: str = "float32", rngs: nnx.Rngs
    ) -> None:
        common = {"dtype": dtype, "rngs": rngs}
        self.conv1 = irse.Conv(inputs, outputs, stride=stride, bias=False, **common)
        self.norm1 = irse.batch_norm(outputs, **common)
        self.conv2 = irse.Conv(outputs, outputs, bias=False, **common)
        self.norm2 = irse.batch_norm(outputs, **common)
        changes = stride > 1 or inputs != outputs
        self.shortcut = irse.Shortcut(inputs, outputs, stride, **common) if changes else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H/stride,W/stride,O]."""
        skip = self.shortcut(x) if self.shortcut else x
        x = jax.nn.relu(self.norm1(self.conv1(x)))
        return jax.nn.relu(self.norm2(self.conv2(x)) + skip)


class SharedBlock(nnx.Module):
    """Map trunk features to the vector of one shared layer. Source: `HyperRefinementBlock`."""

    def __init__(
        self, inputs: int, inner: int, side: int, *, dtype: str = "float32", rngs: nnx.Rngs
    ) -> None:
        halvings = int(math.log2(side))
        strides = [1] + [2] * halvings
        self.convs = _convs(inputs, inner, strides, dtype=dtype, rngs=rngs)
        self.linear = EqualLinear(inputs, inputs, rngs=rngs)

    def __call__(self, features: jax.Array) -> jax.Array:
        """Map [B,s,s,C] to [B,C]."""
        return self.linear(_refine(self.convs, features)[:, 0, 0])


class SeparateBlock(nnx.Module):
    """Map trunk features to the vector of one layer, and its vector to the weight offset.

    The nine taps of a kernel share one offset. Source: `RefinementBlock`.
    """

    def __init__(
        self,
        inputs: int,
        inner: int,
        side: int,
        kernel: tuple[int, int],
        *,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        self.kernel = kernel
        strides = [2] * (int(math.log2(side)) - 1)
        self.convs = _convs(inputs, inner, strides, dtype=dtype, rngs=rngs)
        self.output = nnx.Linear(inputs, kernel[0] * kernel[1], rngs=rngs)  # [C, I·O]

    def __call__(self, features: jax.Array) -> jax.Array:
        """Map [B,s,s,C] to [B,C]."""
        return _refine(self.convs, features).mean((1, 2))

    def delta(self, vector: jax.Array, passes: jax.Array) -> jax.Array:
        """Map [..., C] to [..., 1, 1, I, O]."""
        assert self.output.bias is not None  # nnx.Linear's default has one
        change = vector @ self.output.kernel[...] + passes * self.output.bias[...]
        return change.reshape(*vector.shape[:-1], 1, 1, *self.kernel)


class SharedKernels(nnx.Module):
    """Hypernetwork common to all shared layers: two linear maps from a vector to a 3×3 kernel.

    Source: `SharedWeightsHypernet`: z w2 + b2, reshaped to [out, C], times w1, plus b1, reshaped to
    [out, in, 3, 3]. Here the columns of w1 are stored as [3, 3, in], in the order of HWIO.
    """

    def __init__(
        self, length: int, channels: int, *, dtype: str = "float32", rngs: nnx.Rngs
    ) -> None:
        self.dtype = dtype
        taps = (KERNEL, KERNEL, channels)
        key = rngs.params()
        self.w1 = nnx.Param(jax.random.normal(key, (length, *taps)) / 40)  # [C,3,3,I]
        self.b1 = nnx.Param(jnp.zeros(taps))
        self.w2 = nnx.Param(jax.random.normal(key, (length, channels, length)) / 40)  # [C,O,C]
        self.b2 = nnx.Param(jnp.zeros((channels, length)))

    def rows(self, vectors: jax.Array, passes: jax.Array) -> jax.Array:
        """Apply the first map, [..., C] to [..., O, C]."""
        return jnp.tensordot(vectors, self.w2[...], 1) + passes * self.b2[...]

    def delta(self, rows: jax.Array, passes: jax.Array) -> jax.Array:
        """Apply the second map, [..., O, C] to [..., 3, 3, I, O] in `dtype`, plus b1 in float32."""
        rows, w1 = rows.astype(self.dtype), self.w1[...].astype(self.dtype)
        kernels = jnp.einsum("...oc,chwi->...hwio", rows, w1)  # I last in memory, as cuDNN takes it
        return kernels.astype(jnp.float32) + passes * self.b1[...][..., None]


class Hypernet(nnx.Module):
    """ResNet-34 without max pooling on (picture, reconstruction), then a block per refined layer.

    Source: `SharedWeightsHyperNetResNet`.
    """

    def __init__(self, config: HypernetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        common = {"dtype": config.dtype, "rngs": rngs}
        self.conv = irse.Conv(6, config.widths[0], size=7, stride=2, bias=False, **common)
        self.norm = irse.batch_norm(config.widths[0], **common)
        self.prelu = irse.PReLU(config.widths[0])
        self.body = nnx.List(_body(config, rngs=rngs))
        self.shared = SharedKernels(config.widths[-1], config.channels[0], **common)
        self.blocks = nnx.List([_block(config, layer, rngs=rngs) for layer in config.layers])

    def __call__(self, pictures: jax.Array, reconstructions: jax.Array) -> jax.Array:
        """Return the vectors of one pass.

        Args:
            pictures: [B,R,R,3] in [-1, 1], R = `config.resolution`.
            reconstructions: what the generator makes of their current inversions, same shape and
                range.

        Returns:
            [B,T,C], one vector for each refined layer, in the order of `config.layers`.
        """
        x = jnp.concatenate([pictures, reconstructions], -1).astype(self.config.dtype)
        x = self.prelu(self.norm(self.conv(x)))
        for block in self.body:
            x = block(x)
        return jnp.stack([block(x) for block in self.blocks], 1)

    def deltas(self, vectors: jax.Array, passes: jax.Array | int) -> Sequence[jax.Array | None]:
        """Return the relative weight offsets of vectors summed over the passes.

        Args:
            vectors: [B,T,C] sums over the passes, or [T,C] for one face.
            passes: number of passes in the sums.

        Returns:
            `n_deltas` entries for `Synthesis`: None for a layer that is not refined, else
            [B,3,3,I,O], or [B,1,1,I,O] where the nine taps share one offset; without the batch axis
            when `vectors` has none. A layer's kernel becomes weight · (1 + delta).
        """
        passes = jnp.asarray(passes, vectors.dtype)
        count = len(self.config.shared)
        rows = self.shared.rows(vectors[..., :count, :], passes)  # once: w2 is 0.5 GB
        result: list[jax.Array | None] = [None] * self.config.n_deltas
        for index, (layer, block) in enumerate(zip(self.config.layers, self.blocks, strict=True)):
            if isinstance(block, SeparateBlock):
                result[layer] = block.delta(vectors[..., index, :], passes)
            else:
                result[layer] = self.shared.delta(rows[..., index, :, :], passes)
        return result


def _body(config: HypernetConfig, *, rngs: nnx.Rngs) -> list[BasicBlock]:
    blocks, inputs = [], config.widths[0]
    for stage, (width, units) in enumerate(zip(config.widths, config.units, strict=True)):
        for index in range(units):
            stride = 2 if stage and not index else 1
            blocks.append(BasicBlock(inputs, width, stride, dtype=config.dtype, rngs=rngs))
            inputs = width
    return blocks


def _block(config: HypernetConfig, layer: int, *, rngs: nnx.Rngs) -> SharedBlock | SeparateBlock:
    side, width = config.resolution // 16, config.widths[-1]
    common = {"dtype": config.dtype, "rngs": rngs}
    if layer in config.shared:
        return SharedBlock(width, config.shared_width, side, **common)
    return SeparateBlock(width, config.separate_width, side, config.kernel(layer), **common)


def _convs(
    outer: int, inner: int, strides: Sequence[int], *, dtype: str, rngs: nnx.Rngs
) -> nnx.List[irse.Conv]:
    """Return 3×3 convolutions from `outer` channels through `inner` ones back to `outer`."""
    widths = [outer, *[inner] * (len(strides) - 1), outer]
    return nnx.List(
        irse.Conv(widths[i], widths[i + 1], stride=stride, dtype=dtype, rngs=rngs)
        for i, stride in enumerate(strides)
    )


def _refine(convs: Sequence[irse.Conv], features: jax.Array) -> jax.Array:
    for conv in convs:
        features = leaky_relu(conv(features), SLOPE, 1.0)
    return features.astype(jnp.float32)
