"""Change the emotion of a face: Equation 1, C + k·D, for a range of k.

    emojax edit
    emojax edit me.jpg --bundle ffhq --emotion happiness --k 0..12 --steps 7
    emojax edit me.jpg --bundle ffhq --emotion all --inverter hyperstyle
    emojax edit me.jpg --bundle ffhq --emotion fear,surprise --k 15 --layers 4:8

Writes sheet.png (a strip, or with --emotion all a grid of emotions by k), one picture for each
edit, and edit.json with every number. Without a photograph it takes the bundle's own sample. By
default k goes over the range in which the direction was measured to be usable.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tyro

from emojax.faces import images
from emojax.faces.photo_reader import check_face
from emojax.latents import directions
from emojax.latents.directions import Directions
from emojax.runtime.choices import EMOTIONS, Unit
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, sha256, write_json
from emojax.runtime.flags import PipelineFlags, at_least, between, layer_range, spread
from emojax.runtime.progress import progress
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR, INVERTER_PARTS

if TYPE_CHECKING:  # jax is imported after the flags have been checked
    from emojax.pipeline import Faces, Pipeline

ALL = "all"
REPORT = "edit.json"


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax edit`."""

    photo: tyro.conf.Positional[Path | None] = None
    """A photograph; by default the bundle's sample picture."""
    emotion: str = "happiness"
    """A direction, several to move along at once (fear,surprise), or all: each emotion in turn."""
    k: str | None = None
    """How far: a number, or a range such as -5..10; default: the usable range of the direction."""
    steps: int = 7
    """Pictures of a range."""
    unit: Unit = "norm"
    """What k counts. norm: the paper's, unit norm over all layers together. layer: unit norm in
    each layer. sigma: standard deviations among generated faces."""
    layers: str | None = None
    """Only these layers of the generator, such as 4:8: from the fifth to the eighth."""
    face: str = "only"
    """Which face of a photograph with several: largest, or a number from the left, from 1."""
    out: Path = Path("edited")
    """Folder for the results."""
    common: tyro.conf.OmitArgPrefixes[PipelineFlags] = dataclasses.field(
        default_factory=PipelineFlags
    )


class Move(NamedTuple):
    """One row of the sheet: how far along which directions, by picture."""

    amounts: dict[str, list[float]]

    @property
    def steps(self) -> list[dict[str, float]]:
        """{direction: k} of each picture."""
        columns = zip(*self.amounts.values(), strict=True)
        return [dict(zip(self.amounts, each, strict=True)) for each in columns]


def main(options: Options) -> None:
    """Edit one face and write what came of it."""
    check(options)
    layers = layer_range(options.layers)
    with progress("reading the networks", unit="edits") as shown:
        from emojax.pipeline import Pipeline

        pipe = Pipeline(options.common)
        moves = _moves(pipe, options)
        portrait = pipe.read(options.photo or pipe.sample_photo("source"), face=options.face)
        shown.describe("inverting the face")
        found = pipe.invert(portrait)
        rows = []
        for move in moves:
            shown.describe(f"drawing {' + '.join(move.amounts)}")
            rows.append(pipe.edit(found, move.amounts, unit=options.unit, layers=layers))
            pipe.render(rows[-1:])
            shown.advance(len(rows[-1]))
    out = make_folder(options.out)
    _remove_earlier(out)
    edits = _write(out, pipe, moves, rows)
    file = portrait.file
    report = {
        "photo": {"file": str(file), "sha256": sha256(file) if file else None},
        "unit": options.unit,
        "layers": options.layers,
        "edits": edits,
        **pipe.about(),
    }
    write_json(out / REPORT, report)
    print(f"{len(edits)} edits: {out}/sheet.png, {out}/{REPORT}")


