"""A bundle of a tiny generator and a tiny classifier, for everything about scores."""

import numpy as np

from emojax.models.efficientnet import EmotionConfig, EmotionNet
from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.store import bundle, parts
from tests.support.small_world import table

GENERATOR = GeneratorConfig(channels=(8, 8, 8), style_dim=16, z_dim=16, n_mlp=2, lr_mlp=1.0)
EMOTION = EmotionConfig(width=0.05, depth=0.1, size=32)


def write(folder, emotion=EMOTION):
    """Write the bundle and return its folder."""
    bundle.save(folder, parts.GENERATOR, GENERATOR, table(Generator, GENERATOR, 0), {})
    bundle.save(folder, parts.EMOTION, emotion, emotion_table(emotion), {})
    return folder


def emotion_table(emotion=EMOTION):
    """Draw a classifier that tells faces apart, without one class that always wins."""
    gains = {".scale": 1.6, "classifier.kernel": 3.0, "classifier.bias": 0.0}
    return {
        name: array * np.float32(next((g for end, g in gains.items() if name.endswith(end)), 1))
        for name, array in table(EmotionNet, emotion, 1).items()
    }
