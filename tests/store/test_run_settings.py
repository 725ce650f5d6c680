"""When a run may go on with a folder of results."""

import json
import os

import pytest

from emojax.runtime.errors import UserError
from emojax.store import run_settings

SETTINGS = {"generator": "ab", "samples": 16, "classes": ("a", "b"), "crop": None}


def test_the_same_settings_go_on(tmp_path):
    folder = tmp_path / "new" / "run"
    for _ in range(2):
        run_settings.open_folder(folder, SETTINGS)
        assert run_settings.read(folder) == {**SETTINGS, "classes": ["a", "b"]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"samples": 32}, "samples 16, now 32"),
        ({"generator": "cd", "crop": "face"}, "generator ab, now cd, crop None, now face"),
        ({"seed": 1}, "seed None, now 1"),
    ],
)
def test_other_settings_are_refused_and_named(tmp_path, change, sentence):
    run_settings.open_folder(tmp_path / "run", SETTINGS)
    before = (tmp_path / "run" / "settings.json").read_bytes()
    with pytest.raises(
        UserError, match=rf"another run \({sentence}\): give the same options to go"
    ):
        run_settings.open_folder(tmp_path / "run", {**SETTINGS, **change})
    assert (tmp_path / "run" / "settings.json").read_bytes() == before


def test_what_may_grow_grows_and_never_shrinks(tmp_path):
    run_settings.open_folder(tmp_path, SETTINGS, grows=("samples",))
    run_settings.open_folder(tmp_path, {**SETTINGS, "samples": 32}, grows=("samples",))
    assert run_settings.read(tmp_path)["samples"] == 32
    with pytest.raises(UserError, match=r"another run \(samples 32, now 16\)"):
        run_settings.open_folder(tmp_path, SETTINGS, grows=("samples",))
    more = {**SETTINGS, "samples": 64, "crop": "face"}
    with pytest.raises(UserError, match=r"another run \(crop None, now face\)"):
        run_settings.open_folder(tmp_path, more, grows=("samples",))
    assert run_settings.read(tmp_path)["samples"] == 32


def test_a_run_killed_in_its_first_moment_can_be_begun_again(tmp_path):
    (tmp_path / ".part-0123.json").write_text("{")  # as replacing() writes it
    run_settings.open_folder(tmp_path, SETTINGS)
    assert run_settings.read(tmp_path)["samples"] == 16


def test_another_process_may_be_quicker(tmp_path, monkeypatch):
    """Processes of a cluster begin at the same time: the first one's settings are no stranger."""
    (tmp_path / "codes").mkdir()
    listed = type(tmp_path).iterdir

    def meanwhile(folder):
        (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
        return listed(folder)

    monkeypatch.setattr(type(tmp_path), "iterdir", meanwhile)
    run_settings.open_folder(tmp_path, SETTINGS)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '{"samples": "many"}'])
def test_settings_that_are_none(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(UserError, match=r"is not settings of a run|another run"):
        run_settings.open_folder(tmp_path, SETTINGS, grows=("samples",))


def test_folders_of_something_else(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    for place in (tmp_path, tmp_path / "letter.txt"):
        with pytest.raises(UserError, match="holds something else than results: choose another"):
            run_settings.open_folder(place, SETTINGS)
    assert os.listdir(tmp_path) == ["letter.txt"]
