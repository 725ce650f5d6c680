"""`emojax sample`: the same face whatever the batch, and clear sentences."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from convert import stylegan
from emojax import invert, sample
from emojax.runtime.cli import call
from emojax.runtime.errors import UserError
from tests.support.oracles import DATA


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return the folder of a converted bundle."""
    folder = tmp_path_factory.mktemp("checkpoints")
    stylegan.main(
        stylegan.Options(file=DATA / "files" / "ros_tiny.pt", name="tiny", checkpoints=folder)
    )
    return str(folder / "tiny")


def options(tiny, **changes):
    return sample.Options(**{"bundle": tiny, "seeds": "0-4", **changes})


def test_a_face_does_not_depend_on_its_batch(tiny, tmp_path):
    for noise in ("const", "random"):
        sample.main(options(tiny, batch=5, noise=noise, out=tmp_path / "five"))
        sample.main(options(tiny, batch=2, seeds="3,1", noise=noise, out=tmp_path / "two"))
        for seed in (1, 3):
            a, b = (
                np.asarray(Image.open(tmp_path / d / f"seed{seed}.png")) for d in ("five", "two")
            )
            assert (
                np.abs(a.astype(int) - b).max() <= 1
            )  # one float32 rounding may cross a grey level


def test_sheet_holds_every_face(tiny, tmp_path):
    sample.main(options(tiny, out=tmp_path / "new" / "sheet.png"))
    sample.main(options(tiny, out=tmp_path / "each"))
    sheet = np.asarray(Image.open(tmp_path / "new" / "sheet.png"))
    for seed in range(5):  # three a row, 32 pixels as 128, 4 between them, 16 for the caption
        row, column = divmod(seed, 3)
        y, x = 4 + row * (128 + 16 + 4), 4 + column * (128 + 4)
        face = np.asarray(Image.open(tmp_path / "each" / f"seed{seed}.png"))
        np.testing.assert_array_equal(sheet[y : y + 128 : 4, x : x + 128 : 4], face)


def test_options_reach_the_picture(tiny, tmp_path):
    pictures = {}
    for name, change in {
        "plain": {},
        "truncation": {"truncation": 0.2},
        "cutoff": {"truncation": 0.2, "cutoff": 2},
        "noise": {"noise": "none"},
        "bfloat16": {"bfloat16_from": 8},
        "resolution": {"resolution": 16},
    }.items():
        sample.main(options(tiny, seeds="7", out=tmp_path / name, **change))
        pictures[name] = np.asarray(Image.open(tmp_path / name / "seed7.png")).astype(float)
    assert pictures.pop("resolution").shape == (16, 16, 3)
    names = sorted(pictures)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert np.abs(pictures[a] - pictures[b]).mean() > 1e-3, (a, b)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seeds": "5-1"}, "--seeds is '5-1', wanted numbers and rising ranges"),
        ({"seeds": "0-99999999"}, "wanted at most 1,000,000"),
        ({"resolution": 20}, r"--resolution is 20, this generator draws \[4, 8, 16, 32\]"),
        ({"batch": 0}, "--batch is 0, wanted 1 or more"),
        ({"bundle": "nowhere"}, "no bundle 'nowhere'"),
    ],
)
def test_bad_arguments(tiny, tmp_path, change, sentence):
    with pytest.raises(UserError, match=sentence):
        sample.main(options(tiny, out=tmp_path / "x", **change))
    assert list(tmp_path.iterdir()) == []


def test_the_faces_are_taken_as_aligned(tmp_path, monkeypatch):
    """`emojax sample --out faces/`, then `emojax invert faces/`, as a newcomer would type it."""
    monkeypatch.chdir(tmp_path)
    call(sample.main, ["--seeds", "0-1", "--out", "faces"])
    call(invert.main, ["faces"])
    assert len(list((tmp_path / "inverted").rglob("*.png"))) >= 2


def test_help_needs_no_jax():
    told = "import sys; from emojax.runtime.cli import call; from emojax import sample\n"
    told += "try: call(sample.main, ['--help'])\nexcept SystemExit: print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_other_pictures_than_png_are_refused(tiny, tmp_path):
    with pytest.raises(UserError, match=r"wanted a \.png file or a folder"):
        sample.main(options(tiny, out=tmp_path / "x.gif"))
