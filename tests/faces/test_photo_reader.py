"""Photographs that are unusual: groups, faces at the border or in profile, large ones, none."""

import json
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from emojax.faces import align, images, landmarks, photo_reader
from emojax.faces.photo_reader import SIZE, PhotoReader
from emojax.models import mtcnn
from emojax.runtime.errors import UserError
from tests.support.pictures import packaged

FACE = np.array([[-1, 0], [1, 0], [0, 1], [-0.8, 2], [0.8, 2]])
"""Five points of an upright face, by half the distance of the eyes."""


def reader(folder, faces, picture=None, **settings):
    """Return a reader with known landmarks, and the photograph it knows."""
    picture = np.zeros((200, 300, 3), np.uint8) if picture is None else picture
    images.write(folder / "photo.png", picture)
    table = {"photo.png": [np.asarray(face).tolist() for face in faces]}
    (folder / "points.json").write_text(json.dumps(table))
    made = PhotoReader((64,), landmarks_file=folder / "points.json", **settings)
    return made, folder / "photo.png"


def test_groups_are_counted_from_the_left_everywhere(tmp_path):
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[:, 100:200], picture[:, 200:] = 100, 200
    middles = (250, 50, 150)  # as a detector finds them: in no order
    faces = [FACE * (6 + number) + [x, 90] for number, x in enumerate(middles)]
    read, file = reader(tmp_path, faces, picture)
    found = read.all_faces(file)
    levels = [int(np.median(each.face)) for each in found]
    assert levels == [0, 100, 200]
    for number, each in enumerate(found, 1):
        np.testing.assert_array_equal(read(file, str(number)).face, each.face)
    assert int(np.median(read(file, "largest").face)) == 100
    with pytest.raises(UserError, match=r"3 faces found in .*: choose with --source-face largest"):
        read(file, flag="--source-face")


def test_a_face_at_the_border_is_mirrored_and_one_outside_refused(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    read, file = reader(tmp_path, [FACE * 20 + [8, 20]], picture)
    face = read(file).face
    assert face.shape == (SIZE, SIZE, 3)
    assert face.std() > 5
    for wrong in (FACE * 20 - 500, FACE * 0 + 50, FACE * 1e5, FACE * [1, -1] * 0.2 + 50):
        read, file = reader(tmp_path, [wrong], picture)
        with pytest.raises(UserError, match=r"the points of the face lie outside .*photo\.png, or"):
            read(file)
    both, file = reader(tmp_path, [FACE * 20 + [100, 80], FACE * 20 - 500], picture)
    assert len(both.all_faces(file)) == 1


def test_a_face_in_profile_is_cut_out_by_its_height(tmp_path):
    profile = FACE * [0.1, 1] * 20 + [100, 80]
    read, file = reader(tmp_path, [profile])
    assert align.side_of(read(file).quad) == pytest.approx(2 * 1.8 * 40, rel=0.02)


def test_points_in_one_place_give_no_quad_of_nan():
    quad = align.quad_of(np.full((5, 2), 7.0))
    assert np.isfinite(quad).all()
    assert align.side_of(quad) == 0
    turned = np.array([[0, 0], [2, 0], [1, -1], [0, -2], [2, -2]], float)  # eyes below the mouth
    assert np.isfinite(align.quad_of(turned)).all()


def test_no_face_is_one_sentence(tmp_path):
    read, file = reader(tmp_path, [])
    for call in (read, read.all_faces):
        with pytest.raises(UserError, match=r"no face found in .*photo\.png: give its points"):
            call(file)


def test_landmarks_that_are_no_pixels_are_refused(tmp_path):
    for wrong in ("NaN", "1e300", '"x"', "null"):
        text = json.dumps({"a.jpg": [[[1, 2]] * 4 + [[0, 0]]]}).replace("[0, 0]", f"[0, {wrong}]")
        (tmp_path / "points.json").write_text(text)
        with pytest.raises(UserError, match="is not a landmarks file"):
            landmarks.read_landmarks(tmp_path / "points.json")


def test_a_photograph_that_was_read_is_taken_as_it_is(tmp_path):
    read, file = reader(tmp_path, [FACE * 10 + [100, 80]])
    once = photo_reader.read(file)
    assert photo_reader.read(once) is once
    assert read(once).photo is once.pixels
    assert read(once).file == file


def test_points_of_large_photographs_are_those_of_the_photograph(monkeypatch):
    picture = packaged("astronaut.png")
    (points,) = landmarks.from_detector(picture)
    monkeypatch.setattr(landmarks, "DETECTED_PIXELS", 256 * 256)  # shrunk by 2 before
    (found,) = landmarks.from_detector(picture)
    # of a face of about 100 pixels; the detector itself moves by as much at other scales
    np.testing.assert_allclose(found, points, rtol=0, atol=1.5)


def test_candidates_are_compared_in_bounded_memory():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1000, (50_000, 2))
    boxes = np.concatenate([corners, corners + 20], 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = mtcnn._suppress(boxes, rng.uniform(size=50_000), 0.5)
    assert 0 < len(kept) <= mtcnn.MOST_BOXES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # kilobytes


def test_24_megapixels_are_read_in_bounded_memory_and_time(tmp_path):
    ramp = np.linspace(0, 255, 6000).astype(np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (4000, 6000, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(picture)).save(tmp_path / "large.jpg", exif=exif)
    lines = (
        "import resource, sys; from emojax.faces import images; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "print(images.read(sys.argv[1]).shape, "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    start = time.process_time()
    command = [sys.executable, "-c", lines, str(tmp_path / "large.jpg")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("(6000, 4000, 3) ")
    assert int(said.split()[-1]) < 500_000  # kilobytes; the pixels are 72 MB
    assert time.process_time() - start < 30
