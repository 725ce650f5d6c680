"""Photographs as batches: the same ones whatever happened before, and none of those held out."""

import itertools

import numpy as np
import pytest

from emojax.faces import images
from emojax.runtime.errors import UserError
from emojax.training import photographs
from emojax.training.photographs import Photographs, Source
from tests.support import training_world
from tests.support.training_world import SIDE


def source(folder, labels=None):
    files = sorted(folder.iterdir())
    names = [str(file) for file in files]
    return Source(names, lambda number: images.read(files[number]), {"from": names}, labels)


@pytest.fixture
def folder(tmp_path):
    return training_world.write_photographs(tmp_path / "photos", 7)


def test_faces_are_kept_and_unreadable_ones_left_out(folder, tmp_path):
    (folder / "face03.png").write_text("not a picture")
    found = photographs.prepare(source(folder), tmp_path / "faces", 16)
    assert found.numbers.tolist() == [0, 1, 2, 4, 5, 6]
    wanted = images.resize(images.read(folder / "face04.png"), 16)
    np.testing.assert_array_equal(found.read([3])[0], wanted)
    (said,) = photographs.left_out(tmp_path / "faces")
    assert "face03.png is not a picture" in said
    with pytest.raises(UserError, match=r"another run \(side 16, now 32\).*or another --work"):
        photographs.prepare(source(folder), tmp_path / "faces", 32)


def test_aligning_goes_on_where_it_stopped(folder, tmp_path):
    read = []

    def stops(number):
        read.append(number)
        if len(read) == 4:
            raise KeyboardInterrupt
        return np.full((SIDE, SIDE, 3), number, np.uint8)

    broken = Source(source(folder).names, stops, source(folder).settings)
    with pytest.raises(KeyboardInterrupt):
        photographs.prepare(broken, tmp_path / "faces", SIDE)
    found = photographs.prepare(broken, tmp_path / "faces", SIDE)
    assert read == [0, 1, 2, 3, 3, 4, 5, 6]
    assert found.read(range(7))[:, 0, 0, 0].tolist() == list(range(7))


def test_without_a_face_there_is_one_sentence(folder, tmp_path):
    def refuse(number):
        raise UserError(f"no face in {number}: take another")

    none = Source(source(folder).names, refuse, {})
    with pytest.raises(UserError, match="none of 7 photographs can be used: no face in 0"):
        photographs.prepare(none, tmp_path / "faces", SIDE)
    assert len(photographs.prepare(source(folder), tmp_path / "faces", SIDE)) == 7


def test_batches_depend_on_the_step_alone(folder, tmp_path):
    found = photographs.prepare(source(folder), tmp_path / "faces", SIDE)
    rows = np.array([0, 2, 3, 5, 6])
    begin = photographs.batches(found, rows, 2, seed=3)
    whole, later = list(itertools.islice(begin(0), 10)), list(itertools.islice(begin(4), 6))
    for (places, faces), (again, same) in zip(whole[4:], later, strict=True):
        np.testing.assert_array_equal(places, again)
        np.testing.assert_array_equal(faces, same)
    order = np.concatenate([places for places, _ in whole])
    epochs = [order[start : start + 5].tolist() for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    np.testing.assert_array_equal(whole[0][1], found.read(rows[whole[0][0]]))


def test_of_every_class_some_are_held_out(tmp_path):
    labels = np.array([0] * 40 + [3] * 10 + [5] * 2)
    found = Photographs(tmp_path, np.arange(52), labels)
    rows, held = photographs.split(found, 0.1, seed=0)
    assert sorted([*rows, *held]) == list(range(52))
    assert np.bincount(labels[held], minlength=6).tolist() == [4, 0, 0, 1, 0, 1]
    assert not np.array_equal(held, photographs.split(found, 0.1, seed=1)[1])
    with pytest.raises(UserError, match="there is 1 photograph with a face: wanted 2 or more"):
        photographs.split(Photographs(tmp_path, np.arange(1)), 0.1, seed=0)
