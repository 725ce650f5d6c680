"""MTCNN with the weights of the installed wheel."""

import importlib.util

import joblib
import numpy as np
import pytest

from emojax.faces import align, detector, landmarks
from emojax.models import mtcnn
from emojax.runtime.errors import UserError
from tests.support import oracles
from tests.support.pictures import packaged

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("mtcnn") and importlib.util.find_spec("lz4")),
    reason="the weights of the mtcnn wheel are not installed",
)


@pytest.mark.parametrize("name", ["astronaut", "two", "half", "coffee"])
def test_detector_agrees_with_the_original(name):
    picture = packaged("coffee.png" if name == "coffee" else "astronaut.png")
    if name == "two":
        picture = np.concatenate([picture, picture[:, ::-1]], 1)
    if name == "half":
        picture = picture[::2, ::2]
    with np.load(oracles.DATA / "mtcnn" / "points.npz") as file:
        recorded = file[name]
    faces = detector.detect(picture)
    assert len(faces) == len(recorded)
    for face, row in zip(faces, recorded, strict=True):
        # the original in float32 too; measured 2e-4 of a pixel
        np.testing.assert_allclose(face.points, row[6:].reshape(2, 5).T, rtol=0, atol=0.01)
        np.testing.assert_allclose(face.box, row[1:5], rtol=0, atol=0.01)
        np.testing.assert_allclose(face.probability, row[5], rtol=0, atol=1e-4)


def test_astronaut_is_cropped_as_ffhq_would():
    photo = packaged("astronaut.png")
    (points,) = landmarks.from_detector(photo)
    face = align.crop(photo, align.quad_of(points), 256)
    assert face.shape == (256, 256, 3)
    (found,) = detector.detect(face)
    eyes, mouth = found.points[:2].mean(0), found.points[3:].mean(0)
    # FFHQ puts the eyes' centre near (0.50, 0.47) of the side and the mouth near (0.50, 0.72)
    np.testing.assert_allclose(eyes / 256, [0.5, 0.47], atol=0.04)
    np.testing.assert_allclose(mouth / 256, [0.5, 0.72], atol=0.05)
    assert align.is_aligned(face, align.quad_of(found.points))


def test_detector_says_what_it_needs(monkeypatch):
    find = importlib.util.find_spec
    missing = []
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else find(name)
    )
    for missing[:], words in (
        (["mtcnn", "lz4"], r"\(missing: mtcnn, lz4\)"),
        (["lz4"], r"\(missing: lz4\): run 'pip install mtcnn lz4'"),
    ):
        detector.load.cache_clear()
        with pytest.raises(UserError, match=words):
            detector.detect(np.zeros((64, 64, 3), np.uint8))


def test_damaged_weights_are_named(tmp_path):
    file = tmp_path / "pnet.lz4"
    again = r"pnet\.lz4 cannot be read .*: install mtcnn 1\.0\.0 again"
    with pytest.raises(UserError, match=again):
        detector._read(file, mtcnn.PROPOSAL)
    joblib.dump([np.zeros(1000)], file)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match=again):
        detector._read(file, mtcnn.PROPOSAL)
    joblib.dump([np.zeros(3)], file)
    with pytest.raises(UserError, match="holds 1 arrays, wanted 13: install mtcnn"):
        detector._read(file, mtcnn.PROPOSAL)


def test_tiny_pictures_hold_no_face():
    assert detector.detect(np.zeros((10, 10, 3), np.uint8)) == []
