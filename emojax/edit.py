"""Change the emotion of a face: Equation 1, C + k·D, for a range of k.

    emojax edit
    emojax edit me.jpg --bundle ffhq --emotion happiness --k 0..12 --steps 7
    emojax edit me.jpg --bundle ffhq --emotion all --inverter hyperstyle
    emojax edit me.jpg --bundle ffhq --emotion happiness --k 8 --paste --video smile.mp4
    emojax edit me.jpg --bundle ffhq --emotion fear,surprise --k 15 --layers 4:8
    emojax edit --seed 7 --bundle pggan --emotion all

Writes sheet.png (a strip, or with --emotion all a grid of emotions by k), one picture for each
edit, and edit.json with every number. Without a photograph it takes the bundle's own sample. By
default k goes over the range in which the direction was measured to be usable.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tyro

from emojax.faces import images, photo_reader
from emojax.faces.photo_reader import Photograph, check_face
from emojax.film import loops
from emojax.latents import directions
from emojax.latents.directions import Directions
from emojax.runtime.choices import PasteForm, Unit
from emojax.runtime.cli import cli, warn
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, sha256, write_json
from emojax.runtime.flags import (
    PipelineFlags,
    at_least,
    between,
    check_inverts,
    layer_range,
    spread,
)
from emojax.runtime.progress import progress
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR, INVERTER_PARTS
from emojax.store.reader.contents import Kind, reading
from emojax.store.reader.json_text import parse_object

if TYPE_CHECKING:  # jax is imported after the flags have been checked
    from emojax.pipeline import Faces, Pipeline

ALL = "all"
REPORT = "edit.json"


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax edit`."""

    photo: tyro.conf.Positional[Path | None] = None
    """A photograph; by default the bundle's sample picture."""
    seed: int | None = None
    """In place of a photograph: the generated face of this number, as emojax sample draws it."""
    emotion: str = "happiness"
    """A direction, several to move along at once (fear,surprise), or all: each direction in turn.
    Directions fitted with a classifier that tells them have valence and arousal too."""
    k: str | None = None
    """How far: a number, a range such as -5..10, or one for each direction, such as 12,-4 (written
    --k=-4,12 where it begins with a minus); default: the usable range of the direction."""
    steps: int = 7
    """Pictures of a range."""
    unit: Unit = "norm"
    """What k counts. norm: the paper's, unit norm over all layers together. layer: unit norm in
    each layer. sigma: standard deviations among generated faces."""
    layers: str | None = None
    """Only these layers of the generator, such as 4:8: from the fifth to the eighth."""
    face: str = "only"
    """Which face of a photograph with several: largest, or a number from the left, from 1."""
    paste: bool = False
    """Also put every edit back into the photograph."""
    paste_form: PasteForm = "change"
    """change: what the edit changes is added to the photograph within the face, so that hair,
    background, colours and grain stay the photograph's. crop: the generated face replaces the
    whole square that was cut out."""
    video: Path | None = None
    """Also write a .mp4, .gif or .webp of the way through the range of k and back; of a single k,
    from 0."""
    frames: int = 48
    """Frames of the way there."""
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
    if options.seed is not None:  # any generator draws faces, and none needs an encoder for it
        common = dataclasses.replace(options.common, inverter="none")
        options = dataclasses.replace(options, common=common)
    photo = check(options)
    layers = layer_range(options.layers)
    with progress("reading the networks", unit="edits") as shown:
        from emojax.pipeline import Pipeline

        pipe = Pipeline(options.common)
        moves = _moves(pipe, options)
        found = _face(pipe, photo, options, shown.describe)
        doubts = found.doubts
        rows = []
        for move in moves:
            shown.describe(f"drawing {' + '.join(move.amounts)}")
            rows.append(pipe.edit(found, move.amounts, unit=options.unit, layers=layers))
            pipe.render(rows[-1:])
            shown.advance(len(rows[-1]))
        film = []
        if options.video:
            shown.describe("drawing the video")
            film = _film(pipe, found, moves, options)
    out = make_folder(options.out)
    _remove_earlier(out)
    edits = _write(out, pipe, moves, rows, doubts)
    if options.paste:
        _write_pasted(out, rows, edits, options.paste_form)
    _write_report(out, pipe, found, {"edits": edits, "warnings": doubts}, options)
    if options.video:
        loops.write(options.video, film)
    warn(doubts)
    print(f"{len(edits)} edits: {out}/sheet.png, {out}/{REPORT}")


def check(options: Options) -> Photograph | None:
    """Refuse what no run could use, before anything slow; return the photograph, decoded.

    Raises:
        UserError: a flag out of range, an unknown emotion, a video that could not be written, or
            a photograph that is missing or none.
    """
    options.common.check()
    if options.seed is not None and (options.photo or options.paste or options.seed < 0):
        raise UserError(
            f"--seed is {options.seed}: wanted 0 or more, and neither a photograph nor --paste, "
            "since the face is generated"
        )
    if options.seed is None:
        check_inverts(options.common.inverter, "without --seed this command edits")
    check_face(options.face)
    layer_range(options.layers)
    if options.k is not None:
        count = 1 if options.emotion == ALL else len(names_in(options.emotion))
        amounts_in(options.k, count, options.steps)
    at_least("--steps", options.steps, 2)
    at_least("--frames", options.frames, 2)
    if options.video:
        loops.check(options.video)
    photo = photo_reader.read(options.photo) if options.photo else None
    place = bundle.find(options.common.bundle)
    place.check(GENERATOR, *INVERTER_PARTS[options.common.inverter], EMOTION)
    if options.emotion != ALL:
        known = directions.chosen(place, options.common.directions)
        for name in names_in(options.emotion):
            known.index(name)
    return photo


