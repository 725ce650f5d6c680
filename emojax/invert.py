"""Turn photographs of faces into the generator's codes, and back into pictures.

    emojax invert photo.jpg --bundle ffhq --inverter hyperstyle --out inverted
    emojax invert photos/ --bundle ffhq --inverter psp --align never --out inverted
    emojax invert group.jpg --bundle ffhq --face 2 --out inverted

Writes NAME.npz (the codes), NAME.png (the reconstruction) and NAME-aligned.png for every picture,
then sheet.png (each picture beside its reconstruction) and scores.csv: L2, PSNR and, from 176
pixels on, MS-SSIM at the encoder's resolution, and where the bundle has the networks for them LPIPS
and identity similarity. Pictures whose reconstruction is already there are skipped.
While an inverter optimises, progress.png shows the faces at hand and what has been reached.
"""

import csv
import dataclasses
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro
from PIL import Image

from emojax.faces import images
from emojax.faces.photo_reader import PhotoReader, check_face
from emojax.runtime.choices import DEFAULT_BUNDLE, InverterName
from emojax.runtime.cli import cli, warn
from emojax.runtime.errors import UserError
from emojax.runtime.flags import (
    InversionSteps,
    PhotoFlags,
    at_least,
    check_inversion_steps,
    check_inverts,
)
from emojax.runtime.progress import Progress, progress
from emojax.store import bundle
from emojax.store.parts import GENERATOR, INVERTER_PARTS
from emojax.store.place import Place, at

if TYPE_CHECKING:  # jax is imported after the flags have been checked
    from emojax.latents.inversion import Inverter
    from emojax.metrics.comparison import Networks

SCORES = ("l2", "psnr", "ms_ssim", "lpips", "identity")
"""Columns of scores.csv, see `emojax.metrics.comparison`; what no picture has is left out."""
SHEET_ROWS = 64
"""Pictures shown on the sheet."""


@dataclasses.dataclass(frozen=True)
class Options(PhotoFlags):
    """Flags of `emojax invert`."""

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Pictures, or folders of pictures."""
    bundle: str = DEFAULT_BUNDLE
    """Name or folder of a bundle with a generator and the inverter's networks."""
    inverter: InverterName = "psp"
    """psp: one encoder pass to W+. hyperstyle: a code in W, and several passes that refine the
    generator's kernels. projection, projection-w: codes in W+ or W by optimisation. pti: a code in
    W, and a generator tuned to the face."""
    passes: int = 5
    """Passes of HyperStyle."""
    steps: InversionSteps = None
    """Steps of an optimisation; default: 1000 of a projection, 350 of PTI's tuning, which a
    projection of 9 steps for every 7 precedes."""
    face: str = "only"
    """Which face of a picture with several: largest, or a number from the left, from 1."""
    batch: int = 4
    """Faces at a time."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16: faster on GPUs and TPUs, less exact."""
    out: str = "inverted"
    """Folder for the results, or an address such as s3://BUCKET/FOLDER or gs://BUCKET/FOLDER."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture to invert, and the name of its results."""

    file: Path
    name: str


def main(options: Options) -> None:
    """Invert all pictures; report those that could not be read or aligned at the end."""
    jobs = check(options)
    from emojax.latents import inversion, reconstruction
    from emojax.metrics import comparison
    from emojax.runtime.devices import everywhere, mesh_for

    with progress("reading the networks", len(jobs), "faces") as shown:
        place = bundle.find(options.bundle)
        inverter = inversion.load(
            place, options.inverter, bfloat16=options.bfloat16, steps=options.steps
        )
        inverter = everywhere(inverter, mesh_for(options.batch))
        reader = PhotoReader(
            (inverter.resolution, inverter.generator.config.size),
            align=options.align,
            landmarks_file=options.landmarks,
            dlib_model=options.dlib_model,
        )
        out = at(options.out)
        todo = [job for job in jobs if not _is_done(out, job, inverter, options)]
        shown.describe("inverting")
        shown.advance(len(jobs) - len(todo))
        failed: list[UserError] = []
        doubts: list[str] = []
        usual = reconstruction.load(place, inverter)
        for group in _groups(todo, reader, options, failed, shown):
            photos, drawn = _invert(group, out, options, inverter, shown)
            if usual:
                names = [str(job.file) for job, _ in group]
                doubts += reconstruction.doubts(place, usual, names, photos, drawn)
            shown.advance(len(group))
    done = [job for job in jobs if _is_done(out, job, inverter, options)]
    if done:
        _write_overview(done, out, inverter.resolution, comparison.load(place))
    if usual is None:
        doubts = reconstruction.unmeasured(place, inverter, [str(job.file) for job in done])
    warn(doubts)
    for line in comparison.missing(place):
        logging.info("%s", line)
    _report(done, failed, out)


def check(options: Options) -> list[Job]:
    """Refuse what no run could use, before anything slow; return the pictures.

    Raises:
        UserError: a flag out of range, or a file that is missing.
    """
    options.check()
    check_inverts(options.inverter, "this command inverts")
    at_least("--passes", options.passes, 1)
    check_inversion_steps(options.steps)
    at_least("--batch", options.batch, 1)
    check_face(options.face)
    jobs = _named(images.find(options.photos))
    bundle.find(options.bundle).check(GENERATOR, *INVERTER_PARTS[options.inverter])
    return jobs


