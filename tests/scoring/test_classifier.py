"""Which pictures the classifier takes: uint8, or floats in [-1, 1], and nothing else."""

import numpy as np
import pytest

from emojax.faces import images
from emojax.models.efficientnet import EmotionConfig, EmotionNet
from emojax.runtime.errors import UserError
from emojax.scoring import classifier
from emojax.store import weights
from tests.support import small_world

LEVELS = np.random.RandomState(1).randint(0, 256, (3, 40, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    config = EmotionConfig(width=0.15, depth=0.25, size=32)
    table = small_world.table(EmotionNet, config, 0)
    return weights.load(weights.abstract(EmotionNet, config), table)


def test_levels_and_floats_are_the_same_pictures(model):
    ours, theirs = (
        classifier.classify(model, pictures).logits
        for pictures in (LEVELS, images.to_float(LEVELS).astype(np.float64))
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        (LEVELS.astype(np.float32), r"picture values reach 255: wanted floats in \[-1, 1\]"),
        (LEVELS.astype(np.int32), "pictures are int32: wanted uint8"),
        (np.full((1, 40, 40, 3), np.nan), "picture values reach nan"),
        (LEVELS[0], r"pictures are \[40, 40, 3\], wanted \[N,H,W,3\]"),
        (LEVELS[..., 0], r"pictures are \[3, 40, 40\], wanted \[N,H,W,3\]"),
    ],
)
def test_other_arrays_are_refused(model, pictures, sentence):
    with pytest.raises(UserError, match=sentence):
        classifier.classify(model, pictures)


def test_an_emotion_is_found_in_any_case(model):
    assert classifier.index(model, "hAPPINESS") == 4
    with pytest.raises(UserError, match="no emotion 'joy': this network knows anger, contempt"):
        classifier.index(model, "joy")
