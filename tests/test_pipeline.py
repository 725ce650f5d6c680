"""`emojax.load`: the five lines of the README, on the embedded bundle and on small networks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import emojax
from emojax.faces import images
from emojax.runtime.errors import UserError
from tests.support import small_world
from tests.support.pictures import packaged

ROOT = Path(emojax.__file__).parents[1]
SAMPLES = ROOT / "checkpoints" / "demo" / "samples"


@pytest.fixture(scope="module")
def pipe():
    return emojax.load("demo", batch=4)


@pytest.fixture(scope="module")
def both(pipe):
    return pipe.invert(SAMPLES / "source.png", SAMPLES / "target.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "small")


def test_the_five_lines_of_the_readme(tmp_path):
    """From another folder, on copies of the samples, in a process of its own."""
    for name, copy in (("source", "me"), ("target", "friend")):
        with Image.open(SAMPLES / f"{name}.png") as picture:
            picture.save(tmp_path / f"{copy}.jpg", quality=95)
    lines = """
import emojax
pipe = emojax.load("demo")
me, friend = pipe.invert("me.jpg", "friend.jpg")
pipe.transfer(me, friend).image.save("result.png")
print(pipe.edit(me, happiness=12, anger=-4).image.size)
print(max(pipe.emotions("friend.jpg").items(), key=lambda each: each[1])[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", lines],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["(128, 128)", "happiness"]
    assert images.read(tmp_path / "result.png").shape == (128, 128, 3)


def test_a_transfer_brings_the_expression(pipe, both):
    me, friend = both
    result = pipe.transfer(me, friend)
    assert result.emotions["happiness"] > 0.5 > me.emotions["happiness"]
    assert sum(result.emotions.values()) == pytest.approx(1, abs=1e-4)
    assert result.w_plus.shape == me.w_plus.shape
    again = pipe.transfer(SAMPLES / "source.png", SAMPLES / "target.png")
    np.testing.assert_array_equal(again.pictures, result.pictures)  # deterministic
    path = pipe.transfer(me, friend, alpha=[0, 1], normaliser="subspace")
    assert path.pictures.shape == (2, 128, 128, 3)
    assert path[0].emotions["happiness"] < 0.5 < path[1].emotions["happiness"]


def test_faces_are_compared_with_their_photographs_and_with_each_other(pipe, both):
    own, twice = both.compare(), both.compare(both[0])
    assert set(own) == {"l2", "psnr"}  # 128 pixels, and no networks for more
    assert (own["psnr"] > 18).all()
    assert np.isinf(twice["psnr"][0])
    assert twice["psnr"][1] < own["psnr"][1]
    with pytest.raises(UserError, match="there are 2 to compare 1 with: wanted as many"):
        both[0].compare(both)
    with pytest.raises(UserError, match="come from no photograph: give faces to compare"):
        pipe.sample(1).compare()


def test_edits_single_and_many(pipe, both):
    me = both[0]
    one = pipe.edit(me, happiness=8)
    assert one.emotions["happiness"] > me.emotions["happiness"]
    np.testing.assert_allclose(pipe.edit(me, {"happiness": 8}).w_plus, one.w_plus)
    three = pipe.edit(me, happiness=[-4, 0, 8])
    assert (len(three), len(three.images)) == (3, 3)
    np.testing.assert_allclose(three[2].w_plus, one.w_plus, rtol=1e-5)
    assert three.probabilities.shape == (3, 8)
    both_edited = pipe.edit(both, sadness=5)
    assert len(both_edited) == 2
    part = pipe.edit(me, happiness=8, layers=slice(2, 4)).w_plus - me.w_plus
    assert not part[:, :2].any()
    assert part[:, 2:4].any()
    neutral = pipe.neutralise(both[1])
    assert neutral.emotions["happiness"] < both[1].emotions["happiness"]


def test_edits_go_back_into_their_photographs(pipe, both):
    me = both[0]
    photo = images.read(SAMPLES / "source.png")
    np.testing.assert_array_equal(me.paste()[0], photo)  # nothing has changed
    happy = pipe.edit(me, happiness=[0, 8])
    same, pasted = happy.paste()
    np.testing.assert_array_equal(same, photo)
    np.testing.assert_array_equal(np.asarray(happy[1].pasted), pasted)
    assert (pasted != photo).any()
    assert (pasted[:4] == photo[:4]).all()
    crop = happy.paste("crop")[1]
    assert (crop != photo).mean() > 2 * (pasted != photo).mean()
    two = pipe.transfer(both, both[1])
    assert [each.shape for each in two.paste()] == [photo.shape] * 2
    np.testing.assert_array_equal(two[1].paste()[0], two.paste()[1])
    with pytest.raises(UserError, match=r"there are 2 faces: take one of them"):
        _ = two.pasted
    with pytest.raises(UserError, match="these faces come from no photograph"):
        pipe.edit(pipe.sample(3), happiness=8).paste()
    with pytest.raises(UserError, match="paste is 'all', wanted change or crop"):
        happy.paste("all")


def test_a_photograph_of_a_person_is_outside_of_the_demos_world(pipe, both):
    assert both.doubts == []  # its own samples
    assert pipe.edit(both[0], happiness=8).doubts == []
    assert pipe.sample([1, 2]).doubts == []
    edited = pipe.edit(packaged("astronaut.png"), happiness=4)
    (sentence,) = edited.doubts
    assert sentence.startswith("the picture is reconstructed 5.")
    assert "'emojax fetch ffhq', then give --bundle ffhq" in sentence
    photo, pasted = packaged("astronaut.png"), np.asarray(edited.pasted)
    changed = (pasted != photo).any(-1)
    assert changed[100:180, 190:260].any()  # the face
    assert not changed[250:].any()
    assert not changed[:, :120].any()


def test_pictures_of_every_kind_are_the_same_face(pipe):
    file = SAMPLES / "target.png"
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    pixels = np.asarray(picture)
    floats = pixels.astype(np.float32) / 127.5 - 1
    codes = [pipe.invert(each).w_plus for each in (file, str(file), picture, pixels, floats)]
    for other in codes[1:]:
        np.testing.assert_array_equal(other, codes[0])
    assert pipe.emotions(file) == pipe.emotions(picture) == pipe.emotions(pixels)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (np.zeros((64, 64, 3), np.int64), "pictures are int64: wanted uint8, or floats in"),
        (np.full((64, 64, 3), 200.0), "picture values reach 200"),
        (np.full((64, 64, 3), np.nan), "picture values reach nan"),
        (np.zeros((64, 64), np.uint8), r"the picture is \[64, 64\] uint8: wanted a path"),
        ("nowhere.jpg", "no file nowhere.jpg"),
    ],
)
def test_what_is_no_picture_is_refused(pipe, picture, sentence):
    with pytest.raises(UserError, match=sentence):
        pipe.invert(picture)
    with pytest.raises(ValueError, match=sentence):  # a UserError is one
        pipe.emotions(picture)


