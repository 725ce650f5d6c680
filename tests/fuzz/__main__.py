"""Try every loader on mutated files.

    python -m tests.fuzz --cases 100000 --jobs 2 --seed 1
    python -m tests.fuzz --families checkpoints --cases 5000 --keep faults/

Each case is a sound file with damage that knows its structure: opcodes, sizes, strides, types, zip
headers, JSON values. It must be read, or refused by a `UserError` of one short printable line;
nothing may be executed or written, no case may take over 5 s of CPU time, or over 256 MB of memory
beyond three times its files. The same seed gives the same cases. Exit code 1 if a rule was broken.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz import registry, runner
from tests.fuzz.worker import Report


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        "python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = list(registry.FAMILIES)
    parser.add_argument("--cases", type=int, default=10_000, help="cases, over all families")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other cases")
    parser.add_argument("--families", nargs="+", choices=known, default=known, metavar="NAME")
    parser.add_argument("--minutes", type=float, help="start nothing more after this time")
    parser.add_argument("--keep", type=Path, help="folder for the files that broke a rule")
    given = parser.parse_args(arguments)
    weights = [registry.find(name).weight for name in given.families]
    start = time.monotonic()
    reports = runner.run(
        runner.shares(given.families, weights, given.cases),
        seed=given.seed,
        jobs=given.jobs,
        until=None if given.minutes is None else start + 60 * given.minutes,
        keep=given.keep,
        told=_tell,
    )
    for report in reports.values():
        print(_line(report))
    total = sum(report.cases for report in reports.values())
    faults = [fault for report in reports.values() for fault in report.faults]
    print(
        f"{total} cases, seed {given.seed}, {time.monotonic() - start:.0f} s: {len(faults)} faults"
    )
    return 1 if faults else 0


def _tell(report: Report) -> None:
    for fault in report.faults:
        print(fault, file=sys.stderr, flush=True)


def _line(report: Report) -> str:
    (seconds, slow), (size, large) = report.slowest, report.largest
    return (
        f"{report.family:<14} {report.cases} cases, {report.loaded} read; slowest {seconds} s "
        f"(case {slow}), memory beyond 3 x files {size / 2**20:.0f} MB (case {large})"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
