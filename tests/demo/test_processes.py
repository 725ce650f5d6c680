"""Training stages in several processes: order, cores, failures and a killed parent."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emojax.demo.training import processes
from emojax.runtime.errors import UserError

NEEDS = {"b": ("a",), "c": ("b",), "e": ("b", "d")}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def wait_for(file, seconds=60):
    end = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < end, f"{file.name} never came"
        time.sleep(0.01)


def note(folder, name):
    for needed in NEEDS.get(name, ()):
        assert (folder / needed).exists(), f"{name} came before {needed}"
    (folder / name).touch()


def wait_for_the_other(folder, name):
    (folder / name).write_text(str(sorted(os.sched_getaffinity(0))))
    wait_for(folder / {"x": "y", "y": "x"}[name])


def sleep(folder, name):
    aside = folder / f".{name}"
    aside.write_text(str(os.getpid()))
    aside.rename(folder / name)
    time.sleep(600)


def fail_or_sleep(folder, name):
    if name == "y":
        sleep(folder, name)
    wait_for(folder / "y")
    raise UserError("x is unwell")


def gone(process, seconds=60):
    """Whether a process ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # nobody has asked how it ended
            return True
        time.sleep(0.05)
    return False


def test_stages_come_after_what_they_need(tmp_path):
    processes.run_all("edcba", NEEDS, functools.partial(note, tmp_path), 2)
    assert sorted(file.name for file in tmp_path.iterdir()) == list("abcde")


def test_what_is_not_to_be_done_is_not_waited_for(tmp_path):
    for name in "ab":
        (tmp_path / name).touch()
    processes.run_all("c", NEEDS, functools.partial(note, tmp_path), 1)
    assert (tmp_path / "c").exists()


@pytest.mark.skipif(CORES < 2, reason="one core")
def test_two_run_at_the_same_time_on_cores_of_their_own(tmp_path):
    before = os.sched_getaffinity(0)
    processes.run_all("xy", {}, functools.partial(wait_for_the_other, tmp_path), 2)
    shares = [set(json.loads((tmp_path / name).read_text())) for name in "xy"]
    assert shares[0].isdisjoint(shares[1])
    assert shares[0] | shares[1] == before
    assert os.sched_getaffinity(0) == before


def note_cores(folder, name):
    (folder / name).write_text(str(sorted(os.sched_getaffinity(0))))


@pytest.mark.skipif(CORES < 2, reason="one core")
def test_one_by_itself_has_all_cores(tmp_path):
    processes.run_all("abc", {"b": "a", "c": "b"}, functools.partial(note_cores, tmp_path), 2)
    for name in "abc":
        assert set(json.loads((tmp_path / name).read_text())) == os.sched_getaffinity(0)


def test_the_longest_chain_goes_first():
    waiting = ["d", "c", "a", "e"]
    assert processes._next(waiting, set(waiting), NEEDS) == "a"
    assert processes._next(["d", "c", "e"], {"d", "c", "e", "b"}, NEEDS) == "d"
    assert processes._next(["c"], {"c", "b"}, NEEDS) is None


@pytest.mark.skipif(CORES < 2, reason="one core")
def test_all_end_when_one_fails(tmp_path, capfd):
    with pytest.raises(UserError, match="x ended with code 2, wanted 0"):
        processes.run_all("yx", {}, functools.partial(fail_or_sleep, tmp_path), 2)
    assert "error: x is unwell" in capfd.readouterr().err
    assert gone((tmp_path / "y").read_text())


def test_all_end_when_the_parent_is_killed(tmp_path):
    run = (
        "import functools, pathlib\n"
        "from emojax.demo.training import processes as workers\n"
        "from tests.demo.test_processes import sleep\n"
        f"workers.run_all('z', {{}}, functools.partial(sleep, pathlib.Path({str(tmp_path)!r})), 1)"
    )
    parent = subprocess.Popen([sys.executable, "-c", run])
    wait_for(tmp_path / "z")
    child = (tmp_path / "z").read_text()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(child)


def fail_a_or_note(folder, name):
    if name == "a":
        raise UserError("a is unwell")
    if name == "b":
        time.sleep(600)  # waits for a
    (folder / name).touch()


def test_stages_that_start_at_once_go_on_without_one_that_failed(tmp_path):
    begun = time.monotonic()
    work = functools.partial(fail_a_or_note, tmp_path)
    with pytest.raises(UserError, match="a ended with code 2"):
        processes.run_apart(["a", "b", "c", "d"], {"b": ("a",), "c": ("d",)}, work)
    assert {file.name for file in tmp_path.iterdir()} == {"c", "d"}
    assert time.monotonic() - begun < 300
