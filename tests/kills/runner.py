"""Kill commands at random moments, give them again, and compare with undisturbed runs."""

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.kills.jobs import JOBS, Job, World, command, environment, leftovers, results

PATIENCE = 600
"""Seconds after which a command counts as hanging."""


LIMITED = """
import os, resource, sys
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Program that runs another, which may write no file of more than some bytes."""


class Unequal(AssertionError):
    """The results of a disturbed run differ, or a command did not end as it should."""


@dataclasses.dataclass
class Count:
    """What was done to one command.

    Attributes:
        kills: by SIGKILL while it ran.
        finished: runs brought to their end afterwards and found equal.
        early: runs that had ended before the kill came; they are compared too.
    """

    kills: int = 0
    finished: int = 0
    early: int = 0


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative: the signal.
        said: what it wrote to stderr.
    """

    code: int
    said: str


def start(
    job: Job,
    world: World,
    out: Path,
    *,
    most: int | None = None,
    **env: str,
) -> subprocess.Popen:
    """Start a command in a session of its own.

    Args:
        job: which.
        world: what it works on.
        out: folder of the results.
        most: bytes of the largest file that it may write.
        **env: added to the environment.
    """
    line = command(job, world, out)
    if most is not None:
        line = [sys.executable, "-c", LIMITED, str(most), *line]
    return subprocess.Popen(
        line,
        cwd=world.folder,
        env=environment(world, **env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait(process: subprocess.Popen) -> Ended:
    """Wait for the end of a command.

    Raises:
        Unequal: it hangs.
    """
    try:
        said = process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired as error:
        kill(process)
        raise Unequal(f"{process.args} hangs") from error
    return Ended(process.returncode, said)


def kill(process: subprocess.Popen) -> None:
    """Kill a command and all that it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def whole(job: Job, world: World) -> dict[str, str]:
    """Run a command undisturbed, once; return its results."""
    out = world.folder / "whole" / job.name
    if not out.exists():
        out.parent.mkdir(exist_ok=True)
        _prepare(job, out)
        ended = wait(start(job, world, out))
        if ended.code:
            raise Unequal(f"{job.name} ended with {ended.code}: {ended.said[-2000:]}")
    return results(out)


def kill_at_random(
    job: Job, world: World, out: Path, rng: random.Random, seconds: float, count: Count
) -> None:
    """Kill a command once, or compare its results if it ends first.

    Half of the kills come at any moment, half just after another file has appeared; of a command
    that writes one file, all come at any moment.
    """
    process, grow = start(job, world, out), not job.again and rng.random() < 0.5
    try:
        until, files = time.monotonic() + rng.uniform(0, seconds), _files(out) + rng.randint(1, 4)
        while process.poll() is None and (
            _files(out) < files if grow else time.monotonic() < until
        ):
            time.sleep(0.002)
        if grow:
            time.sleep(rng.uniform(0, 0.02))
        ended = None if process.poll() is None else wait(process)
    finally:
        kill(process)
    if process.returncode == -signal.SIGKILL:
        count.kills += 1
    elif ended:
        check(job, world, out, ended)
        count.early += 1


def finish(job: Job, world: World, out: Path) -> None:
    """Give a command until it ends by itself, and compare.

    Raises:
        Unequal: it fails, or its results are others than those of an undisturbed run.
    """
    check(job, world, out, wait(start(job, world, out)))


def check(job: Job, world: World, out: Path, ended: Ended) -> None:
    """Compare the results of a command that has ended with those of an undisturbed run.

    Raises:
        Unequal: they differ, or it ended otherwise than well.
    """
    refused = job.again and ended.code == 2 and job.again in ended.said
    if ended.code and not refused:
        raise Unequal(f"{job.name} ended with {ended.code}: {ended.said[-2000:]}")
    ours, theirs = results(out), whole(job, world)
    if ours != theirs:
        names = sorted(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
        raise Unequal(f"{job.name} in {out} differs in {', '.join(names)}")


def run(
    world: World,
    kills: int,
    rng: random.Random,
    names: Iterable[str] = JOBS,
    tell: Callable[[str], object] = lambda _: None,
) -> dict[str, Count]:
    """Kill commands in turn; after one to five kills each is brought to its end and compared.

    Args:
        world: what they work on.
        kills: in all.
        rng: of the moments.
        names: of the commands.
        tell: called with a line whenever a command has been brought to its end.

    Raises:
        Unequal: see `check`.
    """
    counts = {name: Count() for name in names}
    seconds = {}
    first = ["score"] if "directions" in counts else []  # directions reads its result
    for name in (*first, *counts):
        begun = time.monotonic()
        whole(JOBS[name], world)
        seconds.setdefault(name, time.monotonic() - begun)
    most = max(1, min(5, kills // (2 * len(counts))))
    while sum(count.kills for count in counts.values()) < kills:
        name = min(counts, key=lambda each: counts[each].kills)
        job, count, out = JOBS[name], counts[name], world.folder / "broken" / name
        _prepare(job, out)
        for _ in range(rng.randint(1, most)):
            if sum(each.kills for each in counts.values()) < kills:
                kill_at_random(job, world, out, rng, seconds[name], count)
        finish(job, world, out)
        count.finished += 1
        shutil.rmtree(out)
        tell(f"{name}: equal after {count.kills} kills, {count.finished} times finished")
    return counts


def stopped(job: Job, world: World, out: Path, number: int, seconds: float) -> Ended:
    """Send a command SIGINT or SIGTERM after some seconds; return how it ended.

    Raises:
        Unequal: it left a file that was written aside.
    """
    _prepare(job, out)
    process = start(job, world, out)
    time.sleep(seconds)
    process.send_signal(number)
    ended = wait(process)
    if found := leftovers(out):
        raise Unequal(f"{job.name} left {found}")
    return ended


def on_full_disk(job: Job, world: World, out: Path, most: int) -> Ended:
    """Run a command that cannot write files of more than some bytes; return how it ended."""
    _prepare(job, out)
    return wait(start(job, world, out, most=most, JAX_ENABLE_COMPILATION_CACHE="false"))


def _prepare(job: Job, out: Path) -> None:
    """Make the folder for a result that is a single file; the other commands make theirs."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if job.again:
        out.mkdir(exist_ok=True)


def _files(out: Path) -> int:
    """Count files; folders may vanish meanwhile."""
    return sum(not name.startswith(".") for _, _, names in os.walk(out) for name in names)
