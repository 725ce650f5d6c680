"""Pictures of every mode and format, and those that are refused."""

import os

import numpy as np
import pytest
from PIL import Image, features

from emojax.faces import images
from emojax.runtime.errors import UserError
from tests.support.pictures import claimed_png

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def save(file, array, **options):
    Image.fromarray(array).save(file, **options)
    return file


def grey(file):
    """Return the levels of a grey picture, whose three channels are the same."""
    read = images.read(file)
    assert read.dtype == np.uint8
    assert (read == read[..., :1]).all()
    return read[..., 0]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("sixteen.png", RAMP.astype(np.uint16) * 257),
        ("sixteen.tif", RAMP.astype(np.uint16) * 257),
        ("long.tif", RAMP.astype(np.int32) * 257),
        ("whole.tif", (RAMP.astype(np.int64) * (2**31 - 1) // 255).astype(np.int32)),
        ("bytes.tif", RAMP.astype(np.int32)),
        ("unit.tif", RAMP.astype(np.float32) / 255),
        ("levels.tif", RAMP.astype(np.float32)),
        ("deep.tif", RAMP.astype(np.float32) * 257),
        ("grey.png", RAMP),
    ],
)
def test_grey_of_any_depth_keeps_its_levels(tmp_path, name, array):
    np.testing.assert_array_equal(grey(save(tmp_path / name, array)), RAMP)


def test_floats_may_overshoot_as_after_a_resize(tmp_path):
    over = RAMP.astype(np.float32) / 255 * 1.1 - 0.05
    read = grey(save(tmp_path / "over.tif", over))
    np.testing.assert_allclose(read, np.rint(over.clip(0, 1) * 255), atol=0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0, 1e6])
def test_floats_that_are_no_levels_are_refused(tmp_path, wrong):
    values = RAMP.astype(np.float32) / 255
    values[3, 3] = wrong
    file = save(tmp_path / "wrong.tif", values)
    with pytest.raises(UserError, match=r"wrong\.tif cannot be used: its grey levels go from"):
        images.read(file)


def colours():
    """A picture with a hidden colour: the left half is transparent green."""
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = [0, 200, 0, 0]
    rgba[:, 4:] = [200, 0, 0, 255]
    rgba[0, 4] = [0, 0, 0, 51]  # a fifth of black over white
    return rgba


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_transparent_parts_are_shown_over_white(tmp_path, name):
    read = images.read(
        save(
            tmp_path / name,
            colours(),
            **({"lossless": True, "exact": True} if name == "a.webp" else {}),
        )
    )
    assert (read[:, :4] == 255).all()
    assert (read[1:, 4:] == [200, 0, 0]).all()
    assert read[0, 4].tolist() == [204, 204, 204]


def test_transparency_of_palettes_greys_and_single_colours(tmp_path):
    both = np.full((4, 4, 2), 60, np.uint8)
    both[:, :2, 1] = 0
    both[:, 2:, 1] = 255
    save(tmp_path / "la.png", both)
    single = np.full((4, 4, 3), 60, np.uint8)
    single[:, :2] = [1, 2, 3]
    save(tmp_path / "rgb.png", single, transparency=(1, 2, 3))
    deep = np.full((4, 4), 60 * 257, np.uint16)
    deep[:, :2] = 1000
    save(tmp_path / "deep.png", deep, transparency=1000)
    palette = Image.fromarray((single[..., 0] == 60).astype(np.uint8) * 1, "P")
    palette.putpalette([9, 9, 9, 60, 60, 60])
    palette.save(tmp_path / "p.gif", transparency=0)
    for name in ("la.png", "rgb.png", "deep.png", "p.gif"):
        read = images.read(tmp_path / name)
        assert (read[:, :2] == 255).all(), name
        assert (read[:, 2:] == 60).all(), name


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_the_first_picture_of_several_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    red = images.read(tmp_path / f"a{suffix}").astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 3  # lossy


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    assert np.abs(images.read(tmp_path / "a.jpg").astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read_and_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:8] = 255
    save(tmp_path / "a.avif", picture, exif=exif)
    read = images.read(tmp_path / "a.avif")
    assert read.shape == (32, 16, 3)
    assert read[:, 12:].min() > 200 > read[:, :4].max()


def test_heic_without_its_decoder_says_what_to_install(tmp_path):
    if images._formats().count("HEIF"):
        pytest.skip("pillow-heif is installed")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(UserError, match=r"a\.heic is not a picture: wanted HEIC with its decoder"):
        images.read(tmp_path / "a.heic")


@pytest.mark.parametrize("side", [9_440, 10_000, 30_000, 2**31 - 1])
def test_bombs_are_refused_without_a_warning(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(claimed_png(side, side))
    with pytest.raises(UserError, match=r"bomb\.png (is|claims) "):
        images.read(tmp_path / "bomb.png")


def test_small_files_of_many_pixels_are_refused(tmp_path):
    (tmp_path / "bomb.png").write_bytes(claimed_png(5000, 5000))
    with pytest.raises(UserError, match=r"claims 5000x5000 pixels in \d+ bytes"):
        images.read(tmp_path / "bomb.png")
    Image.new("RGB", (1000, 900)).save(tmp_path / "plain.png")  # one colour
    assert images.read(tmp_path / "plain.png").shape == (900, 1000, 3)


def test_programs_for_printers_and_pipes_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    with pytest.raises(UserError, match=r"a\.png is not a picture"):
        images.read(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png is not a file"):
        images.read(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="is not a file"):
        images.read(tmp_path)


def test_a_picture_given_as_an_image_is_left_alone():
    image = Image.fromarray(RAMP)
    image.getexif()[0x0112] = 3
    turned = images.decode(image)
    np.testing.assert_array_equal(turned[..., 0], RAMP[::-1, ::-1])
    np.testing.assert_array_equal(np.asarray(image), RAMP)
    assert image.getexif()[0x0112] == 3
