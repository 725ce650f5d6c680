"""Kill commands at random moments, give them again, and compare with undisturbed runs."""

import concurrent.futures
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

from tests.kills.jobs import JOBS, Job, World, command, environment, results

IDLE = 300
"""Seconds without any processor time after which a command counts as hanging."""

STAGE = 10.0
"""Seconds from the beginning of a stage within which it is killed."""

JUMPING = Path(__file__).parents[1] / "support" / "jumping_clock"
"""Folder in whose `sitecustomize` the clock jumps."""

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
        stages: kills just after each of the job's stages had begun, by its folder.
    """

    kills: int = 0
    finished: int = 0
    early: int = 0
    stages: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative: the signal.
        said: what it wrote to stderr.
    """

    code: int
    said: str

    @property
    def last(self) -> str:
        """The last line that is no note below another."""
        lines = [line for line in self.said.splitlines() if line.strip() and line[0] != " "]
        return lines[-1] if lines else ""


@dataclasses.dataclass(frozen=True)
class How:
    """What is done to a command while it runs.

    Attributes:
        stop: a signal to send.
        files: when so many files have appeared.
        seconds: or after this time.
        most: bytes of the largest file that it may write.
        jumps: whether the clock jumps.
    """

    stop: signal.Signals | None = None
    files: int | None = None
    seconds: float = 0.0
    most: int | None = None
    jumps: bool = False

    def is_moment(self, out: Path, until: float) -> bool:
        """Whether the moment of the signal has come; `until` is its time at the latest."""
        come = self.files is not None and files(out) >= self.files
        return come or time.monotonic() > until


