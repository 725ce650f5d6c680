"""Picture files, resizing and conversion to the networks' range."""

import zlib

import numpy as np
import pytest
from PIL import Image

from emojax.faces import images
from emojax.runtime.errors import UserError
from tests.support import oracles

CASE = "encoder_preprocess"
NAMES = list(oracles.manifest(CASE)["config"]["images"])


def recorded_picture(name):
    about = oracles.manifest(CASE)["config"]["images"][name]
    height, width, _ = about["hwc"]
    rng = np.random.RandomState(zlib.crc32(f"11:{name}".encode()))
    low = rng.uniform(-1, 1, (8, 8, 3))
    high = rng.uniform(-1, 1, (height, width, 3))
    low = low.repeat(-(-height // 8), 0).repeat(-(-width // 8), 1)[:height, :width]
    picture = ((0.7 * low + 0.3 * high + 1) * 127.5).astype(np.uint8)
    assert zlib.crc32(picture.tobytes()) == about["crc32"]
    return picture


@pytest.mark.parametrize("name", NAMES)
def test_preprocessing_matches_the_original(name):
    golden = oracles.golden(CASE)
    resized = images.resize(recorded_picture(name), 256)
    if f"{name}/resized_uint8_hwc" in golden:
        np.testing.assert_array_equal(resized, golden[f"{name}/resized_uint8_hwc"])
    tensor = images.to_float(resized)
    assert tensor.dtype == np.float32
    first = tensor.transpose(2, 0, 1).reshape(-1)[:64]
    np.testing.assert_array_equal(first, golden[f"{name}/tensor_first64"])
    exact = tensor.astype(np.float64)
    found = [exact.mean(), exact.std(), np.linalg.norm(exact)]
    np.testing.assert_allclose(
        found, golden[f"{name}/tensor_stats"], rtol=1e-6
    )  # recorded in float64


def test_pictures_are_truncated_as_the_original_does():
    rng = np.random.RandomState(zlib.crc32(b"11:tensor2im"))
    tensor = (rng.standard_normal((3, 40, 50)) * 0.7).astype(np.float32).transpose(1, 2, 0)
    np.testing.assert_array_equal(
        images.to_uint8(tensor), oracles.golden(CASE)["tensor2im/uint8_hwc"]
    )
    assert images.to_uint8(np.float32([254.9 / 127.5 - 1])) == [254]


def test_read_turns_and_converts(tmp_path):
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    read = images.read(tmp_path / "turned.png")
    assert read.shape == (6, 4, 3)
    assert read[0, 3].tolist() == [255, 255, 255]
    Image.fromarray(picture[..., 0]).save(tmp_path / "grey.png")
    assert images.read(tmp_path / "grey.png").shape == (4, 6, 3)


def test_what_is_not_a_picture_is_refused(tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    with pytest.raises(UserError, match=r"notes\.jpg is not a picture: wanted a PNG"):
        images.read(tmp_path / "notes.jpg")
    whole = tmp_path / "whole.png"
    images.write(whole, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"whole\.png cannot be decoded"):
        images.read(whole)
    with pytest.raises(UserError, match=r"no file .*none\.png"):
        images.read(tmp_path / "none.png")
    with pytest.raises(UserError, match="cannot write"):
        images.write(tmp_path / "none" / "a.png", np.zeros((2, 2, 3), np.uint8))


def test_find_lists_folders_in_order(tmp_path):
    for name in ("b.png", "a.JPG", "c.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in images.find([tmp_path])] == ["a.JPG", "b.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures in"):
        images.find([tmp_path / "empty"])
    with pytest.raises(UserError, match="no file"):
        images.find([tmp_path / "none.png"])
