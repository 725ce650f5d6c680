"""Classification and evaluation on four devices give what one device gives.

Each device computes its own faces, so only float32 rounding of another batch size may differ: 1e-5
of the scale. Inversion, transfer and drawing: tests/test_pipeline.py.
"""

import jax
import numpy as np
import pytest

from emojax.evaluation.judges import load_judges, measure
from emojax.scoring import classifier
from emojax.store import bundle
from emojax.store.parts import EMOTION
from tests.support import small_world
from tests.support.pictures import noise
from tests.support.small_world import rel_err

FACES = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return bundle.find(small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "small"))


@pytest.fixture(autouse=True)
def four_devices():
    assert len(jax.local_devices()) == 4


def test_classification_and_the_judges_of_an_evaluation(place):
    pictures = (noise("judged", FACES, small_world.SIDE) * 127.5 + 127.5).round().astype(np.uint8)
    model, judges = place.load(EMOTION), load_judges(place, "face")
    said = [classifier.classify(model, pictures, batch=batch).logits for batch in (1, 4)]
    found = [measure(judges, pictures, batch=batch) for batch in (1, 4)]
    assert rel_err(said[1], said[0]) < 1e-5
    assert rel_err(said[0][1], said[0][0]) > 1e-3
    for name in found[0]:
        assert rel_err(found[1][name], found[0][name]) < 1e-5
    assert len(classifier.classify(model, pictures[:0], batch=4).logits) == 0
