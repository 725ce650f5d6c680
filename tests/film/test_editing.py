"""`edit_video` on a drawn film and small networks."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest

import emojax
from emojax import video
from emojax.demo import scene
from emojax.film import following, reading, writing
from emojax.film.changes import VideoEdit, strength, usable_end
from emojax.film.chunk_store import ChunkStore
from emojax.film.editing import edit_video
from emojax.film.inverting import reference
from emojax.film.pasting import matched
from emojax.film.reading import Video
from emojax.film.tracks import Track
from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError
from emojax.runtime.flags import PipelineFlags
from tests.support import small_world

pytest.importorskip("av")

FACES, EMPTY, CHUNK = 20, 4, 8
SCENE = scene.Scene(person=13, width=96, height=72, zoom=0.85)


class Quiet:
    """What is told of the work; raises once `most` frames are done."""

    def __init__(self, most=10**9):
        self.done, self.most = 0, most

    def advance(self, count=1):
        self.done += count
        if self.done >= self.most:
            raise KeyboardInterrupt

    def describe(self, doing):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "small")


@pytest.fixture(scope="module")
def pipe(folder):
    return emojax.load(folder, batch=4, devices=1)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A face for 20 frames, then none for 4; a varying frame rate."""
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    about = Video(file, 96, 72, Fraction(1, 12800), Fraction(25), 0)
    chunk = file.with_suffix(".nut")
    frames = [*scene.pictures(SCENE, FACES), *[np.full((72, 96, 3), 90, np.uint8)] * EMPTY]
    with writing.chunk_writer(chunk, about) as put:
        for index, frame in enumerate(frames):
            put(512 * index + 50 * (index % 3), frame)
    writing.join([chunk], about, file)
    return file


@pytest.fixture(scope="module")
def edited(pipe, film, tmp_path_factory):
    out = tmp_path_factory.mktemp("edited") / "out.mp4"
    return edit_video(pipe, film, out, shown=Quiet(), chunk=CHUNK, happiness=5)


def read(file):
    about = reading.describe(file)
    return about, list(reading.read(about))


def test_the_face_is_edited_and_all_else_is_kept(film, edited):
    assert (edited.frames, edited.edited) == (FACES + EMPTY, FACES)
    assert [face["edited"] for face in edited.faces] == [True]
    (about, before), (after, frames) = read(film), read(edited.file)
    np.testing.assert_allclose(
        [float(frame.pts * after.time_base) for frame in frames],
        [float(frame.pts * about.time_base) for frame in before],
        rtol=0,
        atol=1e-9,
    )
    change = np.abs(
        np.stack([f.picture for f in frames]).astype(float) - [f.picture for f in before]
    )
    quads = scene.quads(SCENE, np.arange(FACES))
    for index in range(FACES):
        (left, top), (right, bottom) = quads[index].min(0) - 8, quads[index].max(0) + 8
        outside = np.ones(change.shape[1:3], bool)
        outside[max(int(top), 0) : int(bottom), max(int(left), 0) : int(right)] = False
        assert change[index][outside].mean() < 2  # encoded twice
        if index < FACES // 2:  # it fades out before the face disappears
            assert change[index][30:60, 30:66].mean() > 3
    assert change[FACES:].mean() < 1
    assert not edited.file.with_name("out.mp4.parts").exists()


@pytest.mark.parametrize("most", [10, 40, 60])
def test_an_interrupted_run_goes_on(pipe, film, edited, tmp_path, most):
    """In each of the three steps; the chunks that are there are not made again."""
    out = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        edit_video(pipe, film, out, shown=Quiet(most), chunk=CHUNK, happiness=5)
    assert not out.exists()
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "out.mp4.parts").rglob("*.n*")}
    assert kept
    with pytest.raises(UserError, match=r"holds results of another run .amounts"):
        edit_video(pipe, film, out, shown=Quiet(), chunk=CHUNK, happiness=4)
    with pytest.raises(KeyboardInterrupt):  # kept while it goes on, until the last frame
        edit_video(pipe, film, out, shown=Quiet(3 * (FACES + EMPTY)), chunk=CHUNK, happiness=5)
    assert all(file.stat().st_mtime_ns == at for file, at in kept.items())
    edit_video(pipe, film, out, shown=Quiet(), chunk=CHUNK, happiness=5)
    assert out.read_bytes() == edited.file.read_bytes()


def test_chunks_do_not_show(pipe, film, edited, tmp_path):
    whole = edit_video(pipe, film, tmp_path / "a.mp4", shown=Quiet(), chunk=64, happiness=5)
    (_, one), (_, three) = read(whole.file), read(edited.file)
    for a, b in zip(one, three, strict=True):
        # key frames lie elsewhere, noise is encoded otherwise; the detector ran at the same frames
        assert np.abs(a.picture.astype(float) - b.picture).mean() < 4


