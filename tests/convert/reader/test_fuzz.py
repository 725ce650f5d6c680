"""Two thousand damaged checkpoints: never a crash, a hang, an execution, or 1 GB of memory.

The reader runs in a process of its own, this file as a script, where the address space is limited,
every load has a deadline, and an audit hook stops whatever would start a program, run code, write
a file or unpickle by name. Twins that do these things show that each guard can fail.
"""

import codecs
import contextlib
import io
import json
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import tempfile
import tokenize  # noqa: F401 - imported when NumPy meets an odd header
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convert.reader.checkpoint_file import Record, load, state_dict
from emojax.runtime.errors import UserError

DATA = Path(__file__).parents[2] / "data"

CASES = 2000
MEMORY = 2**30  # bytes beyond what the process holds before it reads anything
DEADLINE = 5  # seconds of CPU time a load, so that a busy machine fails nothing; sound: 0.2

FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.", "pty."),
    *("exec", "import", "code.", "ctypes.", "pickle.", "socket.", "marshal."),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink"),
)


def test_fuzz():
    report = run_reader("ours", CASES)
    assert report["faults"] == []
    assert report["loaded"] + report["refused"] == CASES
    assert report["loaded"] > CASES // 50  # else the files were too broken to exercise tensors
    assert report["refused"] > CASES // 4  # else the damage was too small
    assert report["peak_bytes"] < MEMORY


@pytest.mark.parametrize(
    ("reader", "fault"),
    [
        ("unsafe", "ran pickle.find_class"),
        ("running", "ran os.system"),
        ("writing", "ran open"),
        ("hungry", "MemoryError"),
        ("endless", "took longer"),
        ("clumsy", "ZeroDivisionError"),
    ],
)
def test_each_guard_can_fail(reader, fault):
    report = run_reader(reader, 1)
    assert any(fault in line for line in report["faults"])


