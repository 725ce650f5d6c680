"""Change the emotion of a face: Equation 1, C + k·D, for a range of k.

    python -m emojax.edit
    python -m emojax.edit me.jpg --bundle ffhq --emotion happiness --k -20..20 --steps 7
    python -m emojax.edit me.jpg --bundle ffhq --emotion all --inverter hyperstyle
    python -m emojax.edit me.jpg --bundle ffhq --emotion fear,surprise --k 15 --layers 4:8

Writes sheet.png (a strip, or with --emotion all a grid of emotions by k), one picture an edit, and
edit.json with every number. Without a photograph it takes the bundle's own sample picture.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from emojax import pipeline
from emojax.faces import images
from emojax.latents import arithmetic
from emojax.pipeline import Studio
from emojax.report import cards as emotion_sheets
from emojax.report.cards import Card
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder
from emojax.scoring.classifier import EIGHT

ALL = "all"


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.edit`."""

    photo: tyro.conf.Positional[Path | None] = None
    """A photograph; by default the bundle's sample picture."""
    emotion: str = "happiness"
    """A direction, several to move along at once (fear,surprise), or all: each emotion in turn."""
    k: str = "-20..20"
    """How far: a number, or a range."""
    steps: int = 7
    """Pictures of a range."""
    unit: arithmetic.Unit = "norm"
    """What k counts. norm: the direction has unit norm over all layers together. layer: in each of
    them. sigma: standard deviations among samples."""
    layers: str | None = None
    """Only these layers of the generator, such as 4:8: from the fifth to the eighth."""
    out: Path = Path("edited")
    """Folder for the results."""
    common: tyro.conf.OmitArgPrefixes[pipeline.Options] = dataclasses.field(
        default_factory=pipeline.Options
    )


def main(options: Options) -> None:
    """Edit one face and write what came of it."""
    amounts = pipeline.spread("--k", options.k, options.steps)
    layers = parse_layers(options.layers)
    room = Studio(options.common)
    rows = _rows(options, room)
    for names in rows:  # before anything slow
        arithmetic.moves(
            room.directions, names, room.inverter.generator.config.n_latent, layers=layers
        )
    portrait = room.read(options.photo or room.sample("source"))
    found = room.invert([portrait])
    out = make_folder(options.out)
    cards, edits = [], []
    for names in tqdm(rows, unit="emotion", delay=2):
        k = dict.fromkeys(names, amounts)
        codes = arithmetic.edit(found.w_plus, room.directions, k, layers=layers, unit=options.unit)
        pictures = room.draw(found.with_codes(codes))
        probabilities = room.classify(pictures).probabilities
        cards.append(_cards(names, amounts, pictures, probabilities))
        for amount, picture, row in zip(amounts, pictures, probabilities, strict=True):
            file = f"{'+'.join(names)}{amount:+g}.png"
            images.write(out / file, picture)
            edits.append(
                {"file": file, "emotions": names, "k": amount}
                | {"predictions": pipeline.named(row, room.classes)}
            )
    images.write(out / "sheet.png", _sheet(cards, room))
    report = {
        "photo": {"file": str(portrait.file), "sha256": pipeline.sha256(portrait.file)},
        "unit": options.unit,
        "layers": options.layers,
        "edits": edits,
        **room.about(),
    }
    pipeline.write_json(out / "edit.json", report)
    print(f"{len(edits)} edits: {out}/sheet.png, {out}/edit.json")


def parse_layers(text: str | None) -> slice:
    """Return the layers that `4:8`, `4:` or `:8` names; None: all.

    Raises:
        UserError: the text is something else.
    """
    if text is None:
        return arithmetic.WHOLE
    match = re.fullmatch(r"(\d{0,3}):(\d{0,3})", text)
    if match is None:
        raise UserError(f"--layers is {text!r}, wanted a range such as 4:8, 4: or :8")
    return slice(*(int(part) if part else None for part in match.groups()))


def _rows(options: Options, room: Studio) -> list[tuple[str, ...]]:
    """Return the directions that move together, one row of the sheet each."""
    if options.emotion != ALL:
        return [tuple(name.strip().lower() for name in options.emotion.split(","))]
    known = [name.lower() for name in EIGHT if name.lower() in room.directions.names]
    if not known:
        raise UserError(
            f"--emotion {ALL} wants emotions, the directions are "
            f"{', '.join(room.directions.names)}: name one of them"
        )
    return [(name,) for name in known]


def _cards(
    names: Sequence[str], amounts: Sequence[float], pictures: np.ndarray, probabilities: np.ndarray
) -> list[Card]:
    labels = [f"{' + '.join(names)} {amount:+.4g}" for amount in amounts]
    return [Card(*card) for card in zip(labels, pictures, probabilities, strict=True)]


def _sheet(cards: list[list[Card]], room: Studio) -> np.ndarray:
    """Return the strip with bars, or the grid, which is large enough without them."""
    if len(cards) > 1:
        cards = [[card._replace(probabilities=None) for card in row] for row in cards]
    width = max(1280, 190 * len(cards[0]))
    return emotion_sheets.sheet(cards, room.classes, width=width)


if __name__ == "__main__":
    cli(main)