def test_a_target_a_driver_and_a_preview(pipe, folder, film, tmp_path):
    results = []
    for name, edit in {
        "target": VideoEdit(target=folder / "samples" / "target.png", normaliser="reinvert"),
        "driver": VideoEdit(driver=film, alpha=0.0),
    }.items():
        out, both = tmp_path / f"{name}.mp4", tmp_path / f"{name}-both.mp4"
        done = edit_video(pipe, film, out, edit, preview=both, shown=Quiet(), chunk=CHUNK)
        assert (done.edited, done.preview) == (FACES, both)
        about, frames = read(both)
        assert (about.width, about.height) == (192, 72)
        shown = np.stack([frame.picture for frame in frames[:FACES]])[:, 30:60].astype(float)
        results.append(np.abs(shown[:, :, 30:66] - shown[:, :, 126:162]).mean())
    target, driver = results
    assert driver < 4  # alpha 0: the film's own expression, encoded at two places
    assert target > 1.3 * driver


def test_hyperstyle_has_the_kernels_of_one_frame(folder, film, tmp_path):
    pipe = emojax.load(folder, inverter="hyperstyle", passes=2, batch=4, devices=1)
    target = VideoEdit(target=film, normaliser="reinvert")
    with pytest.raises(UserError, match="reinvert gives every frame kernels of its own"):
        edit_video(pipe, film, tmp_path / "a.mp4", target)
    done = edit_video(pipe, film, tmp_path / "a.mp4", shown=Quiet(), chunk=CHUNK, happiness=5)
    assert done.edited == FACES


