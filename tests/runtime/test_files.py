"""Files are written whole, or not at all."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emojax.runtime import asides
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, replacing, replacing_folder


def write(place: Path) -> None:
    with replacing(place) as aside:
        aside.write_text("x")


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    place = tmp_path / "a.npz"
    place.write_bytes(b"old")
    with replacing(place) as aside:
        assert aside.parent == tmp_path
        assert aside.suffix == ".npz"  # NumPy and Pillow go by it
        assert aside.read_bytes() == b""
        np.savez(aside, x=np.arange(3))
        assert place.read_bytes() == b"old"
    assert np.load(place)["x"].tolist() == [0, 1, 2]
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, fault: type[BaseException]) -> None:
    place = tmp_path / "a.txt"
    place.write_text("old")

    def stop_half_way() -> None:
        with replacing(place) as aside:
            aside.write_text("ne")
            raise fault("half way")

    with pytest.raises(fault, match="half way"):
        stop_half_way()
    assert place.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_names_as_long_as_the_disk_takes(tmp_path: Path) -> None:
    write(tmp_path / ("a" * 255))
    assert os.listdir(tmp_path) == ["a" * 255]


def test_failures_of_the_disk_are_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "none" / "a.txt"
    with pytest.raises(UserError, match=f"^cannot write {place} .*: make room or choose"):
        write(place)


def test_only_files_are_replaced(tmp_path: Path) -> None:
    folder, pipe = tmp_path / "folder", tmp_path / "pipe"
    folder.mkdir()
    os.mkfifo(pipe)
    for place in (folder, pipe):
        with pytest.raises(UserError, match=f"^cannot write {place}: it exists and is no file"):
            write(place)
        assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_folders_are_made_or_the_reason_is_named(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    assert make_folder(place) == place
    assert make_folder(place).is_dir()
    write(place / "file")
    with pytest.raises(UserError, match=f"^cannot make folder {place}/file .*: choose another"):
        make_folder(place / "file")


def fill(place: Path, text: str) -> None:
    with replacing_folder(place) as aside:
        (aside / "inner").mkdir()
        (aside / "inner" / text).write_text(text)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    place = tmp_path / "part"
    for text in ("first", "second"):
        fill(place, text)
        assert os.listdir(place / "inner") == [text]
        assert os.listdir(tmp_path) == ["part"]


def test_a_folder_half_filled_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "part"
    fill(place, "first")
    with pytest.raises(UserError, match=f"^cannot write {place} .*: make room or choose"):
        fill(place, "no/folder")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.startswith(".part-"):
            raise OSError("no room")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)  # the old one has been moved away by then
    with pytest.raises(UserError, match="no room"):
        fill(place, "second")
    assert os.listdir(place / "inner") == ["first"]
    assert os.listdir(tmp_path) == ["part"]


KILLED = """
import os, pathlib, signal, sys
from emojax.runtime import files
place = pathlib.Path(sys.argv[1])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
with files.replacing(place / "a.txt") as aside:
    aside.write_text("half")
    if sys.argv[2] == "replacing":
        pathlib.Path.rename = lambda *_, rename=pathlib.Path.rename: (rename(*_), die())
    with files.replacing_folder(place / "part") as inner:
        (inner / "b.txt").write_text("new")
        if sys.argv[2] == "filling":
            die()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
@pytest.mark.parametrize("moment", ["filling", "replacing"])
def test_the_next_process_removes_what_a_kill_left(tmp_path: Path, moment: str) -> None:
    """The folder that was being replaced is put back where the kill left none in its place."""
    fill(tmp_path / "part", "first")
    run = [sys.executable, "-c", KILLED, str(tmp_path), moment]
    assert subprocess.run(run, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "part").exists() == (moment == "filling")
    assert len(os.listdir(tmp_path)) == 3
    asides.cleaned.clear()  # as in a new process
    write(tmp_path / "a.txt")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "part"]
    assert os.listdir(tmp_path / "part" / "inner") == ["first"]


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as aside, replacing_folder(tmp_path / "part") as folder:
        asides.cleaned.clear()
        (tmp_path / f"{asides.PART}ffffff-01").write_text("of another machine")
        write(tmp_path / "b.txt")
        assert aside.exists()
        assert folder.exists()
    assert len(os.listdir(tmp_path)) == 4
