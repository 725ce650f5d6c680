"""How far reconstructions are from their photographs, and what a bundle says of it."""

import dataclasses
import json

import numpy as np
import pytest

from emojax.latents import inversion, reconstruction
from emojax.latents.reconstruction import Usual
from emojax.runtime.errors import UserError
from emojax.store import bundle
from tests.support import small_world


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return bundle.find(small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "small"))


def test_distances_are_root_mean_squares_at_the_encoders_size():
    photos = np.zeros((3, 4, 4, 3), np.uint8)
    drawn = np.zeros((3, 8, 8, 3), np.uint8)
    drawn[1] = 255
    drawn[2, :, ::2] = 51  # averaged away: 25.5, a tenth of white
    np.testing.assert_allclose(reconstruction.distances(photos, drawn), [0, 1, 0.1], rtol=1e-6)


def test_a_bundle_keeps_the_distances_of_its_own_faces(place, tmp_path):
    inverter = inversion.load(place, "psp")
    found = reconstruction.measure(inverter, samples=4, batch=2)
    assert (found.samples, found.made_with) == (4, inverter.made_with)
    assert 0 < found.median <= found.most < 1
    file = place.folders[0] / reconstruction.FILE
    assert reconstruction.load(place, inverter) is None
    file.write_text(json.dumps({"psp": dataclasses.asdict(found)}))
    assert reconstruction.load(place, inverter) == found
    other = dataclasses.replace(found, made_with="0" * 64)
    file.write_text(json.dumps({"psp": dataclasses.asdict(other)}))
    assert reconstruction.load(place, inverter) is None  # of other networks
    for damaged in ("[", "[]", '{"psp": {"samples": 3}}', '{"psp": {"made_with": 3}}'):
        file.write_text(damaged)
        with pytest.raises(UserError, match="is not a file of distances"):
            reconstruction.load(place, inverter)
    file.unlink()


def test_only_faces_far_outside_are_named(place):
    photos = np.zeros((3, 4, 4, 3), np.uint8)
    drawn = np.stack([np.full((4, 4, 3), level, np.uint8) for level in (10, 29, 90)])
    usual = Usual("", 200, 0.02, 10 / 255)
    (sentence,) = reconstruction.doubts(place, usual, ["a", "b", "c"], photos, drawn)
    assert sentence.startswith("c is reconstructed 9.0 times as far off as the faces of bundle")
    assert "try a photograph from the front" in sentence
    demo = bundle.find(bundle.DEFAULT)
    assert demo.shows == "drawings"
    (sentence,) = reconstruction.doubts(demo, usual, ["a", "b", "c"], photos, drawn)
    assert "'emojax fetch ffhq', then give --bundle ffhq" in sentence


def test_a_bundle_that_measured_nothing_says_so_once(place):
    psp, pti = (inversion.Inverter(None, distances=each) for each in ({}, {"tuning": None}))
    (sentence,) = reconstruction.unmeasured(place, psp, ["a.jpg", "b.jpg", "a.jpg"])
    assert "can draw a.jpg and b.jpg is not known" in sentence
    assert "'emojax directions' measures it" in sentence
    (sentence,) = reconstruction.unmeasured(bundle.find(bundle.DEFAULT), psp, ["a.jpg"])
    assert "was trained on drawings" in sentence
    assert reconstruction.unmeasured(place, psp, []) == []
    assert reconstruction.unmeasured(place, pti, ["a.jpg"]) == []
