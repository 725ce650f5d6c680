"""Networks of a bundle in the place of stages of the demo's training."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from emojax.demo.training import adoption
from emojax.demo.training.recipe import PROFILES
from emojax.demo.training.run import Run, write_bundle
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.parts import PARTS, PSP

DEMO = bundle.find(bundle.DEFAULT)
LARGE = PROFILES["cpu128"]


def test_a_larger_world_can_have_the_classifiers_of_a_smaller_one(tmp_path):
    run = Run(LARGE, tmp_path / "work", 0, base=DEMO)
    taken = (*adoption.ADOPTED, "trunk")
    assert set(run.unfinished(taken)) == set(taken)
    adoption.adopt(DEMO, LARGE, run.work)
    assert run.unfinished(taken) == []
    write_bundle(run, tmp_path / "bundle", run.train(adoption.ADOPTED))
    found = bundle.find(tmp_path / "bundle")
    for name in adoption.ADOPTED:
        assert found.sha256(PARTS[name]) == DEMO.sha256(PARTS[name])
        assert found.metadata(PARTS[name]).source == DEMO.metadata(PARTS[name]).source
    trunks = run.finished("trunk").trunk, DEMO.load(PSP).trunk
    jax.tree.map(np.testing.assert_array_equal, *(nnx.state(trunk) for trunk in trunks))


def test_its_own_bundle_stays_as_it_is(tmp_path):
    adoption.copy(DEMO, "emotion", tmp_path)
    before = (tmp_path / "emotion").stat().st_ino
    adoption.copy(bundle.find(tmp_path), "emotion", tmp_path)
    assert (tmp_path / "emotion").stat().st_ino == before


def test_another_network_is_refused(tmp_path):
    class Wider(type(LARGE)):
        @property
        def emotion(self):
            return dataclasses.replace(super().emotion, width=0.5)

    wider = Wider(**{field.name: getattr(LARGE, field.name) for field in dataclasses.fields(LARGE)})
    with pytest.raises(UserError, match=r"another config: width is 0\.35, wanted 0\.5"):
        adoption.adopt(DEMO, wider, tmp_path)
