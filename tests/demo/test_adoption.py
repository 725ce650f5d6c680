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
from emojax.training import checkpoints, result

DEMO = bundle.find(bundle.DEFAULT)
PROFILE = PROFILES["cpu"]


def test_a_world_can_have_the_classifiers_of_an_earlier_one(tmp_path):
    run = Run(PROFILE, tmp_path / "work", 0, base=DEMO)
    taken = (*adoption.ADOPTED, "trunk")
    assert set(run.unfinished(taken)) == set(taken)
    adoption.adopt(DEMO, PROFILE, run.work)
    assert run.unfinished(taken) == []
    write_bundle(run, tmp_path / "bundle", run.train(adoption.ADOPTED))
    found = bundle.find(tmp_path / "bundle")
    for name in adoption.ADOPTED:
        assert found.sha256(PARTS[name]) == DEMO.sha256(PARTS[name])
        assert found.metadata(PARTS[name]).source == DEMO.metadata(PARTS[name]).source
    trunks = run.finished("trunk").trunk, DEMO.load(PSP).trunk
    jax.tree.map(np.testing.assert_array_equal, *(nnx.state(trunk) for trunk in trunks))
    adoption.adopt(DEMO, PROFILE, run.work)  # a second start finds them


def test_a_stage_that_was_trained_is_not_mixed_with_the_bundles(tmp_path):
    trained = DEMO.load(PARTS["emotion"])
    nnx.update(trained, jax.tree.map(lambda each: each + 1, nnx.state(trained)))
    steps = PROFILE.lengths["emotion"].steps
    (tmp_path / "emotion").mkdir()
    checkpoints.finish(tmp_path / "emotion", trained, checkpoints.Progress(step=steps, share=1.0))
    with pytest.raises(UserError, match="emotion has another network than the bundle of --base"):
        adoption.adopt(DEMO, PROFILE, tmp_path)


def test_its_own_bundle_stays_as_it_is(tmp_path):
    result.copy_part(DEMO, PARTS["emotion"], tmp_path)
    before = (tmp_path / "emotion").stat().st_ino
    result.copy_part(bundle.find(tmp_path), PARTS["emotion"], tmp_path)
    assert (tmp_path / "emotion").stat().st_ino == before


def test_another_network_is_refused(tmp_path):
    class Wider(type(PROFILE)):
        @property
        def emotion(self):
            return dataclasses.replace(super().emotion, width=0.5)

    wider = Wider(
        **{field.name: getattr(PROFILE, field.name) for field in dataclasses.fields(PROFILE)}
    )
    with pytest.raises(UserError, match=r"another config: width is 0\.35, wanted 0\.5"):
        adoption.adopt(DEMO, wider, tmp_path)