def start(job: Job, world: World, out: Path, how: How) -> subprocess.Popen:
    """Start a command in a session of its own, on a disk and with a clock such as `how` says."""
    line, env = command(job, world, out), environment(world)
    if how.most is not None:
        line = [sys.executable, "-c", LIMITED, str(how.most), *line]
        env["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    if how.jumps:
        env["PYTHONPATH"] = os.pathsep.join((str(JUMPING), env["PYTHONPATH"]))
    return subprocess.Popen(
        line,
        cwd=world.folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait(process: subprocess.Popen) -> Ended:
    """Wait for the end of a command, however long it takes on cores that others use too.

    Raises:
        Unequal: it hangs.
    """
    used, since = -1.0, time.monotonic()
    while True:
        try:
            said = process.communicate(timeout=5)[1]
            return Ended(process.returncode, said)
        except subprocess.TimeoutExpired as error:
            now = processor_seconds(process.pid)
            if abs(now - used) > 0.5:  # less, too: of a process that has ended nothing is counted
                used, since = now, time.monotonic()
            if time.monotonic() > since + IDLE:
                kill(process)
                raise Unequal(f"{process.args} hangs") from error


def processor_seconds(session: int) -> float:
    """Return the processor time of the processes of a session, as far as they live."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = file.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


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
        prepare(job, out)
        ended = wait(start(job, world, out, How()))
        if ended.code:
            raise Unequal(f"{job.name} ended with {ended.code}: {ended.said[-2000:]}")
    return results(out)


def kill_at_random(
    job: Job, world: World, out: Path, rng: random.Random, seconds: float, count: Count
) -> None:
    """Kill a command once, or compare its results if it ends first.

    Half of the kills come at any moment, half just after another file has appeared; of a command
    that writes one file, all come at any moment. Of a command of stages, they come within seconds
    of the beginning of the stage that was killed least often so far, of those that are not begun.
    """
    stage = _stage(job, out, count)
    process, grow = start(job, world, out, How()), not job.again and rng.random() < 0.5
    try:
        until, wanted = time.monotonic() + rng.uniform(0, seconds), files(out) + rng.randint(1, 4)
        while process.poll() is None and not (
            (out / stage).exists()
            if stage
            else files(out) >= wanted
            if grow
            else time.monotonic() >= until
        ):
            time.sleep(0.002)
        if stage or grow:
            time.sleep(rng.uniform(0, STAGE if stage else 0.02))
        ended = None if process.poll() is None else wait(process)
    finally:
        kill(process)
    if process.returncode == -signal.SIGKILL:
        count.kills += 1
        if stage:
            count.stages[stage] = count.stages.get(stage, 0) + 1
    elif ended:
        check(job, world, out, ended)
        count.early += 1


def _stage(job: Job, out: Path, count: Count) -> str | None:
    """Return the stage to kill next, of those that have not begun; None: there is none."""
    left = [stage for stage in job.stages if not (out / stage).exists()]
    return min(left, key=lambda stage: count.stages.get(stage, 0), default=None)


def finish(job: Job, world: World, out: Path) -> None:
    """Give a command until it ends by itself, and compare.

    Raises:
        Unequal: it fails, or its results are others than those of an undisturbed run.
    """
    check(job, world, out, wait(start(job, world, out, How())))


def is_refusal(job: Job, ended: Ended) -> bool:
    """Whether a command refused to do again what is finished."""
    return bool(job.again and ended.code == 2 and job.again in ended.said)


def check(job: Job, world: World, out: Path, ended: Ended) -> None:
    """Compare the results of a command that has ended with those of an undisturbed run.

    Raises:
        Unequal: they differ, or it ended otherwise than well.
    """
    if ended.code and not is_refusal(job, ended):
        raise Unequal(f"{job.name} ended with {ended.code}: {ended.said[-2000:]}")
    ours, theirs = results(out), whole(job, world)
    if ours != theirs:
        names = sorted(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
        raise Unequal(f"{job.name} in {out} differs in {', '.join(names)}")


def run(
    world: World,
    kills: int,
    seed: int,
    names: Iterable[str] = JOBS,
    jobs: int = 1,
    tell: Callable[[str], object] = lambda _: None,
) -> dict[str, Count]:
    """Kill commands, each in turn with the others; see `kill_and_finish`.

    Args:
        world: what they work on.
        kills: in all.
        seed: of the moments.
        names: of the commands.
        jobs: commands at a time.
        tell: called with a line whenever a command has been brought to its end.

    Raises:
        Unequal: see `check`.
    """
    names = list(names)
    if "directions" in names:
        whole(JOBS["score"], world)  # which it reads
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        counts = {
            name: pool.submit(
                kill_and_finish,
                JOBS[name],
                world,
                kills // len(names) + (number < kills % len(names)),
                random.Random(f"{seed}/{name}"),
                tell,
            )
            for number, name in enumerate(names)
        }
        return {name: count.result() for name, count in counts.items()}


def kill_and_finish(
    job: Job, world: World, kills: int, rng: random.Random, tell: Callable[[str], object]
) -> Count:
    """Kill a command some times; after one to five kills it is brought to its end and compared.

    Raises:
        Unequal: see `check`.
    """
    count, out, begun = Count(), world.folder / "broken" / job.name, time.monotonic()
    whole(job, world)
    seconds = time.monotonic() - begun
    while count.kills < kills:
        prepare(job, out)
        for _ in range(rng.randint(1, 5)):
            if count.kills < kills:
                kill_at_random(job, world, out, rng, seconds, count)
        begun = time.monotonic()
        finish(job, world, out)
        seconds, count.finished = time.monotonic() - begun, count.finished + 1
        shutil.rmtree(out)
        tell(f"{job.name}: equal after {count.kills} kills, {count.finished} times finished")
    return count


def prepare(job: Job, out: Path) -> Path:
    """Make the folder for a result that is a single file; the other commands make theirs."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if job.single:
        out.mkdir(exist_ok=True)
    return out


def files(out: Path) -> int:
    """Count files; folders may vanish meanwhile."""
    return sum(not name.startswith(".") for _, _, names in os.walk(out) for name in names)
