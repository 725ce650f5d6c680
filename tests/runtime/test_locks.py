"""One process at a time in a folder; by two opens of one process, which locks keep apart too."""

import shutil

import pytest

from emojax.runtime.errors import UserError
from emojax.runtime.locks import FILE, alone

pytest.importorskip("fcntl")


def test_a_second_is_refused_until_the_first_ends(tmp_path):
    folder = tmp_path / "made" / "here"
    with (
        alone(folder, "editing a film"),
        pytest.raises(UserError, match=r"another process is editing a film in .*here: wait for it"),
        alone(folder, "editing a film"),
    ):
        pass
    with alone(folder, "editing a film"):
        assert (folder / FILE).is_file()


def test_a_folder_that_the_first_removes_is_made_again(tmp_path, monkeypatch):
    """Between the second's opening of the lock's file and its lock."""
    from emojax.runtime import locks

    folder, flock, ended = tmp_path / "work", locks.fcntl.flock, []
    with alone(folder, "editing"):
        pass

    def late(file, how):
        if not ended:
            ended.append(shutil.rmtree(folder))
        flock(file, how)

    monkeypatch.setattr(locks.fcntl, "flock", late)
    with alone(folder, "editing"):
        assert ended
        assert (folder / FILE).is_file()
        with pytest.raises(UserError), alone(folder, "editing"):
            pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot"), alone(tmp_path / "file" / "work", "editing"):
        pass
