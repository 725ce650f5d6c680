"""Table I: rows of measured values, and their files; needs no jax."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from emojax.runtime.files import json_bytes
from emojax.store.place import Location, at, reading
from emojax.store.reader.contents import Kind
from emojax.store.reader.fields import record
from emojax.store.reader.json_text import parse_object

_KIND = Kind("a table of 'emojax evaluate'", "make it with 'emojax evaluate'")

ALL = "all"
"""Stands in place of an emotion where a value is the mean over the targets."""
ORIGINAL = "original"
"""Stands in place of a normaliser in the row of an inverter's reconstructions."""
JSON = "table.json"
"""Name of the file that `read` reads."""

TITLES = {
    "emotion_score": "emotion score",
    "emotion_score_log": "of log-probabilities",
    "top1": "target top-1",
    "frechet": "FID",
    "kernel": "KID",
    "l2": "L2",
    "psnr": "PSNR dB",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
    "identity": "identity similarity",
    "attribute_error": "attribute error",
    "identity_kept": "identity kept",
    "unit_error": "action-unit error",
    "unit_judge": "units tell the emotion",
    "seconds": "seconds",
}
"""Columns in their order; other values are in the JSON and the CSV only."""
FORMATS = {"frechet": ".4g", "kernel": ".3g", "psnr": ".2f"}
"""Other values have three decimals; distances have no natural scale."""


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        inverter: "psp", "hyperstyle", or "" for the true pictures.
        result: "original", a normaliser (with the name of the directions where there are several),
            or "truth".
        target: an emotion, or "all".
        values: by the names in `TITLES` and others; those that could be measured.
    """

    inverter: str
    result: str
    target: str
    values: dict[str, float]


class Claim(NamedTuple):
    """What the paper says, and whether an evaluation agrees.

    Attributes:
        said: a sentence.
        holds: whether it holds here.
        found: the figures.
    """

    said: str
    holds: bool
    found: str


class PaperRow(NamedTuple):
    """A row of the paper's Table I beside an evaluation's; None where there is no value.

    Attributes:
        inverter: "psp" or "hyperstyle".
        target: an emotion, or "original".
        score, distance: ours.
        paper_score, paper_distance: the paper's.
    """

    inverter: str
    target: str
    score: float | None
    distance: float | None
    paper_score: float | None
    paper_distance: float | None


@dataclasses.dataclass(frozen=True)
class ResultTable:
    """Results with notes.

    Attributes:
        rows: means over the targets, and each target's.
        titles: of the columns; "FID" only where Inception measured.
        notes: sentences.
        differences: paired differences between normalisers, `result` naming the two.
        claims: of the paper, as far as this evaluation can judge them.
        paper: the paper's Table I beside this one, where the same network measured distances.
    """

    rows: list[Row]
    titles: dict[str, str]
    notes: list[str]
    differences: list[Row] = dataclasses.field(default_factory=list)
    claims: list[Claim] = dataclasses.field(default_factory=list)
    paper: list[PaperRow] = dataclasses.field(default_factory=list)

    @property
    def overall(self) -> list[Row]:
        """The rows that are means over all targets."""
        return [row for row in self.rows if row.target == ALL]

    @property
    def columns(self) -> list[str]:
        """The names of values that at least one row has, in their order."""
        return [key for key in self.titles if any(key in row.values for row in self.rows)]

    def cells(self, row: Row) -> list[str]:
        """Return a row's values as text, one for each column; empty where it has none."""
        return [
            format(row.values[key], FORMATS.get(key, ".3f")) if key in row.values else ""
            for key in self.columns
        ]


def titles(distance: str | None) -> dict[str, str]:
    """Return the columns' titles.

    Args:
        distance: part of the bundle whose features distances are measured in; only "inception"
            gives FID and KID.
    """
    if distance == "inception":
        return TITLES
    return TITLES | {
        "frechet": "Fréchet distance (features)",
        "kernel": "kernel distance (features)",
    }


