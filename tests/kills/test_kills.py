"""Kills, and two processes in one folder; the other faults: `test_faults.py`."""

import os
import sys

import pytest

from tests.kills import faults, runner
from tests.kills.jobs import JOBS, World, make_world

KILLS = int(os.environ.get("EMOJAX_KILLS", "2"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="no signals there"),
]


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A world without a bundle, which training does without."""
    folder = tmp_path_factory.mktemp("empty")
    return World(folder, folder / "bundle", folder / "photos")


def test_kills_change_no_result(empty):
    """Those of `score`: tests/test_scoring.py."""
    counts = runner.run(empty, KILLS, 0, ("train",))
    assert counts["train"].kills == KILLS
    assert counts["train"].finished


def test_of_two_trainings_in_one_folder_one_is_refused(empty):
    said = faults.two_at_once(JOBS["train"], empty, empty.folder / "two")
    assert said in ("exit codes 0, 2", "exit codes 2, 0", "exit codes 0, 0")  # one after the other


def test_two_scorings_in_one_folder_make_the_same_results(tmp_path):
    world = make_world(tmp_path, frames=0)
    assert faults.two_at_once(JOBS["score"], world, tmp_path / "two") == "exit codes 0, 0"
