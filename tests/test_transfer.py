"""The commands `python -m emojax.transfer` and `python -m emojax.edit`, on small networks."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emojax import edit, transfer
from emojax.faces import images
from emojax.film import loops, reading
from emojax.latents import inversion, normalisers, reconstruction
from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError
from emojax.runtime.flags import PipelineFlags
from emojax.store import bundle
from tests.support import small_world
from tests.support.small_world import SIDE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "small")


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the bundle to do damage to."""
    return shutil.copytree(folder, tmp_path / "small")


@pytest.fixture
def photograph(tmp_path):
    """A photograph with its points in a file: the face is askew in it."""
    rng = np.random.default_rng(0)
    photo = np.kron(rng.integers(0, 256, (12, 16, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    images.write(tmp_path / "photo.png", photo)
    points = np.array([[-1, -0.2], [1, 0.2], [0, 1], [-0.9, 1.8], [0.7, 2]]) * 15 + [120, 80]
    (tmp_path / "points.json").write_text(json.dumps({"photo.png": [points.tolist()]}))
    return tmp_path / "photo.png"


def options(folder, out, *, common=None, **changes):
    shared = PipelineFlags(bundle=str(folder), passes=2, **(common or {}))
    return transfer.Options(out=out, common=shared, **changes)


def names_in(folder):
    return {file.name for file in folder.iterdir()}


def test_the_samples_are_transferred(folder, tmp_path, capsys):
    transfer.main(options(folder, tmp_path / "out"))
    assert names_in(tmp_path / "out") == {
        *("result.png", "result-means.png", "sheet.png", "transfer.json")
    }
    report = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert (report["normaliser"], report["k"], report["inverter"]) == ("reinvert", 20.0, "psp")
    stages = ("photo", "inverted", "neutral", "re-inverted")
    for whose in ("source", "target"):
        assert tuple(report[whose]["predictions"]) == stages
        for said in report[whose]["predictions"].values():
            assert sum(said.values()) == pytest.approx(1, abs=1e-5)
    (result,) = report["results"]
    a, b = (
        np.array(list(said.values()))
        for said in (result["predictions"], report["target"]["predictions"]["photo"])
    )
    cosine = a @ b / np.sqrt(a @ a * (b @ b))
    assert result["emotion_score"] == pytest.approx(cosine, abs=1e-4)
    assert 0 < cosine < 0.999  # they are told apart
    assert f"emotion score {result['emotion_score']:.3f}" in capsys.readouterr().out
    # the picture is what the parts make of it
    inverter = inversion.load(bundle.find(folder), "psp")
    drawn = images.read(tmp_path / "out" / "result.png")
    assert drawn.shape == (128, 128, 3)
    faces = [images.read(folder / "samples" / f"{name}.png") for name in ("source", "target")]
    found = inversion.invert(inverter, images.to_float(np.stack(faces)), batch=2)
    done = normalisers.transfer(inverter, small_world.directions(), found[0], found[1], batch=2)
    wanted = images.to_uint8(inversion.synthesize(inverter, done.result))[0]
    assert np.abs(drawn.astype(int) - wanted).max() <= 1  # rounding, in batches of other sizes


def test_a_path_into_a_photograph_by_hyperstyle(folder, photograph, tmp_path):
    common = {"inverter": "hyperstyle", "landmarks": photograph.with_name("points.json")}
    chosen = options(
        folder,
        tmp_path / "out",
        common=common,
        source=photograph,
        target=folder / "samples" / "target.png",
        normaliser="subspace",
        compare=(),
        alpha="0..1",
        steps=3,
        paste=True,
        video=tmp_path / "path.webp",
        frames=3,
    )
    transfer.main(chosen)
    marks = ("0.00", "0.50", "1.00")
    assert names_in(tmp_path / "out") == {"sheet.png", "transfer.json"} | {
        f"{kind}-{mark}.png" for kind in ("result", "pasted") for mark in marks
    }
    report = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert [each["alpha"] for each in report["results"]] == [0, 0.5, 1]
    assert report["k"] is None
    assert "re-inverted" not in report["source"]["predictions"]
    inverted = report["source"]["predictions"]["inverted"]
    assert report["results"][0]["predictions"] == pytest.approx(inverted, abs=1e-3)  # alpha is 0
    photo, pasted = (
        images.read(file) for file in (photograph, tmp_path / "out" / "pasted-1.00.png")
    )
    assert photo.shape == pasted.shape
    changed = (photo != pasted).any(-1)
    assert changed[80, 120]  # between the eyes
    assert not changed[:, :20].any()
    with Image.open(tmp_path / "path.webp") as film:
        assert film.n_frames == 4  # there and back
        assert film.size == (256, 256)


def test_a_face_is_edited(folder, tmp_path, capsys):
    common = PipelineFlags(bundle=str(folder))
    chosen = edit.Options(
        emotion="fear,surprise", k="-4..4", steps=3, layers="2:6", out=tmp_path, common=common
    )
    edit.main(chosen)
    files = {f"fear{k}_surprise{k}.png" for k in ("-04.0", "+00.0", "+04.0")}
    assert names_in(tmp_path) == {"sheet.png", "edit.json"} | files
    report = json.loads((tmp_path / "edit.json").read_text())
    assert [each["k"] for each in report["edits"]] == [
        {"fear": k, "surprise": k} for k in (-4, 0, 4)
    ]
    pictures = [images.read(tmp_path / each["file"]).astype(int) for each in report["edits"]]
    assert all(np.abs(pictures[1] - other).max() > 0 for other in (pictures[0], pictures[2]))
    assert "3 edits" in capsys.readouterr().out


def test_an_edit_goes_back_into_the_photograph_and_into_a_film(folder, photograph, tmp_path):
    common = PipelineFlags(bundle=str(folder), landmarks=photograph.with_name("points.json"))
    chosen = edit.Options(
        photo=photograph,
        emotion="fear",
        k="-30..30",
        steps=3,
        paste=True,
        video=tmp_path / "film.webp",
        frames=3,
        out=tmp_path / "out",
        common=common,
    )
    edit.main(chosen)
    report = json.loads((tmp_path / "out" / "edit.json").read_text())
    photo = images.read(photograph)
    for each in report["edits"]:
        pasted = images.read(tmp_path / "out" / each["pasted"])
        changed = (pasted != photo).any(-1)
        assert changed.any() == (each["k"]["fear"] != 0)  # an edit by nothing is the photograph
        assert not changed[:, :20].any()
    with Image.open(tmp_path / "film.webp") as film:
        assert film.n_frames == 4
    edit.main(dataclasses.replace(chosen, paste=False, video=None))
    assert not list((tmp_path / "out").glob("pasted*"))  # those of the first run are gone


def test_photographs_are_decoded_once(folder, photograph, tmp_path, monkeypatch):
    decoded = []
    decode = images.decode
    monkeypatch.setattr(
        images, "decode", lambda *a, **k: decoded.append(k["name"]) or decode(*a, **k)
    )
    common = {"landmarks": photograph.with_name("points.json")}
    transfer.main(
        options(folder, tmp_path / "out", common=common, source=photograph, target=photograph)
    )
    assert decoded == [str(photograph)] * 2  # source and target


def test_an_aligned_picture_takes_the_change_too(folder, tmp_path):
    transfer.main(options(folder, tmp_path / "out", paste=True))
    photo = images.read(folder / "samples" / "source.png")
    pasted = images.read(tmp_path / "out" / "pasted.png")
    assert pasted.shape == photo.shape
    assert (pasted != photo).any()
    assert (pasted[:4] == photo[:4]).all()  # outside the face


def test_photographs_outside_of_a_bundles_world_are_named_once(copy, tmp_path, caplog):
    inverter = inversion.load(bundle.find(copy), "psp")
    usual = {"made_with": inverter.made_with, "samples": 9, "median": 1e-4, "most": 1e-3}
    transfer.main(options(copy, tmp_path / "before"))
    (unmeasured,) = json.loads((tmp_path / "before" / "transfer.json").read_text())["warnings"]
    assert "is not known, since it has no reconstruction.json" in unmeasured
    (copy / reconstruction.FILE).write_text(json.dumps({"psp": usual}))
    transfer.main(options(copy, tmp_path / "out"))
    said = [each.message for each in caplog.records if "times as far off" in each.message]
    report = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert [f"warning: {each}" for each in report["warnings"]] == said
    assert ["source.png is" in said[0], "target.png is" in said[1], len(said)] == [True, True, 2]
    before, after = (images.read(tmp_path / each / "sheet.png") for each in ("before", "out"))
    assert len(after) > len(before) + 20  # two sentences above the faces, not one
    caplog.clear()
    edit.main(edit.Options(k="3", out=tmp_path / "edit", common=PipelineFlags(bundle=str(copy))))
    assert len(json.loads((tmp_path / "edit" / "edit.json").read_text())["warnings"]) == 1
    assert sum("times as far off" in each.message for each in caplog.records) == 1


def test_all_emotions_make_a_grid(folder, tmp_path):
    common = PipelineFlags(bundle=str(folder))
    edit.main(edit.Options(emotion="all", k="5", out=tmp_path, common=common))
    report = json.loads((tmp_path / "edit.json").read_text())
    assert [list(each["k"]) for each in report["edits"]] == [
        [name] for name in small_world.directions().names
    ]
    assert images.read(tmp_path / "sheet.png").shape[0] > 8 * 190


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("psp", r"has no psp .*: make it with 'emojax convert psp FILE"),
        ("emotion", r"has no emotion .*: make it with 'emojax convert emotion FILE"),
        ("directions.npz", "has no directions: make them with 'emojax score"),
        ("samples", r"has no sample picture samples/source.png: give pictures of your own"),
    ],
)
def test_missing_parts_say_how_to_get_them(copy, tmp_path, part, sentence):
    (copy / part).rename(tmp_path / "away")
    with pytest.raises(UserError, match=sentence):
        transfer.main(options(copy, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "common", "sentence"),
    [
        ({"alpha": "half"}, {}, "--alpha is 'half', wanted a number, or a range such as 0..1"),
        ({"alpha": "0..1", "steps": 1}, {}, "--steps is 1, wanted 2 or more"),
        ({"frames": 1}, {}, "--frames is 1, wanted 2 or more"),
        ({"video": "a.avi"}, {}, "--video is a.avi, wanted a name that ends in .mp4, .gif, .webp"),
        ({"source": "none.jpg"}, {}, "no file none.jpg: give the path of a picture"),
        ({"normaliser": "subspace", "projection": "plane"}, {}, "projection is 'plane', wanted"),
        ({}, {"passes": 0}, "--passes is 0, wanted 1 or more"),
        ({}, {"inverter": "none"}, "--inverter is none: a transfer takes photographs, wanted one"),
        ({"source_face": "left"}, {}, "--source-face is 'left', wanted largest or a number"),
        ({"target_face": "0"}, {}, "--target-face is '0', wanted largest or a number"),
        ({}, {"landmarks": "a", "dlib_model": "b"}, "both --landmarks and --dlib-model are given"),
        ({}, {"bundle": "none"}, "no bundle 'none'"),
        ({}, {"directions": "none.npz"}, "no file none.npz"),
    ],
)
def test_bad_options_end_in_one_sentence(folder, tmp_path, capsys, changes, common, sentence):
    paths = {"source", "video", "landmarks", "dlib_model", "directions"}
    changes, common = (
        {name: Path(value) if name in paths else value for name, value in each.items()}
        for each in (changes, common)
    )
    chosen = options(folder, tmp_path / "out", **changes)
    chosen = dataclasses.replace(chosen, common=dataclasses.replace(chosen.common, **common))
    assert run_command(lambda: transfer.main(chosen)) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len([line for line in error.splitlines() if line.startswith("error: ")]) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"emotion": "joy"}, "no direction 'joy': these are known: anger, contempt"),
        ({"layers": "2-4"}, "--layers is '2-4', wanted a range such as 4:8"),
        ({"layers": "40:"}, "layers 40: hold none of the generator's"),
        ({"k": "1.."}, "--k is '1..', wanted a number"),
        ({"frames": 1}, "--frames is 1, wanted 2 or more"),
        ({"video": Path("a.avi")}, r"--video is a\.avi, wanted a name that ends in"),
    ],
)
def test_bad_edits_end_in_one_sentence(folder, tmp_path, changes, sentence):
    common = PipelineFlags(bundle=str(folder))
    with pytest.raises(UserError, match=sentence):
        edit.main(edit.Options(out=tmp_path / "out", common=common, **changes))
    assert not (tmp_path / "out").exists()


