"""Table I: rows of figures, and the files they are written to and read from."""

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing

ALL = "all"
"""Stands in place of an emotion where a figure is the mean over the targets."""
JSON = "table.json"

TITLES = {
    "emotion_score": "emotion score",
    "emotion_score_log": "of log-probabilities",
    "top1": "target top-1",
    "frechet": "FID",
    "kernel": "KID",
    "psnr": "PSNR dB",
    "judge_error": "judge error",
    "kept": "factors kept",
    "seconds": "seconds",
}
"""Columns in their order; other figures stay in the JSON and the CSV."""
FORMATS = {"frechet": ".4g", "kernel": ".3g", "psnr": ".2f"}
"""Others have three decimals; distances have no scale of their own."""


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        inverter: "psp", "hyperstyle", or "" for the true pictures.
        result: "original", a normaliser, or "truth".
        target: an emotion, or "all".
        figures: by the names in `TITLES`, and more; those that could be measured.
    """

    inverter: str
    result: str
    target: str
    figures: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Table:
    """What was found, with what a reader must know about it.

    Attributes:
        rows: means over the targets, and each target's.
        titles: by figure; says FID only where it is one.
        notes: sentences.
    """

    rows: list[Row]
    titles: dict[str, str]
    notes: list[str]

    @property
    def overall(self) -> list[Row]:
        """The rows that are means over all targets."""
        return [row for row in self.rows if row.target == ALL]

    @property
    def shown(self) -> list[str]:
        """The figures that at least one row has, in their order."""
        return [key for key in self.titles if any(key in row.figures for row in self.rows)]

    def cells(self, row: Row) -> list[str]:
        """Return a row's shown figures as they are printed; empty where it has none."""
        return [
            format(row.figures[key], FORMATS.get(key, ".3f")) if key in row.figures else ""
            for key in self.shown
        ]


def titles(distance: str | None) -> dict[str, str]:
    """Return the columns' titles; a distance in other features than Inception's is no FID."""
    if distance == "inception":
        return TITLES
    return TITLES | {
        "frechet": "Fréchet distance (features)",
        "kernel": "kernel distance (features)",
    }


def markdown(table: Table) -> str:
    """Return the table, the top-1 of each target, and the notes, as Markdown that lines up."""
    head = ["inverter", "result", *(table.titles[key] for key in table.shown)]
    body = [[row.inverter or "-", row.result, *table.cells(row)] for row in table.overall]
    parts = [
        _lined_up(head, body),
        "Target emotion top-1 by target:",
        _lined_up(*_by_target(table)),
    ]
    return "\n\n".join([*parts, *table.notes]) + "\n"


def write(folder: Path, table: Table, about: Mapping[str, Any]) -> None:
    """Write table.md, table.csv and table.json.

    Args:
        folder: is there.
        table: what to write.
        about: what the JSON keeps beside it.

    Raises:
        UserError: a file cannot be written.
    """
    with replacing(folder / "table.md") as aside:
        aside.write_text(markdown(table))
    keys = list(dict.fromkeys(key for row in table.rows for key in row.figures))
    with replacing(folder / "table.csv") as aside, aside.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["inverter", "result", "target", *keys])
        for row in table.rows:
            writer.writerow([*row[:3], *(row.figures.get(key, "") for key in keys)])
    stored = {
        "titles": table.titles,
        "rows": [row._asdict() for row in table.rows],
        "notes": table.notes,
        "about": dict(about),
    }
    with replacing(folder / JSON) as aside:
        aside.write_text(json.dumps(stored, indent=2) + "\n")


def read(folder: Path) -> Table:
    """Return the table that `write` left in a folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = folder / JSON
    if not file.is_file():
        raise UserError(f"no {file}: make it with 'python -m emojax.evaluate --out {folder}'")
    try:
        stored = json.loads(file.read_text())
        rows = [Row(**row) for row in stored["rows"]]
        return Table(rows, dict(stored["titles"]), list(stored["notes"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({error}): evaluate again") from error


def _by_target(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return head and body of the table of every target's top-1."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in table.rows:
        if row.target != ALL:
            found.setdefault(row[:2], {})[row.target] = row.figures["top1"]
    names = list(next(iter(found.values())))
    body = [
        [inverter or "-", result, *(f"{values[name]:.3f}" for name in names)]
        for (inverter, result), values in found.items()
    ]
    return ["inverter", "result", *names], body


def _lined_up(head: list[str], body: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = line(["-" * width for width in widths])
    return "\n".join([line(head), rule, *map(line, body)])