def test_other_mistakes_have_a_sentence(pipe, both):
    with pytest.raises(UserError, match="no direction 'joy': these are known: anger"):
        pipe.edit(both, joy=3)
    with pytest.raises(UserError, match="there are 2 faces: take one of them"):
        _ = both.image
    with pytest.raises(UserError, match="no photographs given"):
        pipe.invert()
    with pytest.raises(UserError, match="no bundle 'none'"):
        emojax.load("none")
    with pytest.raises(UserError, match="--batch is -1, wanted 1 or more"):
        emojax.load("demo", batch=-1)


def test_generated_faces_are_those_of_the_sample_command(pipe, tmp_path):
    from emojax import sample

    sample.main(sample.Options(seeds="3,5", out=tmp_path / "faces"))
    drawn = pipe.sample([3, 5])
    for row, seed in enumerate((3, 5)):
        wanted = images.read(tmp_path / "faces" / f"seed{seed}.png").astype(int)
        assert np.abs(drawn.pictures[row] - wanted).max() <= 1  # rounding, in other batches
    assert len(pipe.edit(pipe.sample(3), happiness=[0, 5])) == 2


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_devices(folder):
    """Inversion, transfer, drawing and classification; each device computes faces of its own.

    Only float32 rounding of another batch size may differ: codes and logits by 1e-5 of their scale,
    pictures by one level.
    """
    opened = {"inverter": "hyperstyle", "passes": 1, "batch": 4}
    one, four = (emojax.load(folder, **opened, devices=count) for count in (1, 4))
    files = [folder / "samples" / f"{name}.png" for name in ("source", "target", "source")]
    results = []
    for pipe in (one, four):
        faces = pipe.invert(*files)
        results.append((faces, pipe.transfer(faces[0], faces[1], alpha=[0.5, 1])))
    for found, wanted in zip(results[1], results[0], strict=True):
        assert small_world.rel_err(found.w_plus, wanted.w_plus) < 1e-5
        assert np.abs(found.pictures.astype(int) - wanted.pictures).max() <= 1
        assert small_world.rel_err(found.prediction.logits, wanted.prediction.logits) < 1e-3


