"""Draw faces from seeds.

    python -m emojax.sample --bundle ffhq --seeds 0-15 --truncation 0.7 --out sheet.png
    python -m emojax.sample --bundle ffhq --seeds 3,7,100-120 --out faces/        (one file a face)

A seed is a sample id: the same face in every batch, on every device and in `emojax.score`.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from emojax.faces import images
from emojax.models.stylegan2 import Generator
from emojax.report import contact_sheet
from emojax.runtime import devices, xla_options
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder
from emojax.scoring.sampling import sample
from emojax.store import bundle
from emojax.store.parts import GENERATOR


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.sample`."""

    bundle: str = bundle.DEFAULT
    """Name or folder of a bundle with a generator."""
    seeds: str = "0-15"
    """Sample ids: numbers and ranges, such as 0-15 or 3,7,100-120."""
    truncation: float = 0.7
    """ψ: 1 draws from the whole distribution, 0 gives the mean face."""
    cutoff: int | None = None
    """Truncate only this many of the first layers."""
    noise: Literal["const", "random", "none"] = "const"
    """Noise pictures: the stored ones, new ones for each face, or none."""
    resolution: int | None = None
    """Stop at this resolution of the generator's skip chain."""
    bfloat16_from: int | None = None
    """Compute blocks of this resolution and above in bfloat16."""
    batch: int = 8
    """Faces a call."""
    out: Path = Path("sheet.png")
    """A .png file for a labelled sheet, or a folder for one file a face."""


def main(options: Options) -> None:
    """Draw the faces and write them."""
    ids = parse_seeds(options.seeds)
    if options.out.suffix.lower() not in ("", ".png"):
        raise UserError(f"--out is {options.out}, wanted a .png file or a folder")
    if options.batch < 1:
        raise UserError(f"--batch is {options.batch}, wanted 1 or more")
    devices.use_cores()
    generator = bundle.find(options.bundle).load(GENERATOR, bfloat16_from=options.bfloat16_from)
    sizes = sorted(set(generator.config.noise_sizes))
    if options.resolution not in (None, *sizes):
        raise UserError(f"--resolution is {options.resolution}, this generator draws {sizes}")
    pictures = draw(generator, ids, options)
    names = [f"seed {i}" for i in ids]
    if options.out.suffix:
        make_folder(options.out.parent)
        columns = min(8, math.ceil(math.sqrt(len(ids))))
        side = min(256, options.resolution or generator.config.size)
        images.write(
            options.out, contact_sheet.grid(list(pictures), names, columns=columns, side=side)
        )
        print(f"{len(ids)} faces: {options.out}")
        return
    make_folder(options.out)
    for name, picture in zip(names, pictures, strict=True):
        images.write(options.out / f"{name.replace(' ', '')}.png", picture)
    print(f"{len(ids)} faces: {options.out}/seed*.png")


def draw(generator: Generator, ids: list[int], options: Options) -> Iterator[np.ndarray]:
    """Yield the uint8 picture of each id, batch by batch; the last batch is filled up and cut."""
    size = min(options.batch, len(ids))
    mesh = devices.local_mesh(most=size)
    size -= size % mesh.size
    settings = functools.partial(
        sample, cutoff=options.cutoff, noise=options.noise, resolution=options.resolution
    )
    program = devices.over_samples(
        settings,
        mesh,
        split=(False, False, True, False),
        compiler_options=xla_options.options(dense=True),
    )
    generator = devices.everywhere(generator, mesh)
    with tqdm(total=len(ids), unit="face", delay=2) as progress:
        for start in range(0, len(ids), size):
            batch = ids[start : start + size]
            padded = batch + [batch[-1]] * (size - len(batch))
            chosen = jnp.asarray(padded, jnp.uint32)
            pictures = program(
                generator, jax.random.key(0), chosen, jnp.float32(options.truncation)
            )
            yield from images.to_uint8(np.asarray(pictures)[: len(batch)])
            progress.update(len(batch))


def parse_seeds(text: str) -> list[int]:
    """Return the ids in `3,7,100-120`.

    Raises:
        UserError: the text is something else, or holds more than a million ids.
    """
    ids = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UserError(
                f"--seeds is {text!r}, wanted numbers and rising ranges such as 0-15 or 3,7,100-120"
            )
        ids += range(int(match[1]), int(match[2] or match[1]) + 1)
    if len(ids) > 1_000_000:
        raise UserError(
            f"--seeds names {len(ids):,} faces, wanted at most 1,000,000: use emojax.score"
        )
    return ids


if __name__ == "__main__":
    cli(main)