def markdown(table: ResultTable) -> str:
    """Return the table, the top-1 of each target, and the notes, as aligned Markdown."""
    head = ["inverter", "result", *(table.titles[key] for key in table.columns)]
    body = [[row.inverter or "-", row.result, *table.cells(row)] for row in table.overall]
    parts = [
        _aligned(head, body),
        "Target emotion top-1 by target:",
        _aligned(*_by_target(table)),
    ]
    if errors := _with_errors(table, [row for row in table.overall if row.result != ORIGINAL]):
        parts += ["Standard errors, over sources and over targets:", _aligned(*errors)]
    if errors := _with_errors(table, table.differences, differences=True):
        said = (
            "Paired differences, in brackets their standard errors over sources and over targets:"
        )
        parts += [said, _aligned(*errors)]
    if table.paper:
        head = ["inverter", "target", "emotion score", "paper", table.titles["frechet"], "paper"]
        body = [[*row[:2], *map(_number, (row[2], row[4], row[3], row[5]))] for row in table.paper]
        parts += ["The paper's Table I beside this one:", _aligned(head, body)]
    if table.claims:
        body = [[claim.said, "yes" if claim.holds else "no", claim.found] for claim in table.claims]
        parts += ["The paper's claims:", _aligned(["claim", "holds here", "found"], body)]
    return "\n\n".join([*parts, *table.notes]) + "\n"


def write(location: Location, table: ResultTable, about: Mapping[str, Any]) -> None:
    """Write table.md, table.csv and table.json.

    Args:
        location: a folder, or an address in an object store.
        table: the results.
        about: stored in the JSON beside them.

    Raises:
        UserError: a file cannot be written.
    """
    place = at(location)
    place.write("table.md", markdown(table).encode())
    keys = list(dict.fromkeys(key for row in table.rows for key in row.values))
    with place.file("table.csv") as aside, aside.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["inverter", "result", "target", *keys])
        for row in table.rows:
            writer.writerow([*row[:3], *(row.values.get(key, "") for key in keys)])
    stored = {
        "titles": table.titles,
        "rows": [row._asdict() for row in table.rows],
        "differences": [row._asdict() for row in table.differences],
        "claims": [claim._asdict() for claim in table.claims],
        "paper": [row._asdict() for row in table.paper],
        "notes": table.notes,
        "about": dict(about),
    }
    place.write(JSON, json_bytes(stored))


def read(location: Location) -> ResultTable:
    """Return the table that `write` wrote into a folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    with reading(at(location), JSON, _KIND) as data:
        stored = record(_Stored, parse_object(data))
        rows, differences = (
            [Row(**dataclasses.asdict(record(_StoredRow, row))) for row in some]
            for some in (stored.rows, stored.differences)
        )
        return ResultTable(rows, stored.titles, stored.notes, differences)


@dataclasses.dataclass(frozen=True)
class _StoredRow:
    """A row as the JSON has it, see `Row`."""

    inverter: str
    result: str
    target: str
    values: dict[str, float]


@dataclasses.dataclass(frozen=True)
class _Stored:
    """The JSON of a table."""

    titles: dict[str, str]
    rows: list[dict[str, Any]]
    notes: list[str]
    about: dict[str, Any]
    differences: list[dict[str, Any]]
    claims: list[dict[str, Any]]
    paper: list[dict[str, Any]]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _with_errors(
    table: ResultTable, rows: Sequence[Row], *, differences: bool = False
) -> tuple[list[str], list[list[str]]] | None:
    """Return head and body of the standard errors of some rows, with the values if wanted."""
    keys = [key for key in table.columns if any(f"{key} se sources" in row.values for row in rows)]
    if not keys:
        return None
    body = []
    for row in rows:
        cells = []
        for key in keys:
            errors = [
                f"{row.values[name]:.3f}"
                for over in ("sources", "targets")
                if (name := f"{key} se {over}") in row.values
            ]
            said = ", ".join(errors)
            if differences and key in row.values:
                said = f"{row.values[key]:+.3f} ({said})"
            cells.append(said)
        body.append([row.inverter or "-", row.result, *cells])
    return ["inverter", "result", *(table.titles[key] for key in keys)], body


def _by_target(table: ResultTable) -> tuple[list[str], list[list[str]]]:
    """Return head and body of the table of every target's top-1."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in table.rows:
        if row.target != ALL:
            found.setdefault((row.inverter, row.result), {})[row.target] = row.values["top1"]
    names = list(next(iter(found.values())))
    body = [
        [inverter or "-", result, *(f"{values[name]:.3f}" for name in names)]
        for (inverter, result), values in found.items()
    ]
    return ["inverter", "result", *names], body


def _aligned(head: list[str], body: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = line(["-" * width for width in widths])
    return "\n".join([line(head), rule, *map(line, body)])