def _face(
    pipe: "Pipeline",
    photo: Photograph | None,
    options: Options,
    describe: Callable[[str], object],
) -> "Faces":
    """Return the face to edit: of the photograph, or generated."""
    if options.seed is not None:
        return pipe.sample(options.seed)
    portrait = pipe.read(photo or pipe.sample_photo("source"), face=options.face)
    describe("inverting the face")
    return pipe.invert(portrait)


def names_in(text: str) -> list[str]:
    """Return the directions that `fear,surprise` names."""
    return [name.strip().lower() for name in text.split(",")]


def _moves(pipe: "Pipeline", options: Options) -> list[Move]:
    """Return what each row of the sheet moves along, and how far."""
    if options.emotion != ALL:
        rows = [tuple(names_in(options.emotion))]
    else:
        rows = [(name,) for name in pipe.directions.names]
    n_latent = pipe.inverter.generator.config.n_latent
    moves = [
        Move(dict(zip(names, _amounts(pipe.directions, names, n_latent, options), strict=True)))
        for names in rows
    ]
    for names in rows:  # before anything slow
        pipe.check_directions(names, unit=options.unit, layers=layer_range(options.layers))
    return moves


def _amounts(
    known: Directions, names: Sequence[str], n_latent: int, options: Options
) -> list[list[float]]:
    """Return the values of k along each direction, by default over its usable range."""
    if options.k is not None:
        return amounts_in(options.k, len(names), options.steps)
    lengths, values = known.unit_lengths(n_latent, options.unit), []
    for name in names:
        length = float(lengths[known.index(name)])
        lowest, highest = known.usable_range(name)
        values.append(between(lowest / length, highest / length, options.steps))
    return values


def amounts_in(text: str, count: int, steps: int) -> list[list[float]]:
    """Return the values of k for each of some directions: `3`, `-5..10`, or `12,-4` for two.

    Args:
        text: a number or range for all directions, or one for each with commas between.
        count: number of directions.
        steps: pictures of a range.

    Raises:
        UserError: as many as neither one nor all directions, or see `spread`.
    """
    parts = text.split(",")
    if len(parts) not in (1, count):
        raise UserError(
            f"--k is {text!r}, wanted one number or range, or one for each of the {count} "
            "directions of --emotion"
        )
    values = [spread("--k", part, steps) for part in parts]
    longest = max(map(len, values))
    values = [each * longest if len(each) == 1 else each for each in values]
    return values * count if len(values) < count else values


def _write(
    out: Path, pipe: "Pipeline", moves: list[Move], rows: "list[Faces]", notes: list[str]
) -> list[dict[str, Any]]:
    """Write a picture for each edit, and the sheet; return what the report says of the edits."""
    from emojax.report.cards import Card, sheet

    cards, edits = [], []
    for move, faces in zip(moves, rows, strict=True):
        names, row = file_names(move), []
        for index, (k, name) in enumerate(zip(move.steps, names, strict=True)):
            picture, face = faces.pictures[index], faces[index]
            images.write(out / name, picture)
            edits.append({"file": name, "k": k, "predictions": face.scores})
            # a grid is large without bars
            bars = np.asarray(face.prediction.scores)[0] if len(moves) == 1 else None
            row.append(Card(_label(k), picture, bars))
        cards.append(row)
    width, signed = max(1280, 190 * len(cards[0])), pipe.score_names[len(pipe.classes) :]
    picture = sheet(cards, pipe.classes, signed=signed, notes=notes, width=width)
    images.write(out / "sheet.png", picture)
    return edits


def _write_report(
    out: Path, pipe: "Pipeline", face: "Faces", found: dict[str, Any], options: Options
) -> None:
    file = face.portraits[0].file if face.portraits else None
    photo = {"file": str(file), "sha256": sha256(file) if file else None}
    about: dict[str, Any] = {
        **({"photo": photo} if options.seed is None else {"seed": options.seed}),
        "unit": options.unit,
        "layers": options.layers,
    }
    write_json(out / REPORT, {**about, **found, **pipe.about()})


def _write_pasted(
    out: Path, rows: "list[Faces]", edits: list[dict[str, Any]], form: PasteForm
) -> None:
    """Write the photograph with each edit, and name it in what the report says of the edit."""
    photos = (photo for faces in rows for photo in faces.paste(form))
    for edit, photo in zip(edits, photos, strict=True):
        edit["pasted"] = f"pasted-{edit['file']}"
        images.write(out / edit["pasted"], photo)


def _film(
    pipe: "Pipeline", found: "Faces", moves: list[Move], options: Options
) -> list[np.ndarray]:
    """Return the pictures of the way through each row's range of k and back."""
    layers, pictures = layer_range(options.layers), []
    for move in moves:
        path = {
            name: np.linspace(k[0] if len(k) > 1 else 0.0, k[-1], options.frames).tolist()
            for name, k in move.amounts.items()
        }
        there = list(pipe.edit(found, path, unit=options.unit, layers=layers).pictures)
        pictures += there + there[-2:0:-1]
    return pictures


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
        with reading(out / REPORT, Kind("a report", "")) as data:
            edits = parse_object(data)["edits"]
            names = [str(each[key]) for each in edits for key in ("file", "pasted") if key in each]
    except (UserError, TypeError, KeyError):
        return
    for name in names:
        file = out / name
        if Path(name).name == name and file.suffix == ".png" and file.is_file():
            file.unlink()


if __name__ == "__main__":
    cli(main)
