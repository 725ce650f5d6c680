"""A few of the disturbances of `python -m tests.kills`, and each of the others once."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.kills import runner
from tests.kills.jobs import JOBS, World, leftovers, make_world, results

KILLS = int(os.environ.get("EMOJAX_KILLS", "2"))
SUPPORT = Path(__file__).parents[1] / "support"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals there")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A world without a bundle, which training does without."""
    folder = tmp_path_factory.mktemp("empty")
    return World(folder, folder / "bundle", folder / "photos")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def test_kills_change_no_result(empty):
    """Those of `score`: tests/test_scoring.py."""
    counts = runner.run(empty, KILLS, random.Random(0), ("train",))
    assert counts["train"].kills == KILLS
    assert counts["train"].finished


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_is_one_word_and_leaves_nothing_half_written(empty, tmp_path, number, code):
    process = runner.start(JOBS["train"], empty, tmp_path / "out")
    while process.poll() is None and not (tmp_path / "out/small/progress.json").exists():
        time.sleep(0.01)
    process.send_signal(number)
    ended = runner.wait(process)
    assert ended.code == code
    assert ended.said.splitlines()[-1] == "stopped"
    assert leftovers(tmp_path / "out") == []
    runner.finish(JOBS["train"], empty, tmp_path / "out")


@pytest.mark.parametrize(("name", "most"), [("score", 2000), ("train", 300)])
def test_a_full_disk_is_one_sentence_and_keeps_what_is_done(world, tmp_path, name, most):
    """By a limit of the size of a file, which every user may set."""
    ended = runner.on_full_disk(JOBS[name], world, tmp_path / "out", most)
    assert ended.code == 2, ended.said
    assert ended.said.splitlines()[-1].startswith("error: cannot write")
    assert "Traceback" not in ended.said
    assert leftovers(tmp_path / "out") == []
    runner.finish(JOBS[name], world, tmp_path / "out")


def test_two_processes_in_one_folder_make_the_same_results(world, tmp_path):
    out = tmp_path / "out"
    both = [runner.start(JOBS["score"], world, out) for _ in range(2)]
    for process in both:
        runner.check(JOBS["score"], world, out, runner.wait(process))


def test_of_two_trainings_in_one_folder_one_is_refused(empty, tmp_path):
    out = tmp_path / "out"
    both = [runner.start(JOBS["train"], empty, out) for _ in range(2)]
    ended = [runner.wait(process) for process in both]
    assert sorted(each.code for each in ended) in ([0, 2], [0, 0])  # one may come after the other
    for each in ended:
        assert each.code == 0 or "another process is training in" in each.said
    runner.finish(JOBS["train"], empty, out)


def test_a_clock_that_jumps_changes_nothing(world, tmp_path):
    """Training is another matter: Orbax gives up when an hour passes while it writes."""
    path = os.pathsep.join([str(SUPPORT / "jumping_clock"), str(SUPPORT.parents[1])])
    process = runner.start(JOBS["score"], world, tmp_path / "out", PYTHONPATH=path)
    runner.check(JOBS["score"], world, tmp_path / "out", runner.wait(process))


def test_a_file_cut_short_is_made_again_or_named(world, tmp_path):
    """Chunks of scores are made again, settings are named."""
    out = tmp_path / "out"
    runner.finish(JOBS["score"], world, out)
    for name in ("rows/000003.npz", "rows/000011.npz"):
        data = (out / name).read_bytes()
        (out / name).write_bytes(data[: len(data) // 2])
    runner.finish(JOBS["score"], world, out)
    before = results(out)
    text = (out / "settings.json").read_text()
    (out / "settings.json").write_text(text[: len(text) // 2])
    ended = runner.wait(runner.start(JOBS["score"], world, out))
    assert ended.code == 2
    assert "settings.json is not settings of a run" in ended.said
    (out / "settings.json").write_text(text)
    assert results(out) == before


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder that nobody may write")
def test_a_folder_that_may_not_be_written_is_one_sentence(empty):
    """Not even by the administrator, as whom the tests may run."""
    ended = runner.wait(runner.start(JOBS["train"], empty, Path("/sys/kernel/emojax")))
    assert ended.code == 2, ended.said
    assert ended.said.splitlines()[-1].startswith("error: cannot make folder /sys/kernel/emojax")
    assert "Traceback" not in ended.said
