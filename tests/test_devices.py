"""Inversion, editing, transfer and evaluation on four devices give what one device gives.

Each device computes its own faces, so only float32 rounding of another batch size may differ:
codes and logits by 1e-5 of their scale, 8-bit pictures by one level.
"""

import jax
import numpy as np
import pytest

from emojax.evaluation.judges import load_judges, measure
from emojax.latents import directions, inversion
from emojax.latents.normalisers import Transferrer, combine
from emojax.runtime import devices
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


def test_inversion_transfer_and_drawing(place):
    """With HyperStyle; with pSp in tests/test_pipeline.py."""
    found = inversion.load(place, "hyperstyle")
    faces = noise("devices", FACES, found.resolution)
    results = []
    for batch in (1, 4):  # as many devices
        inverter = devices.everywhere(found, devices.mesh_for(batch))
        transferrer = Transferrer(inverter, directions.load(place), "reinvert", batch=batch)
        ready = transferrer.prepare(inversion.invert(inverter, faces, passes=1, batch=batch))
        result = combine(ready[:1], ready)
        results.append((result.w_plus, inversion.synthesize(inverter, result, batch=batch)))
    (codes, pictures), (codes4, pictures4) = results
    assert rel_err(codes4, codes) < 1e-5
    assert rel_err(pictures4, pictures) < 1e-4
    assert rel_err(codes[1], codes[0]) > 1e-3  # faces are told apart


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
