"""Draw generated faces from seeds.

    emojax sample --bundle ffhq --seeds 0-15 --truncation 0.7 --out sheet.png
    emojax sample --bundle ffhq --seeds 3,7,100-120 --out faces/

Writes one labelled sheet, or with a folder as --out one picture for each face, which other commands
take as aligned. A seed is a sample id: the same face in every batch, on every device and in
`emojax score`.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from emojax.faces import images
from emojax.runtime.choices import DEFAULT_BUNDLE
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder
from emojax.runtime.flags import at_least
from emojax.runtime.progress import progress
from emojax.store import bundle
from emojax.store.parts import GENERATOR

SHEET_SIDE = 256
"""Side of a face on the sheet at most."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax sample`."""

    bundle: str = DEFAULT_BUNDLE
    """Name or folder of a bundle with a generator."""
    seeds: str = "0-15"
    """Sample ids: numbers and ranges, such as 0-15 or 3,7,100-120."""
    truncation: float | None = None
    """Truncation psi: 1 draws from the whole distribution, 0 gives the mean face; default: 0.7, or
    1 for a generator without a mean face."""
    cutoff: int | None = None
    """Truncate only this many of the first layers."""
    noise: Literal["const", "random", "none"] = "const"
    """Noise inputs: the generator's stored ones, new ones for each face, or none."""
    resolution: int | None = None
    """Write the generator's intermediate picture of this size."""
    bfloat16_from: int | None = None
    """Compute blocks of this resolution and above in bfloat16."""
    batch: int = 8
    """Faces per call, on all local devices together."""
    out: Path = Path("sheet.png")
    """A .png file for a labelled sheet, or a folder for one file per face."""


def main(options: Options) -> None:
    """Draw the faces and write them."""
    ids = parse_seeds(options.seeds)
    if options.out.suffix.lower() not in ("", ".png"):
        raise UserError(f"--out is {options.out}, wanted a .png file or a folder")
    at_least("--batch", options.batch, 1)
    place = bundle.find(options.bundle)
    place.check(GENERATOR)
    from emojax.runtime import devices
    from emojax.scoring.sampling import check_resolution, sample_pictures

    devices.use_cores()
    generator = place.load(GENERATOR, bfloat16_from=options.bfloat16_from)
    check_resolution(generator.config, options.resolution)
    with progress("drawing", len(ids), "faces") as shown:
        pictures = sample_pictures(
            generator,
            ids,
            options.truncation,
            cutoff=options.cutoff,
            noise=options.noise,
            resolution=options.resolution,
            batch=options.batch,
            advance=shown.advance,
        )
        if options.out.suffix:
            _write_sheet(ids, list(pictures), options)
            return
        make_folder(options.out)
        for number, picture in zip(ids, pictures, strict=True):
            images.write(options.out / f"seed{number}.png", picture)
    print(f"{len(ids)} faces: {options.out}/seed*.png")


def _write_sheet(ids: Sequence[int], pictures: Sequence[np.ndarray], options: Options) -> None:
    """Write the labelled sheet, roughly square but at most eight faces wide."""
    from emojax.report import contact_sheet

    make_folder(options.out.parent)
    labels = [f"seed {number}" for number in ids]
    columns = min(8, math.ceil(math.sqrt(len(ids))))
    side = min(SHEET_SIDE, pictures[0].shape[0])
    images.write(options.out, contact_sheet.grid(pictures, labels, columns=columns, side=side))
    print(f"{len(ids)} faces: {options.out}")


def parse_seeds(text: str) -> list[int]:
    """Return the ids in `3,7,100-120`.

    Raises:
        UserError: the text is something else, or names more than a million ids.
    """
    ranges: list[range] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UserError(
                f"--seeds is {text!r}, wanted numbers and rising ranges such as 0-15 or 3,7,100-120"
            )
        ranges.append(range(int(match[1]), int(match[2] or match[1]) + 1))
    count = sum(map(len, ranges))  # before a list of them takes gigabytes
    if count > 1_000_000:
        raise UserError(
            f"--seeds names {count:,} faces, wanted at most 1,000,000: use emojax score"
        )
    return [each for ids in ranges for each in ids]


if __name__ == "__main__":
    cli(main)
