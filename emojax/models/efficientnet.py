"""HSEmotion's EfficientNet: maps face pictures to emotion logits.

TensorFlow's "same" padding, BatchNorm with epsilon 1e-3, swish; the hidden width of a
squeeze-excite layer is a quarter of its block's *input* channels.

Source: timm `models/efficientnet.py`, `tf_efficientnet_b0_ns` and `tf_efficientnet_b2_ns`, as
pickled in av-savchenko/hsemotion's `enet_b0_8_best_vgaf.pt` and its siblings.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from flax import nnx

from emojax.nn.conv_norm import ConvNorm

EIGHT = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")
SEVEN = tuple(name for name in EIGHT if name != "Contempt")
VALENCE_AROUSAL = ("Valence", "Arousal")
"""What the `va_mtl` networks tell beside the classes, in this order: two linear outputs, regressed
on AffectNet's labels in [-1, 1], which may leave that range a little."""

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet's, of RGB values in [0, 1]: what the networks' input is normalised by."""

STAGES = (  # kernel, stride, expansion, channels, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


@dataclasses.dataclass(frozen=True)
class EmotionConfig:
    """Dimensions of the network; the defaults are those of `enet_b0_8`.

    Attributes:
        width: multiplier of the channels.
        depth: multiplier of the number of blocks in each stage.
        size: side of the square input in pixels.
        classes: names of the logits, in the published order.
        valence_arousal: two more outputs, valence and arousal, follow the logits (`va_mtl` files).
    """

    width: float = 1.0
    depth: float = 1.0
    size: int = 224
    classes: tuple[str, ...] = EIGHT
    valence_arousal: bool = False

    @classmethod
    def b0(cls, **changes: Any) -> "EmotionConfig":
        """Return EfficientNet-B0 at 224 pixels."""
        return cls(**changes)

    @classmethod
    def b2(cls, **changes: Any) -> "EmotionConfig":
        """Return EfficientNet-B2 at 260 pixels."""
        return cls(width=1.1, depth=1.2, size=260, **changes)

    @property
    def regressed(self) -> tuple[str, ...]:
        """Names of the outputs that follow the logits."""
        return VALENCE_AROUSAL if self.valence_arousal else ()

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of everything that the network tells of a face, in lower case and in order."""
        return tuple(name.lower() for name in (*self.classes, *self.regressed))

    @property
    def outputs(self) -> int:
        """Number of outputs of the last layer."""
        return len(self.scores)

    def channels(self, base: int) -> int:
        """Scale B0's channels to the nearest multiple of 8, but not below 0.9, as timm does."""
        scaled = base * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded


class Gate(nnx.Module):
    """Squeeze-excite: scale channels by a gate of the channel means."""

    def __init__(self, channels: int, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.reduce = nnx.Linear(channels, hidden, rngs=rngs)
        self.expand = nnx.Linear(hidden, channels, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,C] to [B,H,W,C]."""
        hidden = jax.nn.silu(self.reduce(x.mean((1, 2))))
        return x * jax.nn.sigmoid(self.expand(hidden))[:, None, None]


class Block(nnx.Module):
    """Inverted residual block: expansion, depthwise convolution, squeeze-excite and projection.

    Source: timm `InvertedResidual`; with an expansion of 1, `DepthwiseSeparableConv`.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, *, rngs: nnx.Rngs
    ) -> None:
        inner = inputs * expansion
        silu = jax.nn.silu
        self.expand = (
            None if expansion == 1 else ConvNorm(inputs, inner, activation=silu, rngs=rngs)
        )
        self.filter = ConvNorm(
            inner, inner, kernel, stride=stride, depthwise=True, activation=silu, rngs=rngs
        )
        self.gate = Gate(inner, inputs // 4, rngs=rngs)
        self.project = ConvNorm(inner, outputs, rngs=rngs)
        self.residual = stride == 1 and inputs == outputs

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,I] to [B,H/stride,W/stride,O]."""
        y = self.expand(x) if self.expand else x
        y = self.project(self.gate(self.filter(y)))
        return x + y if self.residual else y


class EmotionNet(nnx.Module):
    """EfficientNet from normalised pictures to logits."""

    def __init__(self, config: EmotionConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        inputs = config.channels(32)
        self.stem = ConvNorm(3, inputs, 3, stride=2, activation=jax.nn.silu, rngs=rngs)
        self.stages = nnx.List([])
        for kernel, stride, expansion, base, count in STAGES:
            outputs, stage = config.channels(base), nnx.List([])
            for index in range(math.ceil(count * config.depth)):
                step = stride if index == 0 else 1
                stage.append(Block(inputs, outputs, kernel, step, expansion, rngs=rngs))
                inputs = outputs
            self.stages.append(stage)
        self.head = ConvNorm(inputs, config.channels(1280), activation=jax.nn.silu, rngs=rngs)
        self.classifier = nnx.Linear(config.channels(1280), config.outputs, rngs=rngs)

    def features(self, x: jax.Array) -> jax.Array:
        """Return the pooled features [B,C], the classifier's input (B0: C = 1280, B2: 1408).

        Args:
            x: [B,H,W,3], normalised by ImageNet's mean and standard deviation; the network was
                trained on H = W = `config.size`.
        """
        return self.head(self.stages_of(x)[-1]).mean((1, 2))

    def stages_of(self, x: jax.Array) -> list[jax.Array]:
        """Return the output [B,h,w,C] of the stem and of every stage; arguments as `features`."""
        found = [self.stem(x)]
        for stage in self.stages:
            x = found[-1]
            for block in stage:
                x = block(x)
            found.append(x)
        return found

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return [B, config.outputs]: logits, then valence and arousal if configured."""
        return self.classifier(self.features(x))
