"""Every fault of `python -m tests.kills` but kills, on every command, within this process."""

import contextlib
import gc
import importlib.util
import io
import itertools
import random
import resource
import signal
import sys
import threading
import time
from unittest import mock

import pytest

from emojax.runtime.cli import call, run_command
from tests.kills import faults, runner
from tests.kills.jobs import JOBS, make_world
from tests.kills.runner import Ended, How

NAMES = [name for name in JOBS if name not in ("demo", "optimise")]  # a command of its own each
"""Without the training of a demo's networks, which starts processes and compiles for a minute."""

if not importlib.util.find_spec("av"):
    NAMES.remove("video")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="no signals there"),
]


def run(job, world, out, how):
    """Run a command here, as `faults.run_process` does elsewhere."""
    _, module, *arguments = job.arguments(world, out)
    main, said = importlib.import_module(module).main, io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(world.folder))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(said))
        stack.enter_context(disk(how.most))
        stack.enter_context(clock(how.jumps))
        stack.enter_context(interrupted(out, how))
        code = run_command(lambda: call(main, arguments))
    gc.collect()  # what an interrupted library leaves is reported by the test that made it
    return Ended(code, said.getvalue())


@contextlib.contextmanager
def disk(most):
    """Let no file become larger than some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def clock(jumps):
    """Let the wall clock jump at every look."""
    moments = itertools.cycle([0.0, 4.1e9, 86_400.0, 1.6e9])
    change = mock.patch.object(time, "time", side_effect=moments)
    with change if jumps else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def interrupted(out, how):
    """Send this process a signal while the block runs; none that comes later does any harm."""
    running = how.stop is not None

    def interrupt(*_):
        if running:
            raise KeyboardInterrupt

    def send():
        until = time.monotonic() + how.seconds
        while running and not how.is_moment(out, until):
            time.sleep(0.002)
        if running:
            signal.pthread_kill(here, how.stop)

    here = threading.get_ident()
    before = [(number, signal.signal(number, interrupt)) for number in (2, 15)]
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        running = False
        thread.join()
        for number, handler in before:
            signal.signal(number, handler)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """With the results of undisturbed runs, made here too: this process has other devices."""
    made = make_world(tmp_path_factory.mktemp("world"), frames=6)
    for name in NAMES:
        out = runner.prepare(JOBS[name], made.folder / "whole" / name)
        assert run(JOBS[name], made, out, How()).code == 0
    return made


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Pillow's open file
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
@pytest.mark.parametrize("name", NAMES)
def test_signals(world, tmp_path, name, number):
    job = JOBS[name]
    how = How(stop=number, files=None if job.again else 2, seconds=0.05 if job.again else 60)
    said = faults.signalled(run, job, world, tmp_path / "out", how)
    assert said == f"exit code {128 + number}"


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(world, tmp_path, name):
    """By a limit of the size of a file, which every user may set."""
    assert faults.full_disk(run, JOBS[name], world, tmp_path / "out").startswith("no file over")


@pytest.mark.skipif(not faults.NOBODYS.parent.is_dir(), reason="no folder that nobody may write")
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_may_not_be_written(world, name):
    assert faults.read_only(run, JOBS[name], world).startswith("error: cannot")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's coroutine
@pytest.mark.parametrize("name", NAMES)
def test_a_clock_that_jumps(world, tmp_path, name):
    code = 2 if name == "train" else 0  # Orbax gives up when an hour passes while it writes
    said = faults.jumping_clock(run, JOBS[name], world, tmp_path / "out")
    assert said == f"exit code {code}"


@pytest.mark.parametrize("name", NAMES)
def test_files_cut_short(world, tmp_path, name):
    out = tmp_path / "out"
    assert "cut short" in faults.cut_files(run, JOBS[name], world, out, random.Random(0), 2)
