"""What else befalls a command than a kill: signals, disks, clocks, damaged files, a second process.

Each fault checks how the command ends, then gives it again and compares the results with those of
an undisturbed run. They are tried on processes by `python -m tests.kills`, and within the tests'
own process by `test_faults.py`.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.kills import runner
from tests.kills.jobs import Job, World, leftovers
from tests.kills.runner import Ended, How, Unequal, check, prepare, whole

Run = Callable[[Job, World, Path, How], Ended]
"""Runs a command to its end."""

NOBODYS = Path("/sys/kernel/emojax")
"""A folder that not even the administrator may make, in one in which nobody may write."""


def run_process(job: Job, world: World, out: Path, how: How) -> Ended:
    """Run a command in a process of its own."""
    process = runner.start(job, world, out, how)
    if how.stop:
        until = time.monotonic() + how.seconds
        while process.poll() is None and not how.is_moment(out, until):
            time.sleep(0.002)
        process.send_signal(how.stop)
    return runner.wait(process)


def signalled(run: Run, job: Job, world: World, out: Path, how: How) -> str:
    """Send SIGINT or SIGTERM: one word, the exit code of the signal, nothing half-written."""
    ended = run(job, world, prepare(job, out), how)
    if ended.code not in (0, -signal.SIGTERM):  # before or after the command's own handling
        _expect(ended, 128 + (how.stop or 0), "stopped", out)
    _again(run, job, world, out)
    return f"exit code {ended.code}"


def full_disk(run: Run, job: Job, world: World, out: Path) -> str:
    """Let no file be as large as the largest of an undisturbed run: a sentence, nothing lost."""
    whole(job, world)
    files = [file for file in (world.folder / "whole" / job.name).rglob("*") if file.is_file()]
    most = max(file.stat().st_size for file in files) - 1
    ended = run(job, world, prepare(job, out), How(most=most))
    _expect(ended, 2, "error: cannot write", out)
    kept = runner.files(out)
    _again(run, job, world, out)
    return f"no file over {most:,} bytes: {kept} files kept"


def read_only(run: Run, job: Job, world: World) -> str:
    """Write to a place where nobody may: a sentence."""
    out = NOBODYS.parent if job.single else NOBODYS
    ended = run(job, world, out, How())
    if ended.code != 2 or not ended.last.startswith("error: cannot ") or str(out) not in ended.said:
        raise Unequal(f"wanted that {out} cannot be written, got {ended}")
    return ended.last


def jumping_clock(run: Run, job: Job, world: World, out: Path) -> str:
    """Let the clock jump by years at every look: the results are the same.

    Orbax gives up when an hour passes while it writes, which is then said in a sentence.
    """
    ended = run(job, world, prepare(job, out), How(jumps=True))
    if ended.code:
        _expect(ended, 2, "error: ", out)
    _again(run, job, world, out)
    return f"exit code {ended.code}"


def cut_files(
    run: Run, job: Job, world: World, out: Path, rng: random.Random, most: int = 8
) -> str:
    """Cut files of a finished run short, one at a time: each is made again, or named.

    Args:
        run: runs a command.
        job: which.
        world: what it works on.
        out: folder that does not exist.
        rng: of the lengths and of the choice.
        most: files to cut, of different endings before others.
    """
    whole(job, world)
    shutil.copytree(world.folder / "whole" / job.name, out)
    files = [file for file in sorted(out.rglob("*")) if file.is_file() and file.stat().st_size]
    rng.shuffle(files)
    others, named = [*{file.suffix: file for file in files}.values()], 0
    files = [*others, *(file for file in files if file not in others)][:most]
    for file in files:
        data = file.read_bytes()
        file.write_bytes(data[: rng.choice((0, len(data) // 2, len(data) - 1))])
        ended = run(job, world, out, How())
        if ended.code:
            _expect(ended, 2, "error: ", out)
            if not any(part in ended.said for part in (file.name, *_folders(file, out))):
                raise Unequal(f"{job.name} says of {file}, which is cut short: {ended.said}")
            file.write_bytes(data)
            named += 1
        _again(run, job, world, out)
    return f"{len(files)} files cut short, {named} named, the others made again"


def two_at_once(job: Job, world: World, out: Path) -> str:
    """Run a command twice at the same time: the same results, or one is refused in a sentence."""
    prepare(job, out)
    both = [runner.start(job, world, out, How()) for _ in range(2)]
    ended = [runner.wait(process) for process in both]
    for each in ended:
        if each.code and not runner.is_refusal(job, each):
            _expect(each, 2, "error: another process is ", out)
    if all(each.code for each in ended):
        raise Unequal(f"{job.name} was refused twice: {ended[0].last} {ended[1].last}")
    runner.finish(job, world, out)
    return f"exit codes {', '.join(str(each.code) for each in ended)}"


def all_of(
    job: Job, world: World, folder: Path, rng: random.Random, tell: Callable[[str], object]
) -> dict[str, str]:
    """Try every fault on a command in processes of its own; return what came of each.

    Args:
        job: which.
        world: what it works on.
        folder: new, for the results.
        rng: of the moments.
        tell: called with a line after each fault.

    Raises:
        Unequal: it did not end as it should, or results differ.
    """
    whole(job, world)
    begun = time.monotonic()
    runner.finish(job, world, prepare(job, folder / "timed"))
    seconds, found = time.monotonic() - begun, {}

    def attempt(name: str, fault: Callable[[Path], str]) -> None:
        out = folder / name.replace(" ", "-")
        found[name] = fault(out)
        shutil.rmtree(out, ignore_errors=True)
        tell(f"{job.name}, {name}: {found[name]}")

    for number in (signal.SIGINT, signal.SIGTERM):
        for moment, files in (("moment", None), ("file", rng.randint(1, 4))):
            after = rng.uniform(0.5, seconds) if files is None else seconds
            how = How(stop=number, files=files, seconds=after)
            attempt(
                f"{number.name} at a {moment}",
                lambda out, how=how: signalled(run_process, job, world, out, how),
            )
    attempt("full disk", lambda out: full_disk(run_process, job, world, out))
    attempt("clock", lambda out: jumping_clock(run_process, job, world, out))
    attempt("cut files", lambda out: cut_files(run_process, job, world, out, rng))
    attempt("two processes", lambda out: two_at_once(job, world, out))
    if os.path.isdir(NOBODYS.parent):
        attempt("read-only folder", lambda _: read_only(run_process, job, world))
    return found


def _expect(ended: Ended, code: int, begins: str, out: Path) -> None:
    """Check how a command ended, and that it left nothing half-written.

    Raises:
        Unequal: it did not, or it did.
    """
    if ended.code != code or not ended.last.startswith(begins) or "Traceback" in ended.said:
        raise Unequal(f"wanted {begins!r} and exit code {code}, got {ended}")
    if out.is_dir() and (left := leftovers(out)):
        raise Unequal(f"after {ended.last!r} there are {left} in {out}")


def _again(run: Run, job: Job, world: World, out: Path) -> None:
    """Give the command again, and compare."""
    check(job, world, out, run(job, world, out, How()))
    if left := leftovers(out):
        raise Unequal(f"{job.name} left {left} in {out}")


def _folders(file: Path, out: Path) -> list[str]:
    """Return the names of the folders between a file and the folder of the results."""
    return list(file.relative_to(out).parts[:-1])
