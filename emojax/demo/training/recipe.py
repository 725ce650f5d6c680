"""Networks of the demo and the lengths of their training, by profile."""

import dataclasses
from typing import Final

from emojax.demo.batches import ATTRIBUTES, TARGETS
from emojax.demo.drawing.expressions import EMOTIONS
from emojax.demo.drawing.factors import LATENT_SIZE
from emojax.demo.training.schedule import LENGTHS, Length, ProfileName
from emojax.models.efficientnet import EmotionConfig
from emojax.models.hyperstyle import HypernetConfig
from emojax.models.psp import Architecture, EncoderConfig
from emojax.models.stylegan2 import GeneratorConfig

STYLE: Final = 96
"""Size of w."""
_FIRST_KEPT: Final = 10
"""Index of the first layer, see `HypernetConfig`, whose kernels HyperStyle keeps: 64 pixels."""
_SEEN: Final = 64
"""Largest side of the pictures that encoders and classifiers see; larger ones are made smaller, as
for the published encoders, which see 256 pixels of 1024."""


@dataclasses.dataclass(frozen=True)
class Profile:
    """Configs of the networks at one resolution, and the lengths of the stages.

    Attributes:
        name: of the profile.
        resolution: side of the generator's pictures.
        channels: of the generator, from 4x4 on.
        lengths: by stage.
    """

    name: ProfileName
    resolution: int
    channels: tuple[int, ...]
    lengths: dict[str, Length]

    @property
    def generator(self) -> GeneratorConfig:
        """StyleGAN2 generator whose z is a latent of the drawn faces."""
        return GeneratorConfig(channels=self.channels, style_dim=STYLE, z_dim=LATENT_SIZE, n_mlp=4)

    @property
    def seen(self) -> int:
        """Side of the pictures that encoders and classifiers see."""
        return min(self.resolution, _SEEN)

    @property
    def psp(self) -> EncoderConfig:
        """Encoder to W+ of pSp."""
        return self._encoder("gradual", self.generator.n_latent)

    @property
    def w_encoder(self) -> EncoderConfig:
        """Encoder to W of HyperStyle."""
        return self._encoder("w", 1)

    @property
    def trunk(self) -> EncoderConfig:
        """Encoder "w" with regression targets in place of a code, which pretrains the trunk."""
        config = self._encoder("w", 0)
        return dataclasses.replace(config, n_styles=1, style_dim=len(TARGETS))

    def _encoder(self, architecture: Architecture, average_rows: int) -> EncoderConfig:
        return EncoderConfig(
            architecture,
            n_styles=self.generator.n_latent,
            style_dim=STYLE,
            average_rows=average_rows,
            resolution=self.seen,
            stem=16,
            widths=(32, 64, 96, 128),
            units=(1, 1, 2, 1),
        )

    @property
    def hyperstyle(self) -> HypernetConfig:
        """Hypernetwork of HyperStyle over the 3x3 convolutions up to 32 pixels.

        Changed kernels of finer layers blur: a soft outline costs less than one a pixel off.
        """
        count = self.generator.n_deltas
        return HypernetConfig(
            layers=tuple(i for i in range(count) if i % 3 != 1 and i < _FIRST_KEPT),
            n_deltas=count,
            channels=self.channels,
            resolution=self.seen,
            widths=(24, 48, 72, 96),
            units=(1, 1, 2, 1),
            shared_width=48,
            separate_width=64,
        )

    @property
    def emotion(self) -> EmotionConfig:
        """Emotion classifier."""
        return self._efficientnet(tuple(name.capitalize() for name in EMOTIONS))

    @property
    def attributes(self) -> EmotionConfig:
        """Attribute regressor, for evaluation only: identity factors and action units."""
        return self._efficientnet(ATTRIBUTES)

    @property
    def features(self) -> EmotionConfig:
        """Network whose features stand in for Inception's, and in training for those of LPIPS."""
        return self._efficientnet(TARGETS)

    def _efficientnet(self, outputs: tuple[str, ...]) -> EmotionConfig:
        return EmotionConfig(width=0.35, depth=0.35, size=_SEEN, classes=outputs)


_CHANNELS: Final = (128, 128, 128, 96, 48, 24)
"""Of a generator of 128 px."""
PROFILES: Final[dict[ProfileName, Profile]] = {
    name: Profile(name, 128, _CHANNELS, lengths) for name, lengths in LENGTHS.items()
}
"""By name."""