def test_crop_is_pasted_with_the_colours_of_the_frame(pipe, film, tmp_path):
    edit = VideoEdit({"happiness": 5}, paste_form="crop", smoothing=0)
    done = edit_video(pipe, film, tmp_path / "a.gif", edit, shown=Quiet(), chunk=CHUNK)
    about, frames = read(done.file)
    assert about.moving_picture
    assert len(frames) == FACES + EMPTY - 3  # equal frames at the end become one
    drawn = np.full((32, 32, 3), 100, np.uint8)
    np.testing.assert_allclose(matched(drawn + 5, drawn, drawn + 30), 135, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"edit": VideoEdit()}, "got 0 of them"),
        ({"edit": VideoEdit({"anger": 1}, target="a.png")}, "got 2 of them"),
        ({"joy": 3}, "no direction 'joy'"),
        ({"edit": VideoEdit({"anger": 1}, smoothing=-1)}, "smoothing is -1"),
        ({"edit": VideoEdit({"anger": 1}, face="3")}, "no face 3"),
        ({"edit": VideoEdit({"anger": 1}, face="left")}, "face is 'left', wanted largest, all or"),
        ({"out": "a.avi", "anger": 1}, "ends in .mp4"),
        ({"preview": "nowhere/a.mp4", "anger": 1}, "no folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(pipe, film, tmp_path, changes, sentence):
    changes = {"out": "a.mp4", **changes}
    names = {name: tmp_path / changes.pop(name) for name in ("out", "preview") if name in changes}
    with pytest.raises(UserError, match=sentence) as error:
        edit_video(pipe, film, shown=Quiet(), chunk=CHUNK, **names, **changes)
    assert "\n" not in str(error.value)
    assert not names["out"].exists()


def test_films_that_cannot_be_edited(pipe, film, tmp_path):
    empty = tmp_path / "empty.gif"
    about = Video(empty, 64, 64, Fraction(1, 25), Fraction(25), 0)
    with writing.chunk_writer(tmp_path / "a.nut", about, lossless=True) as put:
        for index in range(3):
            put(index, np.full((64, 64, 3), 40 * index, np.uint8))
    writing.join([tmp_path / "a.nut"], about, empty)
    with pytest.raises(UserError, match=r"no face found in any frame of .*empty\.gif"):
        edit_video(pipe, empty, tmp_path / "a.mp4", shown=Quiet(), anger=1)
    assert not (tmp_path / "a.mp4.parts").exists()  # there is nothing to go on with
    with pytest.raises(UserError, match=r"runs for 0\.12 s, shorter than the film's"):
        edit_video(pipe, film, tmp_path / "b.mp4", VideoEdit(driver=empty), shown=Quiet())
    assert not (tmp_path / "b.mp4.parts").exists()
    with pytest.raises(UserError, match="is the film itself"):
        edit_video(pipe, film, film, anger=1)


def test_an_edit_sets_in_slowly_within_a_scene():
    points = np.zeros((30, 5, 2))
    found = np.ones(30, bool)
    within = Track(10, points, points, found, fades_in=True, fades_out=True)
    share = strength(within, np.arange(10, 40), 25)
    assert share[0] < 0.1
    assert share[-1] < 0.1
    assert share[10:20].min() == 1
    assert np.diff(share[:7]).min() > 0
    assert (strength(Track(0, points, points, found), np.arange(30), 25) == 1).all()


def test_the_reference_looks_ahead():
    points = np.tile(np.array([[-10, 0], [10, 0], [0, 8], [-8, 15], [8, 15.0]]), (9, 1, 1))
    points[:, 2, 0] = [8, 6, 4, 2, 0, 2, 4, 6, 8]
    found = np.ones(9, bool)
    assert reference(Track(100, points, points, found)) == 104
    points[2] *= 1.6  # nearer, and all but ahead
    points[2, 2, 0] = 0
    assert reference(Track(100, points, points, found)) == 102


def test_faces_are_followed_where_they_are(film, tmp_path):
    found = following.follow(
        *(reading.describe(film), ChunkStore(tmp_path / "a", CHUNK), Quiet()),
        face="largest",
        smoothing=0.4,
        flag="--face",
    )
    (track,) = found.tracks
    assert (track.start, track.stop) == (0, FACES)
    centre = track.points[:, :2].mean(1)
    quads = scene.quads(SCENE, np.arange(FACES))
    side = np.linalg.norm(quads[:, 3] - quads[:, 0], axis=-1)
    wander = (centre - quads.mean(1)) / side[:, None]
    assert np.abs(wander - wander.mean(0)).max() < 0.05  # of the face's side; it turns


def options(folder, film, out, **changes):
    return video.Options(
        film, out=out, common=PipelineFlags(bundle=str(folder), batch=4), **changes
    )


def test_the_command_writes_film_and_report(folder, film, tmp_path, capsys, caplog):
    video.main(options(folder, film, tmp_path / "out.mp4", preview=True))
    said = capsys.readouterr().out
    assert said.startswith("20 of 24 frames edited:")
    assert {each.name for each in tmp_path.iterdir()} == {
        *("out.mp4", "out-preview.mp4", "out.json")
    }
    report = json.loads((tmp_path / "out.json").read_text())
    pipe = emojax.load(folder)
    assert report["edit"]["amounts"] == {"happiness": usable_end(pipe, "happiness")}
    assert report["faces"][0]["last"] == FACES - 1
    (doubt,) = report["warnings"]  # of the film, once, as of a photograph
    assert "film.mp4" in doubt
    assert f"warning: {doubt}" in caplog.messages


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"emotion": "joy"}, "no direction 'joy'"),
        ({"emotion": "anger", "target": "me.jpg"}, "--emotion and --target are given"),
        ({"target": "me.jpg"}, "no file me.jpg"),
        ({"driver": "me.mp4", "k": 3.0}, "--k goes with --emotion"),
        ({"driver": "me.mp4"}, "no file me.mp4"),
        ({"driver_face": "all"}, "--driver-face is 'all', wanted largest or a number"),
        ({"face": "left"}, "--face is 'left'"),
        ({"out": "edited.avi"}, "--out is edited.avi"),
        ({"layers": "a"}, "--layers is 'a'"),
        ({"film": __file__}, "is not a video that can be opened"),
    ],
)
def test_the_command_refuses_before_anything_slow(folder, film, here, capsys, changes, sentence):
    paths = {name: here / value for name, value in changes.items() if name in ("target", "driver")}
    chosen = options(folder, film, here / "edited.mp4")
    changes = {**changes, **paths}
    if "out" in changes:
        changes["out"] = type(here)(changes["out"])
    if "film" in changes:
        changes["film"] = type(here)(changes["film"])
    chosen = dataclasses.replace(chosen, **changes)
    assert run_command(lambda: video.main(chosen)) == 2
    said = capsys.readouterr().err
    assert sentence.replace("me.", str(here / "me."), 1) in said or sentence in said
    assert said.count("\n") == 1


def test_a_missing_extra_is_one_sentence(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="videos need PyAV: run 'pip install av'"):
        reading.describe(film)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_film(folder, film, tmp_path):
    command = [sys.executable, "-m", "emojax.video", str(film), "--bundle", str(folder)]
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    assert subprocess.run([*command, "--out", str(whole)], capture_output=True).returncode == 0
    process = subprocess.Popen([*command, "--out", str(cut)], stderr=subprocess.DEVNULL)
    parts = tmp_path / "cut.mp4.parts"
    while process.poll() is None and not list(parts.rglob("*.npz")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not cut.exists()
    assert subprocess.run([*command, "--out", str(cut)], capture_output=True).returncode == 0
    assert cut.read_bytes() == whole.read_bytes()
