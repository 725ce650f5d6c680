"""The command `python -m emojax.invert`, on small random networks."""

import csv
import json

import numpy as np
import pytest

from emojax import invert
from emojax.faces import images
from emojax.latents.codes import Inversion
from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError
from tests.support import small_world
from tests.support.small_world import SIDE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_world.write(tmp_path_factory.mktemp("checkpoints") / "small")


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name in ("b", "a", "c"):
        picture = np.kron(rng.integers(0, 256, (12, 12, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        images.write(tmp_path / "photos" / f"{name}.png", picture)
    return tmp_path / "photos"


def options(folder, photos, **changes):
    chosen = {
        "bundle": str(folder),
        "align": "never",
        "batch": 2,
        "out": photos.parent / "out",
        **changes,
    }
    return invert.Options((photos,), **chosen)


def test_a_folder_is_inverted_and_resumed(folder, photos, capsys, caplog):
    caplog.set_level("INFO")
    (photos / "broken.jpg").write_text("not a picture")
    chosen = options(folder, photos, inverter="hyperstyle", passes=2)
    with pytest.raises(UserError, match="1 of 4 pictures were left out"):
        invert.main(chosen)
    out = chosen.out
    names = {"a", "b", "c"}
    assert {file.name for file in out.iterdir()} == {"sheet.png", "scores.csv"} | {
        f"{name}{end}" for name in names for end in (".npz", ".png", "-aligned.png")
    }
    found = Inversion.load(out / "b.npz")
    assert (found.method, found.passes, len(found)) == ("hyperstyle", 2, 1)
    assert images.read(out / "b.png").shape == (128, 128, 3)
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    assert all(float(row["l2"]) > 0 and float(row["psnr"]) > 0 for row in rows)
    assert list(rows[0]) == ["name", "l2", "psnr"]  # pictures of 64 pixels have no MS-SSIM
    assert "3 faces" in capsys.readouterr().out
    assert f"no identity similarity: bundle {folder} has no identity" in caplog.text
    assert f"make it with 'emojax convert arcface FILE --name {folder}'" in caplog.text
    (photos / "broken.jpg").unlink()
    before = {file.name: file.stat().st_mtime_ns for file in out.glob("*.npz")}
    (out / "c.png").unlink()  # as if stopped before the last
    invert.main(chosen)
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("*.npz")}
    assert {name for name in after if after[name] != before[name]} == {"c.npz"}
    invert.main(options(folder, photos, inverter="psp"))  # another method is not the same work
    assert Inversion.load(out / "a.npz").method == "psp"


def test_points_from_a_file(folder, photos):
    points = (np.array([[-1, 0], [1, 0], [0, 1], [-0.8, 2], [0.8, 2]]) * 15 + [80, 80]).tolist()
    file = photos.parent / "points.json"
    file.write_text(json.dumps({"a.png": [points], "b.png": [points, points]}))
    chosen = options(folder, photos, align="auto", landmarks=file)
    with pytest.raises(UserError, match="2 of 3 pictures were left out"):
        invert.main(chosen)  # two faces in b, no points for c
    assert images.read(chosen.out / "a-aligned.png").shape == (1024, 1024, 3)


@pytest.mark.parametrize(
    ("name", "contents", "sentence"),
    [
        ("notes.jpg", b"not a picture", "is not a picture: wanted a PNG"),
        ("wide.png", (96, 64), "is 64x96: --align never wants squares of 64 pixels or more"),
        ("tiny.png", (16, 16), "is 16x16: --align never wants squares of 64 pixels"),
    ],
)
def test_bad_pictures_end_in_one_sentence(folder, tmp_path, capsys, name, contents, sentence):
    if isinstance(contents, bytes):
        (tmp_path / name).write_bytes(contents)
    else:
        images.write(tmp_path / name, np.zeros((*contents, 3), np.uint8))
    chosen = options(folder, tmp_path / name)
    assert run_command(lambda: invert.main(chosen)) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("error: ")]) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"passes": 0}, "--passes is 0, wanted 1 or more"),
        ({"batch": 0}, "--batch is 0, wanted 1 or more"),
        ({"face": "left"}, "--face is 'left', wanted largest or a number"),
        ({"bundle": "none"}, "no bundle 'none'"),
    ],
)
def test_bad_options_end_in_one_sentence(folder, photos, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        invert.main(options(folder, photos, **changes))


def test_names_do_not_collide(tmp_path):
    work = invert._named([tmp_path / "x" / "a.png", tmp_path / "y" / "a.jpg"])
    assert [each.name for each in work] == ["a", "a-2"]
    assert SIDE == 64
