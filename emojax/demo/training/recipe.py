"""What the demo world's networks are made of, and how long each is trained."""

import dataclasses
from typing import Final

from emojax.demo.batches import ATTRIBUTES, TARGETS
from emojax.demo.drawing.expressions import EMOTIONS
from emojax.demo.drawing.factors import LATENT_SIZE
from emojax.models.efficientnet import EmotionConfig
from emojax.models.hyperstyle import HypernetConfig
from emojax.models.psp import EncoderConfig
from emojax.models.stylegan2 import GeneratorConfig

STYLE: Final = 96


@dataclasses.dataclass(frozen=True)
class Length:
    """How long one stage lasts.

    Attributes:
        steps: updates.
        batch: faces in each.
        rate: the highest learning rate.
    """

    steps: int
    batch: int
    rate: float


@dataclasses.dataclass(frozen=True)
class Profile:
    """One size of world: its networks, and the length of each stage by name."""

    name: str
    resolution: int
    channels: tuple[int, ...]
    lengths: dict[str, Length]

    @property
    def generator(self) -> GeneratorConfig:
        """StyleGAN2 with one z entry a latent entry."""
        return GeneratorConfig(channels=self.channels, style_dim=STYLE, z_dim=LATENT_SIZE, n_mlp=4)

    @property
    def psp(self) -> EncoderConfig:
        """PSp's encoder to W+."""
        return self._encoder("gradual", self.generator.n_latent)

    @property
    def w_encoder(self) -> EncoderConfig:
        """HyperStyle's encoder to W."""
        return self._encoder("w", 1)

    @property
    def trunk(self) -> EncoderConfig:
        """What teaches the encoders' trunk: "w" with targets in the place of a code."""
        config = self._encoder("w", 0)
        return dataclasses.replace(config, n_styles=1, style_dim=len(TARGETS))

    def _encoder(self, architecture: str, average_rows: int) -> EncoderConfig:
        return EncoderConfig(
            architecture,
            n_styles=self.generator.n_latent,
            style_dim=STYLE,
            average_rows=average_rows,
            resolution=self.resolution,
            stem=16,
            widths=(32, 64, 96, 128),
            units=(1, 1, 2, 1),
        )

    @property
    def hyperstyle(self) -> HypernetConfig:
        """HyperStyle's hypernetwork over every 3x3 convolution."""
        count = self.generator.n_deltas
        return HypernetConfig(
            layers=tuple(i for i in range(count) if i % 3 != 1),
            n_deltas=count,
            channels=self.channels,
            resolution=self.resolution,
            widths=(16, 32, 48, 64),
            units=(1, 1, 2, 1),
            shared_width=32,
            separate_width=48,
        )

    @property
    def emotion(self) -> EmotionConfig:
        """The classifier of emotions."""
        return self._efficientnet(tuple(name.capitalize() for name in EMOTIONS))

    @property
    def attributes(self) -> EmotionConfig:
        """The world's own judge: identity factors and action units."""
        return self._efficientnet(ATTRIBUTES)

    @property
    def features(self) -> EmotionConfig:
        """What the demo's Fréchet distance is measured in: the pooled features of a network that
        was taught attributes and emotions.
        """
        return self._efficientnet(TARGETS)

    def _efficientnet(self, outputs: tuple[str, ...]) -> EmotionConfig:
        return EmotionConfig(width=0.35, depth=0.35, size=64, classes=outputs)


PROFILES: Final = {
    "cpu": Profile(
        "cpu",
        64,
        (128, 128, 128, 64, 32),
        {
            "mapping": Length(8_000, 256, 1e-2),
            "coarse": Length(4_200, 32, 1.5e-2),
            "generator": Length(2_800, 32, 1.2e-2),
            "emotion": Length(3_600, 64, 4e-3),
            "psp": Length(2_400, 24, 2e-3),
            "w_encoder": Length(900, 24, 2e-3),
            "hyperstyle": Length(3_000, 8, 1e-3),
            "attributes": Length(2_400, 64, 4e-3),
            "features": Length(600, 64, 4e-3),
            "trunk": Length(2_000, 64, 2e-3),
        },
    ),
    "gpu": Profile(
        "gpu",
        128,
        (128, 128, 128, 64, 32, 16),
        {
            "mapping": Length(8_000, 512, 1e-2),
            "coarse": Length(5_000, 64, 1.5e-2),
            "generator": Length(3_200, 64, 1.2e-2),
            "emotion": Length(2_500, 128, 4e-3),
            "psp": Length(2_500, 64, 2e-3),
            "w_encoder": Length(1_500, 64, 2e-3),
            "hyperstyle": Length(2_500, 16, 1e-3),
            "attributes": Length(1_600, 128, 4e-3),
            "features": Length(800, 128, 4e-3),
            "trunk": Length(1_500, 128, 2e-3),
        },
    ),
}
"""By name: "cpu" for two Zen 5 cores in an hour and a half, "gpu" for twenty minutes of one GPU.

The second has not been run from end to end. Its lengths come of an H200's time for a step, 70 ms of
the generator, mostly drawing, and 36 ms of pSp, and for compiling a stage, about 40 seconds.
"""
