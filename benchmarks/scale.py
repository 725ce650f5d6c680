"""What tables of scores take: hours, bytes and money, computed from a measured rate.

    python -m benchmarks.scale
    python -m benchmarks.scale --rate 2000 --price 2.5

Prints the table of docs/cluster.md as Markdown. Nothing is measured here: the rate is one of
benchmarks/README.md, all else are assumptions that the flags change.
"""

import argparse
import dataclasses
import itertools
import math
from collections.abc import Sequence

from emojax.runtime.choices import EMOTIONS
from emojax.store.score_table import ScoreSettings, whole_size

CHUNKS = {300_000: 256, 30_000_000: 4096, 3_000_000_000: 65_536}
"""Faces, and the --chunk for so many."""
DEVICES = (1, 8, 256)


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """What the table is computed from.

    Attributes:
        rate: faces a second on one device, generate and classify at 1024², end to end.
        start: seconds from the start of a process to its first face: imports, weights, compilation.
        node: devices of one process.
        price: of a device for an hour, in dollars.
        month: of a gigabyte in the store for a month, in dollars.
        thousand: of a thousand writes into the store, in dollars.
    """

    rate: float = 2169.0
    start: float = 60.0
    node: int = 8
    price: float = 4.0
    month: float = 0.023
    thousand: float = 0.005


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one table takes on some devices.

    Attributes:
        faces: in the table.
        devices: that fill it.
        seconds: until it is whole.
        device_hours: of all devices together.
        twice: chunks that two processes are expected to score, see `emojax.scoring.sharing`.
        size: bytes of the table.
        writes: a second, of all processes together.
        dollars: for the devices and the writes.
        monthly: dollars a month for keeping the table.
    """

    faces: int
    devices: int
    seconds: float
    device_hours: float
    twice: float
    size: int
    writes: float
    dollars: float
    monthly: float


def cost(faces: int, devices: int, given: Assumptions) -> Cost:
    """Compute one row.

    Args:
        faces: one of `CHUNKS`.
        devices: which run at the same time.
        given: what is assumed.
    """
    settings = ScoreSettings("0" * 64, "0" * 64, EMOTIONS, 512, faces, chunk=CHUNKS[faces])
    processes = math.ceil(devices / given.node)
    twice = 0.0
    if processes > 1:
        twice = processes * (1 + math.log(max(1, settings.chunks / processes)))
    work = (faces + twice * settings.chunk) / (given.rate * devices)
    seconds = given.start + work
    hours = devices * seconds / 3600
    size = sum(
        (stop - first) * whole_size(settings, first)
        for first, stop in _runs_of_digits(settings.chunks)
    )
    written = settings.chunks + twice
    return Cost(
        faces,
        devices,
        seconds,
        hours,
        twice,
        size,
        written / work,
        hours * given.price + written * given.thousand / 1000,
        size / 1e9 * given.month,
    )


def _runs_of_digits(chunks: int) -> list[tuple[int, int]]:
    """Return ranges of chunks whose numbers have equally many digits; the last chunk by itself."""
    edges = [0, *(10**n for n in range(1, 12) if 10**n < chunks - 1), chunks - 1, chunks]
    return list(itertools.pairwise(edges))


def markdown(given: Assumptions) -> str:
    """Return the table."""
    lines = [
        "| faces | devices | time | device-hours | scored twice | table | writes/s | $ | $/month |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for faces, chunk in CHUNKS.items():
        for devices in DEVICES:
            row = cost(faces, devices, given)
            cells = [
                f"{faces:,}",
                str(devices),
                _duration(row.seconds),
                f"{row.device_hours:,.1f}",
                f"{row.twice * chunk / faces:.1%}",
                _size(row.size),
                f"{row.writes:,.0f}" if row.writes >= 10 else f"{row.writes:.2g}",
                f"{row.dollars:,.2f}" if row.dollars < 100 else f"{row.dollars:,.0f}",
                f"{row.monthly:,.2f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _size(size: int) -> str:
    return f"{size / 1e12:.2f} TB" if size >= 1e12 else f"{size / 1e9:.2f} GB"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table for the assumptions given."""
    parser = argparse.ArgumentParser(description="What tables of scores take")
    for field in dataclasses.fields(Assumptions):
        parser.add_argument(f"--{field.name}", type=float, default=field.default)
    given = vars(parser.parse_args(arguments))
    print(markdown(Assumptions(**{**given, "node": int(given["node"])})))


if __name__ == "__main__":
    main()
