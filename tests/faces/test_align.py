"""The FFHQ crop, landmark files and the detector."""

import json
import sys
import types
import zlib

import numpy as np
import pytest
from scipy import ndimage

from emojax.faces import align, images, landmarks
from emojax.faces.photo_reader import SIZE, PhotoReader
from emojax.runtime.errors import UserError
from tests.support import oracles

NAMES = list(oracles.manifest("align")["config"]["images"])


def recorded_picture(name):
    about = oracles.manifest("align")["config"]["images"][name]
    height, width, _ = about["hwc"]
    rng = np.random.RandomState(zlib.crc32(f"11:{name}".encode()))
    low = rng.uniform(-1, 1, (16, 16, 3))
    high = rng.uniform(-1, 1, (-(-height // 4), -(-width // 4), 3))
    low = low.repeat(-(-height // 16), 0).repeat(-(-width // 16), 1)[:height, :width]
    high = high.repeat(4, 0).repeat(4, 1)[:height, :width]
    row, column = np.arange(height)[:, None, None] / height, np.arange(width)[None, :, None] / width
    picture = ((0.5 * low + 0.2 * high + 0.3 * (column + row - 1) + 1) * 127.5).astype(np.uint8)
    assert zlib.crc32(picture.tobytes()) == about["crc32"]
    return picture


@pytest.mark.parametrize("name", NAMES)
def test_crop_is_the_original_pixel_for_pixel(name):
    golden = oracles.golden("align")
    picture = recorded_picture(name)
    quad = align.quad_of(golden[f"{name}/landmarks"])
    np.testing.assert_allclose(quad, golden[f"{name}/quad"], rtol=1e-12)  # float64 sums
    np.testing.assert_allclose(align.side_of(quad), golden[f"{name}/qsize"], rtol=1e-12)
    for size in (256, 1024):
        case = f"{name}/out{size}"
        _, plan = align.prepare(picture, quad, size)
        decisions = [plan.shrink, plan.border, *plan.box, *plan.pad, plan.padded]
        assert decisions == list(golden[f"{case}/decisions"])
        np.testing.assert_allclose(plan.quad, golden[f"{case}/quad_final"], rtol=1e-12)
        if not {f"{case}/image", f"{case}/area64"} & golden.keys():
            continue  # thinned away
        face = align.crop(picture, quad, size).astype(int)
        if size == 256:  # other Pillow and SciPy releases move a pixel by one grey level
            assert np.abs(face - golden[f"{case}/image"]).max() <= 1
        else:
            means = face.reshape(64, 16, 64, 16, 3).mean((1, 3))
            assert np.abs(means - golden[f"{case}/area64"]).max() < 0.1
            (y, x), crop = golden[f"{case}/crop_yx"][0], golden[f"{case}/crops"][0]
            assert np.abs(face[y : y + 24, x : x + 24] - crop).max() <= 1


def test_five_points_give_the_quad_of_their_68():
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(0, 500, (68, 2))
    five = [
        landmarks[36:42].mean(0),
        landmarks[42:48].mean(0),
        [0, 0],
        landmarks[48],
        landmarks[54],
    ]
    np.testing.assert_allclose(align.quad_of(np.array(five)), align.quad_of(landmarks), rtol=1e-12)
    with pytest.raises(ValueError, match=r"landmarks are \[7, 2\], wanted \[68, 2\] or \[5, 2\]"):
        align.quad_of(np.zeros((7, 2)))


def points_at(x, y, scale):
    """Five points of an upright face."""
    return np.array([[-1, 0], [1, 0], [0, 1], [-0.8, 2], [0.8, 2]]) * scale + [x, y]


def test_aligned_pictures_pass_untouched(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    points = points_at(128, 118, 35.5)
    frame = align.quad_of(points)
    assert align.is_aligned(picture, frame)
    smaller = points_at(128, 118, 25)
    file = tmp_path / "points.json"
    file.write_text(json.dumps({"full.png": [points.tolist()], "small.png": [smaller.tolist()]}))
    images.write(tmp_path / "full.png", picture)
    images.write(tmp_path / "small.png", picture)
    read = PhotoReader((64,), landmarks_file=file)
    full, small = (read(tmp_path / f"{name}.png") for name in ("full", "small"))
    assert full.face is full.photo
    assert small.face.shape == (SIZE, SIZE, 3)
    always = PhotoReader((64, 256), align="always", landmarks_file=file)
    assert always(tmp_path / "full.png").face.shape == (SIZE, SIZE, 3)
    square = PhotoReader((64, 256), landmarks_file=file)  # of the generator's size
    assert square(tmp_path / "small.png").face.shape == (256, 256, 3)


def test_several_faces_ask_for_a_choice():
    picture = np.zeros((200, 400, 3), np.uint8)
    picture[:, 200:] = 255
    faces = [points_at(100, 90, 14), points_at(300, 90, 10)]

    def brightness(face):
        quads = [align.quad_of(each) for each in faces]
        return align.crop(picture, quads[align.choose(quads, face)], 32).mean()

    with pytest.raises(UserError, match="2 faces found in the picture: choose with --face largest"):
        brightness("only")
    assert brightness("largest") == brightness("1") == 0
    assert brightness("2") == 255
    with pytest.raises(UserError, match="no face 3 in the picture: it has 2"):
        brightness("3")
    with pytest.raises(UserError, match=r"no face found in photo\.jpg: give its points"):
        align.choose([], "only", name="photo.jpg")


def test_landmark_files(tmp_path):
    file = tmp_path / "points.json"
    file.write_text(json.dumps({"a.jpg": [points_at(5, 5, 1).tolist()]}))
    np.testing.assert_allclose(
        landmarks.read_landmarks(file)["a.jpg"][0], points_at(5, 5, 1), rtol=1e-12
    )
    for wrong in ('{"a.jpg": [[[1, 2]]]}', "[1]", "not json", '{"a": [["x"]]}'):
        file.write_text(wrong)
        with pytest.raises(UserError, match="is not a landmarks file"):
            landmarks.read_landmarks(file)
    with pytest.raises(UserError, match=r"no file .*none\.json: wanted JSON such as"):
        landmarks.read_landmarks(tmp_path / "none.json")


def test_dlib_is_used_where_it_is_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match="needs dlib: run 'pip install dlib'"):
        landmarks.from_dlib(tmp_path / "model.dat")
    point = types.SimpleNamespace(x=3, y=4)
    shape = types.SimpleNamespace(parts=lambda: [point] * 68)
    fake = types.SimpleNamespace(
        shape_predictor=lambda file: lambda picture, box: shape,
        get_frontal_face_detector=lambda: lambda picture, doubled: ["box"] * doubled,
    )
    monkeypatch.setitem(sys.modules, "dlib", fake)
    (found,) = landmarks.from_dlib(tmp_path / "model.dat")(np.zeros((8, 8, 3), np.uint8))
    assert found.shape == (68, 2)
    assert (found == [3, 4]).all()


def test_a_wide_blur_is_that_of_the_original_to_a_grey_level():
    smooth = np.random.default_rng(0).uniform(0, 255, (20, 25, 3)).astype(np.float32)
    picture = ndimage.zoom(smooth, (20, 20, 1), order=1)
    wide = align.WIDE + 4
    exact = ndimage.gaussian_filter(picture, [wide, wide, 0])
    inner = slice(60, -60)  # the margin's edge is covered by the median colour
    np.testing.assert_allclose(
        align._blurred(picture, wide)[inner, inner], exact[inner, inner], rtol=0, atol=1.0
    )
    near = align.WIDE - 1
    exact = ndimage.gaussian_filter(picture, [near, near, 0])
    np.testing.assert_array_equal(align._blurred(picture, near), exact)