def _named(files: list[Path]) -> list[Job]:
    """Name results after the files; files of one name in several folders get a number."""
    names: dict[str, int] = {}
    jobs = []
    for file in files:
        count = names[file.stem] = names.get(file.stem, 0) + 1
        jobs.append(Job(file, file.stem if count == 1 else f"{file.stem}-{count}"))
    return jobs


def _is_done(out: Place, job: Job, inverter: "Inverter", options: Options) -> bool:
    """Say whether these networks have inverted a picture, in as many passes, and all is sound."""
    from emojax.latents.codes import Inversion
    from emojax.latents.inversion import METHODS

    try:
        with out.copy(f"{job.name}.npz") as file:
            found = Inversion.load(file)
        for end in ("-aligned", ""):
            with out.copy(f"{job.name}{end}.png") as file, Image.open(file) as picture:
                picture.verify()  # compares checksums
    except (UserError, OSError, SyntaxError):
        return False
    passes = METHODS[inverter.method].passes(inverter, options.passes)
    return (found.made_with, found.passes) == (inverter.made_with, passes)


def _groups(
    todo: list[Job],
    reader: PhotoReader,
    options: Options,
    failed: list[UserError],
    shown: Progress,
) -> Iterator[list[tuple[Job, np.ndarray]]]:
    """Yield batches of aligned faces, setting aside what cannot be used."""
    group = []
    for job in todo:
        try:
            group.append((job, reader(job.file, options.face).face))
        except UserError as error:
            failed.append(error)
            shown.advance()
            continue
        if len(group) == options.batch:
            yield group
            group = []
    if group:
        yield group


def _invert(
    group: list[tuple[Job, np.ndarray]],
    out: Place,
    options: Options,
    inverter: "Inverter",
    shown: Progress,
) -> tuple[np.ndarray, np.ndarray]:
    """Invert a batch and write its results; a short one is padded to the batch's size.

    Returns:
        What the encoder was given and the reconstructions, uint8 [N,R,R,3] and [N,S,S,3].
    """
    from emojax.latents import inversion

    faces = np.stack([images.resize(face, inverter.resolution) for _, face in group])
    padded = np.concatenate([faces, np.repeat(faces[-1:], options.batch - len(faces), axis=0)])
    found = inversion.invert(
        inverter,
        padded,
        passes=options.passes,
        batch=options.batch,
        describe=shown.describe,
        show=lambda wanted, reached: _show(wanted[: len(faces)], reached[: len(faces)], out),
    )
    drawn = images.to_uint8(inversion.synthesize(inverter, found, batch=options.batch))
    for row, (job, face) in enumerate(group):
        with out.file(f"{job.name}-aligned.png") as aside:
            images.write(aside, face)
        with out.file(f"{job.name}.npz") as aside:
            found[row].save(aside)
        with out.file(f"{job.name}.png") as aside:  # last: marks the picture as done
            images.write(aside, drawn[row])
    return faces, drawn[: len(faces)]


def _show(wanted: np.ndarray, reached: np.ndarray, out: Place) -> None:
    """Write `progress.png`: what an optimisation should reach above what it has reached."""
    from emojax.report import contact_sheet

    pictures = [*images.to_uint8(wanted), *images.to_uint8(reached)]
    labels = ["wanted"] * len(wanted) + ["reached"] * len(reached)
    with out.file("progress.png") as aside:
        images.write(aside, contact_sheet.grid(pictures, labels, columns=len(wanted)))


def _write_overview(done: list[Job], out: Place, resolution: int, networks: "Networks") -> None:
    """Write sheet.png and scores.csv from the files of all finished pictures."""
    from emojax.metrics import comparison
    from emojax.report import contact_sheet

    rows, shown, labels = [], [], []
    for job in done:
        aligned, drawn = (
            images.resize(_picture(out, f"{job.name}{end}.png"), resolution)
            for end in ("-aligned", "")
        )
        measured = comparison.compare(networks, drawn[None], aligned[None], batch=1)
        scores = {name: float(value[0]) for name, value in measured.items()}
        rows.append({name: f"{x:.6g}" for name, x in scores.items() if x == x})  # no nan
        if len(shown) < 2 * SHEET_ROWS:
            shown += [aligned, drawn]
            labels += [job.name, f"L2 {scores['l2']:.4f}"]
    names = [name for name in SCORES if any(name in row for row in rows)]
    text = io.StringIO()
    lines = [
        [job.name, *(row.get(x, "") for x in names)] for job, row in zip(done, rows, strict=True)
    ]
    csv.writer(text).writerows([["name", *names], *lines])
    out.write("scores.csv", text.getvalue().encode())
    columns = 2 if len(done) < 8 else 8
    sheet = contact_sheet.grid(shown, labels, columns=columns, side=resolution)
    with out.file("sheet.png") as aside:
        images.write(aside, sheet)


def _picture(out: Place, name: str) -> np.ndarray:
    with out.copy(name) as file:
        return images.read(file)


def _report(done: list[Job], failed: list[UserError], out: Place) -> None:
    if not done and len(failed) == 1:
        raise failed[0]
    for error in failed:
        logging.error("not inverted: %s", error)
    if not done:
        raise UserError(f"none of {len(failed)} pictures could be inverted: see above")
    print(f"{len(done)} faces: {out}/sheet.png, {out}/scores.csv")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(failed) + len(done)} pictures were left out: see above"
        )


if __name__ == "__main__":
    cli(main)