def run_reader(reader: str, cases: int) -> dict:
    """Run `main` in a process of its own and return what it reports."""
    root = str(Path(__file__).parents[3])
    finished = subprocess.run(
        [sys.executable, __file__, reader, str(cases)],
        env={**os.environ, "PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]  # negative: killed by a signal
    return json.loads(finished.stdout)


# ---- damage


def seeds() -> list[tuple[bytes, int]]:
    """Sound and hostile files, each with its weight in the draw; the large ones are slow."""
    index = json.loads((DATA / "files/index.json").read_text())["files"]
    files = [
        (DATA / "files" / entry["file"], 8 if entry["bytes"] < 40_000 else 2)
        for entry in index
        if entry["expect"] == "load"
    ]
    files += [(path, 1) for path in sorted((DATA / "files").glob("evil_*"))]
    files += [(path, 1) for path in sorted(DATA.glob("*/*tiny*.pkl"))]
    files += [(path, 1) for path in sorted((DATA / "files").glob("hsemotion_tiny*.pt"))]
    files += [(DATA / "script_tiny.pt", 8)]
    made = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, weight=np.ones((8, 8), "f4"), bias=np.arange(3))
        made.append((stream.getvalue(), 12))
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
    made.append((len(header).to_bytes(8, "little") + header + bytes(range(12)), 12))
    return [(path.read_bytes(), weight) for path, weight in files] + made


def damage(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat or overwrite bytes at random places."""
    changed = bytearray(data)
    # Pickles stand at the beginning of most files; raw numbers, where little can go wrong, behind.
    reach = len(data) if rng.random() < 0.4 else min(len(data), 4096)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place = rng.randrange(max(reach, 1))
        match rng.randrange(6):
            case 0 | 1 if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case 2 if place < len(changed):
                changed[place] = rng.choice(
                    b"(.0123NRQbceghijloqrstu}])\x81\x85\x88\x8a\x8b\x8d\x93"
                )
            case 3:
                del changed[place : place + rng.choice((1, 1, 2, 8, 64))]
            case 4:
                changed[place:place] = changed[place : place + rng.choice((1, 2, 8, 64))]
            case 5 if rng.random() < 0.2:
                del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)


def damage_inside(data: bytes, rng: random.Random) -> bytes:
    """Damage one record of a zip archive and write the archive anew, so that every CRC is right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        names = [name for name in old.namelist() if name.endswith(".pkl")] or old.namelist()
        chosen = rng.choice(names)
        for info in old.infolist():
            record = old.read(info)
            new.writestr(info, damage(record, rng) if info.filename == chosen else record)
    return stream.getvalue()


def damaged(files: list[tuple[bytes, int]], case: int) -> bytes:
    """The file of one case, the same on every machine."""
    rng = random.Random(case)
    ((data, _),) = rng.choices(files, [weight for _, weight in files])
    if rng.random() < 0.7:
        try:
            return damage_inside(data, rng)
        except zipfile.BadZipFile:
            pass
    return damage(data, rng)


# ---- the process that reads


class Stopped(BaseException):
    """A guard has struck; no reader can catch it by accident."""


class Guard:
    """While entered: a deadline, and an audit hook that stops what a reader has no business doing.

    Audit hooks cannot be removed, so there is one guard a process.
    """

    def __init__(self):
        self._armed = False
        signal.signal(signal.SIGPROF, self._expire)
        sys.addaudithook(self._watch)

    def __enter__(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, DEADLINE)
        self._armed = True

    def __exit__(self, *_) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _watch(self, event: str, arguments: tuple) -> None:
        if not self._armed:
            return
        writes = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        if writes or event.startswith(FORBIDDEN):
            raise Stopped(f"ran {event}{arguments!r:.100}")

    def _expire(self, *_) -> None:
        raise Stopped(f"took longer than {DEADLINE} s of CPU time")


def touch(value: object, seen: set[int]) -> None:
    """Read every array, so that one that lies outside its file would crash."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, np.ndarray):
            np.ascontiguousarray(value).tobytes()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)
        elif isinstance(value, Record):
            repr(value)
            stack.extend((value.state, value.items))


def readers() -> dict[str, Callable[[Path], object]]:
    """The reader under test, and twins that each break one rule."""
    evil = (DATA / "files/evil_bare_p2.pkl").read_bytes()

    def ours(path: Path) -> object:
        value = load(path)
        if isinstance(value, Record):
            with contextlib.suppress(UserError):
                state_dict(value)
        return value

    def endless(path: Path) -> None:
        while True:
            pass

    return {
        "ours": ours,
        "unsafe": lambda path: pickle.loads(evil),
        "running": lambda path: os.system("true"),
        "writing": lambda path: path.with_suffix(".new").open("w"),
        "hungry": lambda path: bytearray(2 * MEMORY),
        "endless": endless,
        "clumsy": lambda path: 1 // 0,
    }


def attempt(read: Callable[[Path], object], path: Path, guard: Guard, report: dict) -> None:
    """Read one file under guard and enter the outcome into the report."""
    try:
        with guard:
            touch(read(path), set())
        report["loaded"] += 1
    except UserError as error:
        report["refused"] += 1
        if isinstance(error.__cause__, MemoryError) or "\n" in str(error):
            report["faults"].append(f"{path.name}: {error.__cause__!r} in {error}")
    except (Exception, Stopped) as error:
        report["faults"].append(f"{path.name}: {type(error).__name__}: {error}")


def main(reader: str, cases: int) -> None:
    """Read `cases` damaged files and print a report as JSON."""
    for name in ("cp437", "raw_unicode_escape"):  # imported when zipfile and pickletools need them
        codecs.lookup(name)
    files, read = seeds(), readers()[reader]
    report = {"loaded": 0, "refused": 0, "faults": []}
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    guard = Guard()
    with tempfile.TemporaryDirectory() as folder:
        for case in range(cases):
            path = Path(folder) / f"case{case}"
            path.write_bytes(damaged(files, case))
            attempt(read, path, guard, report)
            path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({**report, "peak_bytes": peak * 1024}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
