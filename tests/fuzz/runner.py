"""The cases of many families over several processes, whose deaths are faults and end nothing."""

import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.fuzz.guard import STUCK
from tests.fuzz.worker import Report

ROOT = Path(__file__).parents[2]
PIECE = 2500
"""Cases of one process."""


def run(
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    jobs: int = 1,
    until: float | None = None,
    keep: Path | None = None,
    told: Callable[[Report], object] = lambda report: None,
) -> dict[str, Report]:
    """Run cases 0 to n - 1 of each family.

    Args:
        counts: {family: n}.
        seed: the same seed gives the same cases.
        jobs: processes at a time.
        until: time (of `time.monotonic`) after which no further process is started.
        keep: folder for the files of the cases that broke a rule.
        told: given the report of every piece that is done.
    """
    pieces = [
        (family, range(first, min(first + PIECE, count)))
        for first in range(0, max(counts.values(), default=0), PIECE)
        for family, count in counts.items()
        if first < count
    ]
    reports = {family: Report(family) for family in counts}

    def work(piece: tuple[str, range]) -> Report:
        family, numbers = piece
        if until is not None and time.monotonic() > until:
            return Report(family)
        return _piece(family, seed, numbers, keep)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for report in pool.map(work, pieces):
            reports[report.family].add(report)
            told(report)
    return reports


def _piece(family: str, seed: int, numbers: range, keep: Path | None) -> Report:
    """Run cases in processes of their own, a new one after each that dies."""
    report, first = Report(family), numbers.start
    while first < numbers.stop:
        with tempfile.TemporaryDirectory(prefix="emojax-fuzz-") as folder:
            progress = Path(folder, "progress")
            command = [*(sys.executable, "-m", "tests.fuzz.worker", family)]
            command += ["--seed", str(seed), "--first", str(first), "--end", str(numbers.stop)]
            command += ["--progress", str(progress), *(["--keep", str(keep)] if keep else [])]
            done = subprocess.run(
                command, cwd=ROOT, env=_environment(folder), capture_output=True, text=True
            )
            if done.returncode == 0:
                report.add(Report(**json.loads(done.stdout)))
                return report
            if not progress.exists():  # it did not come to its first case
                report.faults.append(f"{family}: {_last_lines(done.stderr)}")
                return report
            reached = int(progress.read_text())
        how = f"it was stuck for {STUCK} s" if done.returncode == -14 else _last_lines(done.stderr)
        report.faults.append(
            f"{family} case {reached}: the process ended with {done.returncode}: {how}"
        )
        report.cases += reached + 1 - first
        first = reached + 1
    return report


def _environment(folder: str) -> dict[str, str]:
    quiet = {"OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "EMOJAX_COMPILE_CACHE": "off"}
    return {**os.environ, **quiet, "PYTHONPATH": str(ROOT), "TMPDIR": folder}


def _last_lines(text: str, count: int = 3) -> str:
    return " | ".join(text.strip().splitlines()[-count:]) or "without a word"


def shares(families: Sequence[str], weights: Sequence[int], cases: int) -> dict[str, int]:
    """Split a number of cases by weight; at least one each."""
    whole = sum(weights)
    return {
        family: max(1, cases * weight // whole)
        for family, weight in zip(families, weights, strict=True)
    }
