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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One with a bundle and a short film."""
    return make_world(tmp_path_factory.mktemp("world"), frames=6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["score", "directions", "invert", "evaluate", "video"])
def test_two_processes_in_one_folder(world, name):
    """They make the same results; of two that would edit one film, one is refused."""
    if name == "video" and world.film is None:
        pytest.skip("PyAV is not installed")
    if name == "directions":
        runner.whole(JOBS["score"], world)  # which it reads
    said = faults.two_at_once(JOBS[name], world, world.folder / "two" / name)
    alone = {"directions", "video"}  # of which the second may find the first at work, or its result
    others = ("exit codes 0, 2", "exit codes 2, 0") if name in alone else ()
    assert said in ("exit codes 0, 0", *others)
