"""Inverters by optimisation on small random networks: found, kept, edited and drawn again."""

import dataclasses

import jax
import numpy as np
import pytest

from emojax.latents import inversion, optimisation
from emojax.latents.codes import Inversion, concatenate
from emojax.metrics import perceptual
from emojax.models.efficientnet import EmotionNet
from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.runtime.errors import UserError
from emojax.store import bundle, parts
from tests.support import small_world
from tests.support.pictures import noise

CONFIG = GeneratorConfig(channels=(8, 8), style_dim=8, z_dim=8, n_mlp=1)
SIDE = 8
STEPS = 7
METHODS = ("projection-w", "projection", "pti")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    arrays = small_world.table(Generator, CONFIG, 0)
    bundle.save(folder, parts.GENERATOR, CONFIG, arrays, {})
    features = dataclasses.replace(small_world.EMOTION, classes=("a",))
    table = small_world.table(EmotionNet, features, 1)
    bundle.save(folder, parts.FEATURES, features, table, {})
    return bundle.find(folder)


@pytest.fixture(scope="module")
def inverters(place):
    return {name: inversion.load(place, name, steps=STEPS) for name in METHODS}


@pytest.fixture(scope="module")
def found(inverters):
    told = []
    faces = {
        name: inversion.invert(each, noise("faces", 2, SIDE), batch=2, describe=told.append)
        for name, each in inverters.items()
    }
    assert any(line.startswith("projecting, step 7 of 7, distance ") for line in told)
    assert any(line.startswith("tuning, step 7 of 7, loss ") for line in told)
    return faces


def test_what_each_face_changes(inverters, found):
    assert found["projection-w"].changes is None
    assert set(found["projection"].changes) == {f"convs.{i}.noise" for i in range(3)}
    tuned = found["pti"].changes
    assert {"const", "convs.0.weight", "to_rgbs.1.modulation.bias"} <= set(tuned)
    assert not any(name.endswith(".noise") for name in tuned)
    for name, face in found.items():
        assert (face.method, face.passes, len(face)) == (name, STEPS, 2)
        assert face.w_plus.shape == (2, CONFIG.n_latent, CONFIG.style_dim)
        layers_differ = bool((face.w_plus != face.w_plus[:, :1]).any())
        assert layers_differ == (name == "projection")
        for array in (face.changes or {}).values():
            assert array.dtype == np.float16
    assert len({each.made_with for each in found.values()}) == 3


def test_a_tuned_generator_draws_the_face_better(inverters, found):
    tuned, pictures = found["pti"], noise("faces", 2, SIDE)
    untuned = dataclasses.replace(tuned, changes=None)
    near, far = (
        np.square(inversion.synthesize(inverters["pti"], each, batch=2) - pictures).mean()
        for each in (tuned, untuned)
    )
    assert near < far


@pytest.mark.parametrize("name", METHODS)
def test_kept_edited_and_drawn_again(inverters, found, tmp_path, name):
    inverter, face = inverters[name], found[name]
    face.save(tmp_path / "face.npz")
    loaded = Inversion.load(tmp_path / "face.npz")
    jax.tree.map(np.testing.assert_array_equal, loaded, face)
    moved = face.w_plus[:1] + np.linspace(0, 1, 3, dtype=np.float32).reshape(3, 1, 1)
    edits = loaded[0].with_codes(moved)
    assert edits.is_shared == (face.changes is not None)
    drawn = inversion.synthesize(inverter, edits, batch=3)
    alone = inversion.synthesize(inverter, edits[0], batch=1)
    np.testing.assert_allclose(drawn[:1], alone, atol=2e-4)
    each = concatenate([edits, face])  # each with a generator of its own
    np.testing.assert_allclose(inversion.synthesize(inverter, each, batch=5)[:3], drawn, atol=2e-4)
    assert np.abs(drawn[2] - drawn[0]).max() > 1e-3


def test_padding_is_not_optimised_and_faces_are_independent(inverters, found):
    told = []
    picture = noise("faces", 2, SIDE)[1:]
    padded = inversion.invert(
        inverters["pti"], np.repeat(picture, 3, 0), batch=3, advance=told.append
    )
    assert told == [1]
    assert len(padded) == 3
    np.testing.assert_allclose(padded.w_plus[2], found["pti"].w_plus[1], rtol=1e-3, atol=1e-3)


def test_files_and_bundles_that_do_not_fit(place, inverters, found, tmp_path):
    wrong = dataclasses.replace(found["pti"], method="projection-w")
    wrong.save(tmp_path / "face.npz")
    with pytest.raises(UserError, match=r"holds const, which does not go with projection-w"):
        Inversion.load(tmp_path / "face.npz")
    dataclasses.replace(found["pti"], changes=None).save(tmp_path / "face.npz")
    with pytest.raises(UserError, match="no changes of the generator, which does not go with pti"):
        Inversion.load(tmp_path / "face.npz")
    small = {name: array[..., :1] for name, array in found["pti"].changes.items()}
    with pytest.raises(UserError, match=r"for each face, these networks take .*: invert the pict"):
        inversion.synthesize(inverters["pti"], dataclasses.replace(found["pti"], changes=small))
    with pytest.raises(UserError, match="other networks"):
        inversion.synthesize(inverters["projection"], found["pti"])
    assert inversion.available(place) == list(METHODS)
    bare = bundle.look_up(tmp_path / "bare")
    with pytest.raises(UserError, match=r"needs a perceptual distance: bundle .* has no vgg16"):
        perceptual.load(bare, "vgg16")


def test_steps_are_the_authors_by_default():
    wanted = {"projection-w": 1000, "projection": 1000, "pti": 350}
    assert {name: optimisation.steps_of(name, None) for name in wanted} == wanted
    assert optimisation.steps_of("pti", 5) == 5
