"""The network in whose features distances between pictures are measured.

Published Fréchet distances (FID) are measured in Inception's features. A bundle without Inception
may have a network of its own for it, `features`, such as the demo's; distances in its features are
no FID and compare with each other only.
"""

import dataclasses
import hashlib
from typing import Any

import jax

from emojax.metrics.features import FeatureExtractor, inception_features
from emojax.models.efficientnet import DEVIATION, MEAN, EmotionNet
from emojax.nn.resize import clean_resize
from emojax.runtime.errors import UserError
from emojax.store.bundle import Bundle
from emojax.store.parts import FEATURES, INCEPTION, Part

RESIZING = "clean-1"
"""Part of every fingerprint; changes when the same picture would give other features."""


@dataclasses.dataclass(frozen=True)
class DistanceNetwork:
    """A network of a bundle that distances are measured with.

    Attributes:
        part: "inception" or "features".
        extractor: the network, and pictures to features.
    """

    part: str
    extractor: FeatureExtractor

    @property
    def is_inception(self) -> bool:
        """Whether its Fréchet distance is the published FID."""
        return self.part == INCEPTION.name


def part_of(bundle: Bundle) -> Part[Any, Any] | None:
    """Return the part that distances are measured with: Inception, else features; None: neither."""
    return next((part for part in (INCEPTION, FEATURES) if bundle.has(part)), None)


def load(bundle: Bundle) -> DistanceNetwork:
    """Return the network that distances are measured with, see `part_of`.

    Raises:
        UserError: the bundle has neither, or the part is damaged.
    """
    part = part_of(bundle)
    if part is None:
        raise UserError(
            f"bundle {bundle} has no network to measure distances with: {bundle.remedy(INCEPTION)}"
        )
    stored = bundle.metadata(part)
    key = (stored.weights_sha256, sorted(stored.config.items()), RESIZING)
    fingerprint = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    if part is INCEPTION:
        network = FeatureExtractor(fingerprint, bundle.load(INCEPTION), inception_features)
    else:
        model = bundle.load(FEATURES)
        network = FeatureExtractor(fingerprint, model, pooled_features, model.config.size)
    return DistanceNetwork(part.name, network)


def pooled_features(model: EmotionNet, pictures: jax.Array) -> jax.Array:
    """Return the pooled features [B,C] of pictures [B,H,W,3] of 0..255, resized as clean-fid."""
    levels = clean_resize(pictures, model.config.size)
    return model.features((levels / 255 - MEAN) / DEVIATION)
