"""Some cases of one family, in this process: `python -m tests.fuzz.worker`, run by `runner`.

It writes the number of each case to a file before it begins, so that its end by a signal names the
case, and prints a report as JSON at the end.
"""

import argparse
import codecs
import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
import tokenize  # noqa: F401 - imported when NumPy meets an odd header
import unicodedata  # noqa: F401 - imported when Python decodes an escape
from pathlib import Path

import numpy as np

from emojax.runtime.errors import LONGEST, UserError
from tests.fuzz import registry
from tests.fuzz.family import Family, Files, write
from tests.fuzz.guard import MEMORY, Guard, Stopped

CODECS = ("cp437", "raw_unicode_escape", "utf-8-sig")
CODECS += ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
"""Codecs that zipfile, pickletools and json import when they need them."""


@dataclasses.dataclass
class Report:
    """What came of some cases of a family.

    Attributes:
        family: its name.
        cases: how many there were.
        loaded: how many were read without an error.
        slowest: seconds of CPU time of the slowest, and its number.
        largest: bytes of memory beyond three times the files, of the largest, and its number.
        faults: a line for each rule that was broken.
    """

    family: str
    cases: int = 0
    loaded: int = 0
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[int, int] = (0, -1)
    faults: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Take up the report of further cases."""
        self.cases += other.cases
        self.loaded += other.loaded
        self.slowest = max(self.slowest, tuple(other.slowest))
        self.largest = max(self.largest, tuple(other.largest))
        self.faults += other.faults


def run(family: Family, seed: int, numbers: range, progress: Path, keep: Path | None) -> Report:
    """Run some cases.

    Args:
        family: which.
        seed: of the whole run.
        numbers: of the cases.
        progress: file to write the number of each case to.
        keep: folder for the files of the cases that broke a rule; None: they are not kept.
    """
    seeds, report, guard = family.seeds(), Report(family.name), Guard()
    if family.warm_up:
        _warm_up(family, seeds)
    for number in numbers:
        progress.write_text(str(number))
        files = family.case(seed, number, seeds)
        faults = _attempt(family, files, number, guard, report)
        report.faults += [f"{family.name} case {number}: {fault}" for fault in faults]
        if faults and keep is not None:
            write(files, keep / family.name / str(number))
    return report


def _warm_up(family: Family, seeds: list[Files]) -> None:
    """Read each seed once: what the loader imports is imported, what it keeps is allocated."""
    for name in CODECS:
        codecs.lookup(name)
    for files in seeds:
        with contextlib.suppress(Exception), tempfile.TemporaryDirectory() as folder:
            write(files, Path(folder))
            family.read(Path(folder))


def _attempt(family: Family, files: Files, number: int, guard: Guard, report: Report) -> list[str]:
    """Read the files of a case under guard; return a line for each rule that was broken."""
    folder, faults = Path(tempfile.mkdtemp()), []
    try:
        size = write(files, folder)
        with guard:
            family.read(folder)
        report.loaded += 1
    except UserError as error:
        said = str(error)
        if isinstance(error.__cause__, MemoryError):
            faults.append(f"asked for more memory than there is: {said}")
        if not said.isprintable() or len(said) > LONGEST:
            faults.append(f"says something that is no short line: {said!r:.400}")
    except (Exception, Stopped) as error:
        faults.append(f"{type(error).__name__}: {error!s:.300}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.cases += 1
    beyond = guard.peak - 3 * size
    report.slowest = max(report.slowest, (round(guard.seconds, 3), number))
    report.largest = max(report.largest, (beyond, number))
    if beyond > MEMORY:
        faults.append(f"took {beyond:,} bytes beyond three times its {size:,}")
    return faults


def main() -> None:
    """Run the cases that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("family")
    for name in ("--seed", "--first", "--end"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    numbers = range(given.first, given.end)
    report = run(registry.find(given.family), given.seed, numbers, given.progress, given.keep)
    print(json.dumps(dataclasses.asdict(report)))


def touch(value: object, *more: object) -> None:
    """Read every array in nested containers, so that one that lies outside its file would crash.

    Args:
        value: of any type; attributes of objects are not looked at.
        *more: likewise.
    """
    seen, stack = set(), [value, *more]
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            np.ascontiguousarray(value).view(np.uint8).max(initial=0) if value.size else None
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            stack.extend(value)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