def check(options: Options) -> None:
    """Refuse what no run could use, before anything slow.

    Raises:
        UserError: a flag out of range, an unknown emotion, or a photograph that is missing or none.
    """
    options.common.check()
    check_face(options.face)
    layer_range(options.layers)
    if options.k is not None:
        spread("--k", options.k, options.steps)
    at_least("--steps", options.steps, 2)
    if options.photo:
        images.read(options.photo)
    place = bundle.find(options.common.bundle)
    place.check(GENERATOR, *INVERTER_PARTS[options.common.inverter], EMOTION)
    if options.emotion != ALL:
        file = options.common.directions
        known = Directions.load(file) if file else directions.load(place)
        for name in names_in(options.emotion):
            known.index(name)


def names_in(text: str) -> list[str]:
    """Return the directions that `fear,surprise` names."""
    return [name.strip().lower() for name in text.split(",")]


def _moves(pipe: "Pipeline", options: Options) -> list[Move]:
    """Return what each row of the sheet moves along, and how far."""
    if options.emotion != ALL:
        rows = [tuple(names_in(options.emotion))]
    else:
        rows = [(name,) for name in EMOTIONS if name in pipe.directions.names]
        if not rows:
            raise UserError(
                f"--emotion {ALL} wants emotions, the directions are "
                f"{', '.join(pipe.directions.names)}: name one of them"
            )
    n_latent = pipe.inverter.generator.config.n_latent
    moves = [
        Move({name: _amounts(pipe.directions, name, n_latent, options) for name in names})
        for names in rows
    ]
    for names in rows:  # before anything slow
        pipe.check_directions(names, unit=options.unit, layers=layer_range(options.layers))
    return moves


def _amounts(known: Directions, name: str, n_latent: int, options: Options) -> list[float]:
    """Return the values of k along one direction, by default over its usable range."""
    if options.k is not None:
        return spread("--k", options.k, options.steps)
    length = float(known.unit_lengths(n_latent, options.unit)[known.index(name)])
    lowest, highest = known.usable_range(name)
    return between(lowest / length, highest / length, options.steps)


def _write(
    out: Path, pipe: "Pipeline", moves: list[Move], rows: "list[Faces]"
) -> list[dict[str, Any]]:
    """Write a picture for each edit, and the sheet; return what the report says of the edits."""
    from emojax.report.cards import Card, sheet

    cards, edits = [], []
    for move, faces in zip(moves, rows, strict=True):
        names, row = file_names(move), []
        for index, (k, name) in enumerate(zip(move.steps, names, strict=True)):
            picture, face = faces.pictures[index], faces[index]
            images.write(out / name, picture)
            edits.append({"file": name, "k": k, "predictions": face.emotions})
            bars = face.probabilities[0] if len(moves) == 1 else None  # a grid is large without
            row.append(Card(_label(k), picture, bars))
        cards.append(row)
    width = max(1280, 190 * len(cards[0]))
    images.write(out / "sheet.png", sheet(cards, pipe.classes, width=width))
    return edits


def _label(k: dict[str, float]) -> str:
    if len(set(k.values())) == 1:
        return f"{' + '.join(k)} {next(iter(k.values())):+.3g}"
    return ", ".join(f"{name} {amount:+.3g}" for name, amount in k.items())


def file_names(move: Move) -> list[str]:
    """Return a name for each picture of a row, in order of k also by name: happiness+06.7.png.

    Numbers have as many decimals as it takes to tell the pictures apart.
    """
    names: list[str] = []
    for decimals in range(1, 9):
        width = decimals + 4  # sign, two digits, point
        parts = [
            [f"{name}{amount:+0{width}.{decimals}f}" for name, amount in k.items()]
            for k in move.steps
        ]
        names = ["_".join(each) + ".png" for each in parts]
        if len(set(names)) == len(names):
            break
    return names


def _remove_earlier(out: Path) -> None:
    """Remove the pictures that the report of an earlier run in this folder names."""
    try:
        edits: Sequence[dict] = json.loads((out / REPORT).read_text())["edits"]
        names = [str(each["file"]) for each in edits]
    except (OSError, ValueError, TypeError, KeyError):
        return
    for name in names:
        file = out / name
        if Path(name).name == name and file.suffix == ".png" and file.is_file():
            file.unlink()


if __name__ == "__main__":
    cli(main)