def test_hyperstyle_goes_the_same_way(folder):
    pipe = emojax.load(folder, inverter="hyperstyle", passes=2, batch=2)
    me, friend = pipe.invert(folder / "samples" / "source.png", folder / "samples" / "target.png")
    assert pipe.transfer(me, friend, alpha=[0, 0.5, 1]).pictures.shape == (3, 128, 128, 3)
    assert pipe.edit(me, fear=[1, 2]).pictures.shape == (2, 128, 128, 3)


def test_only_public_names_are_listed():
    names = {"EMOTIONS", "Directions", "Faces", "LinearSVR", "Pipeline", "Prepared", "UserError"}
    names |= {"VideoEdit", "edit_video", "load"}
    assert set(dir(emojax)) == {*names, "__version__"}
    for name in names:
        assert getattr(emojax, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = emojax.nothing


@pytest.mark.parametrize(
    "line",
    [
        "import emojax",
        "import emojax.transfer, emojax.edit, emojax.invert",
        "import sys, emojax.__main__ as m; m.dispatch(['--help'])",
    ],
)
def test_what_should_be_quick_does_not_import_jax(line):
    code = f"{line}\nimport sys\nassert 'jax' not in sys.modules, 'jax is imported'"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_square_picture_of_the_right_size_is_aligned_unless_asked(pipe, folder, tmp_path):
    shutil.copy(SAMPLES / "source.png", tmp_path / "mine.png")
    assert pipe.read(tmp_path / "mine.png").quad is None
    strict = emojax.load(folder, align="always")
    with pytest.raises(UserError, match="no face found"):
        strict.read(np.zeros((128, 128, 3), np.uint8))


def test_faces_made_ready_once_are_combined_as_by_transfer(pipe, both):
    me, friend = (pipe.prepare(each) for each in both)
    result = pipe.combine(me, friend, [0.0, 1.0])
    wanted = pipe.transfer(*both, alpha=[0.0, 1.0])
    # the same numbers: codes of the re-inversion come from batches of one face in either case
    np.testing.assert_allclose(result.w_plus, wanted.w_plus, rtol=0, atol=1e-5)


def test_mixing_takes_the_codes_of_some_layers(pipe):
    faces = pipe.sample(range(2))
    mixed = faces.mixed(pipe.sample(7), slice(4, None))
    style = np.repeat(pipe.sample(7).w_plus, 2, axis=0)
    np.testing.assert_array_equal(mixed.w_plus[:, :4], faces.w_plus[:, :4])
    np.testing.assert_array_equal(mixed.w_plus[:, 4:], style[:, 4:])
    assert len(mixed) == 2


def test_a_bundle_names_its_inverters(pipe, folder, tmp_path):
    assert pipe.inverters == ("psp", "hyperstyle", "projection-w", "projection", "pti")
    less = shutil.copytree(folder, tmp_path / "less")
    shutil.rmtree(less / "hyperstyle")
    assert emojax.load(less, batch=4).inverters == ("psp",)