def test_an_unaligned_sample_of_the_users_is_refused_where_it_is_too_small(folder, tmp_path):
    images.write(tmp_path / "small.png", np.zeros((SIDE // 2, SIDE // 2, 3), np.uint8))
    chosen = options(
        folder, tmp_path / "out", common={"align": "never"}, source=tmp_path / "small.png"
    )
    with pytest.raises(UserError, match=r"small\.png is 32x32: --align never wants squares of 64"):
        transfer.main(chosen)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_video_has_all_its_frames_enlarged(tmp_path, suffix):
    file = tmp_path / f"film{suffix}"
    loops.write(file, [np.full((64, 64, 3), level, np.uint8) for level in (0, 120, 240)])
    with Image.open(file) as film:
        assert film.n_frames == 3
        assert film.size == (256, 256)
    assert names_in(tmp_path) == {file.name}


def test_an_mp4_without_pyav_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"run 'pip install av', or use \.gif"):
        loops.check(tmp_path / "film.mp4")


def test_an_mp4_is_whole_or_not_there(tmp_path):
    pytest.importorskip("av")
    frames = [np.full((256, 257, 3), level, np.uint8) for level in (1, 120, 240)]
    file = tmp_path / "film.mp4"
    loops.write(file, frames)
    video = reading.describe(file)
    assert (video.width, video.height, video.rate) == (258, 256, 25)  # sides are made even
    levels = [frame.picture.mean() for frame in reading.read(video)]
    np.testing.assert_allclose(levels, [1, 120, 240], atol=2)  # colours are rounded twice
    whole = file.read_bytes()
    with pytest.raises(ValueError, match="ndim `3` but got `2`"):
        loops.write(file, [*frames, np.zeros((256, 256), np.uint8)])  # it stops half-way
    assert file.read_bytes() == whole
    assert names_in(tmp_path) == {"film.mp4"}


@pytest.mark.parametrize("command", ["transfer", "edit"])
def test_help_has_examples(command):
    done = subprocess.run(
        [sys.executable, "-m", f"emojax.{command}", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"emojax {command} " in done.stdout
    assert "--bundle" in done.stdout


def test_each_photograph_has_its_own_choice_of_a_face(folder, tmp_path):
    """Two faces in the source, one in the target: --source-face says which of them."""
    rng = np.random.default_rng(1)
    photo = np.kron(rng.integers(0, 256, (12, 20, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    images.write(tmp_path / "two.png", photo)
    face = 15 * np.array([[-1, -0.2], [1, 0.2], [0, 1], [-0.9, 1.8], [0.7, 2]])
    left, right = (np.add(face, at).tolist() for at in ((90, 80), (230, 80)))
    points = {"two.png": [left, right]}
    (tmp_path / "points.json").write_text(json.dumps(points))
    common = {"landmarks": tmp_path / "points.json"}
    first = options(folder, tmp_path / "out", common=common, source=tmp_path / "two.png")
    with pytest.raises(UserError, match=r"2 faces found .* choose with --source-face largest"):
        transfer.main(first)
    transfer.main(dataclasses.replace(first, source_face="2"))
    assert "result.png" in names_in(tmp_path / "out")


def test_edits_go_over_the_usable_range_by_default(folder, tmp_path):
    known = dataclasses.replace(small_world.directions(), usable=np.tile([-2.0, 3.0], (8, 1)))
    known.save(tmp_path / "measured.npz")
    common = PipelineFlags(bundle=str(folder), directions=tmp_path / "measured.npz")
    edit.main(edit.Options(steps=3, out=tmp_path / "out", common=common))
    files = {f"happiness{k}.png" for k in ("-02.0", "+00.5", "+03.0")}
    assert names_in(tmp_path / "out") == {"sheet.png", "edit.json"} | files
    edit.main(edit.Options(k="1", out=tmp_path / "out", common=common))
    assert names_in(tmp_path / "out") == {"sheet.png", "edit.json", "happiness+01.0.png"}


def test_names_of_edits_tell_them_apart_and_sort_by_k():
    move = edit.Move({"fear": [0.01, 0.02, 10.0]})
    assert edit.file_names(move) == ["fear+00.01.png", "fear+00.02.png", "fear+10.00.png"]
