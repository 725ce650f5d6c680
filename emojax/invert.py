"""Turn photographs of faces into the generator's codes, and back into pictures.

    python -m emojax.invert photo.jpg --bundle ffhq --inverter hyperstyle --out inverted
    python -m emojax.invert photos/ --bundle ffhq --inverter psp --align never --out inverted
    python -m emojax.invert group.jpg --bundle ffhq --face 2 --out inverted       (second from the
    left)

Writes NAME.npz (the inversion), NAME.png (its reconstruction) and NAME-aligned.png for every
picture, then sheet.png (each picture beside its reconstruction) and scores.csv (L2, PSNR and
MS-SSIM at the encoder's resolution). Pictures whose reconstruction is already there are skipped.
"""

import csv
import dataclasses
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from emojax.faces import images, photo_reader
from emojax.latents import inversion
from emojax.metrics import image_quality as metrics
from emojax.report import contact_sheet
from emojax.runtime.choices import InverterName
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, replacing
from emojax.store import bundle

SCORES = ("l2", "psnr", "ms_ssim")
SHEET_ROWS = 64
"""Pictures shown on the sheet."""
SMALLEST_MS_SSIM = 176


@dataclasses.dataclass(frozen=True)
class Options(photo_reader.Options):
    """Flags of `python -m emojax.invert`."""

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Pictures, or folders of pictures."""
    bundle: str = bundle.DEFAULT
    """Name or folder of a bundle with a generator and the inverter's networks."""
    inverter: InverterName = "psp"
    """psp: one look, a code only. hyperstyle: several, and changes of the generator's kernels."""
    passes: int = 5
    """HyperStyle's passes."""
    batch: int = 4
    """Faces at a time."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16: faster on GPUs and TPUs, coarser."""
    out: Path = Path("inverted")
    """Folder for the results."""


@dataclasses.dataclass
class Work:
    """One picture on its way: where it is from, its results' name, and its aligned face."""

    file: Path
    name: str
    face: np.ndarray | None = None


def main(options: Options) -> None:
    """Invert all pictures; report those that could not be read, aligned or cropped at the end."""
    _check(options)
    work = _named(images.find(options.photos))
    inverter = inversion.load(
        bundle.find(options.bundle), options.inverter, bfloat16=options.bfloat16
    )
    reader = photo_reader.Reader(options, inverter.resolution)
    make_folder(options.out)
    todo = [each for each in work if not _is_done(options, each, inverter)]
    failed: list[UserError] = []
    with tqdm(total=len(work), initial=len(work) - len(todo), unit="face") as progress:
        for group in _groups(todo, reader, options.batch, failed, progress):
            _invert(group, options, inverter)
            progress.update(len(group))
    done = [each for each in work if _is_done(options, each, inverter)]
    if done:
        _write_overview(done, options, inverter.resolution)
    _report(done, failed, options)


def _check(options: Options) -> None:
    for name in ("passes", "batch"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} is {getattr(options, name)}, wanted 1 or more")
    photo_reader.check(options)


def _named(files: list[Path]) -> list[Work]:
    """Name results after the files; files of one name in several folders get a number."""
    names: dict[str, int] = {}
    work = []
    for file in files:
        count = names[file.stem] = names.get(file.stem, 0) + 1
        work.append(Work(file, file.stem if count == 1 else f"{file.stem}-{count}"))
    return work


def _is_done(options: Options, work: Work, inverter: inversion.Inverter) -> bool:
    """Say whether these networks have already inverted a picture, in as many passes."""
    file = options.out / f"{work.name}.npz"
    if not file.is_file() or not (options.out / f"{work.name}.png").is_file():
        return False
    try:
        found = inversion.Inversion.load(file)
    except UserError:
        return False
    passes = 0 if options.inverter == "psp" else options.passes
    return (found.made_with, found.passes) == (inverter.made_with, passes)


def _groups(
    todo: list[Work],
    reader: photo_reader.Reader,
    size: int,
    failed: list[UserError],
    progress: tqdm,
) -> Iterator[list[Work]]:
    """Yield batches of aligned faces, setting aside what cannot be used."""
    group = []
    for each in todo:
        try:
            each.face = reader(each.file).face
        except UserError as error:
            failed.append(error)
            progress.update()
            continue
        group.append(each)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _invert(group: list[Work], options: Options, inverter: inversion.Inverter) -> None:
    faces = np.stack([images.resize(each.face, inverter.resolution) for each in group])
    padded = np.concatenate([faces, np.repeat(faces[-1:], options.batch - len(faces), axis=0)])
    found = inversion.invert(
        inverter, images.to_float(padded), passes=options.passes, batch=options.batch
    )
    drawn = images.to_uint8(inversion.synthesize(inverter, found, batch=options.batch))
    for i, each in enumerate(group):
        images.write(options.out / f"{each.name}-aligned.png", each.face)
        found[i].save(options.out / f"{each.name}.npz")
        images.write(options.out / f"{each.name}.png", drawn[i])  # last: marks the picture as done
        each.face = None


def _write_overview(done: list[Work], options: Options, resolution: int) -> None:
    """Write sheet.png and scores.csv from the files of all finished pictures."""
    rows, shown, labels = [], [], []
    for each in done:
        aligned, drawn = (
            images.resize(images.read(options.out / f"{each.name}{end}.png"), resolution)
            for end in ("-aligned", "")
        )
        scores = score(aligned, drawn)
        rows.append([each.name, *(f"{value:.6g}" for value in scores)])
        if len(shown) < 2 * SHEET_ROWS:
            shown += [aligned, drawn]
            labels += [each.name, f"L2 {scores[0]:.4f}"]
    text = io.StringIO()
    csv.writer(text).writerows([["name", *SCORES], *rows])
    with replacing(options.out / "scores.csv") as aside:
        aside.write_text(text.getvalue())
    columns = 2 if len(done) < 8 else 8
    sheet = contact_sheet.grid(shown, labels, columns=columns, side=resolution)
    images.write(options.out / "sheet.png", sheet)


def score(picture: np.ndarray, reconstruction: np.ndarray) -> tuple[float, float, float]:
    """Return L2, PSNR and MS-SSIM of two uint8 pictures; no MS-SSIM (nan) below 176 pixels."""
    a, b = (images.to_float(each)[None] for each in (picture, reconstruction))
    similar = metrics.ms_ssim(a, b)[0] if len(picture) >= SMALLEST_MS_SSIM else np.nan
    return float(metrics.l2(a, b)[0]), float(metrics.psnr(a, b)[0]), float(similar)


def _report(done: list[Work], failed: list[UserError], options: Options) -> None:
    if not done and len(failed) == 1:
        raise failed[0]
    for error in failed:
        logging.error("not inverted: %s", error)
    if not done:
        raise UserError(f"none of {len(failed)} pictures could be inverted: see above")
    print(f"{len(done)} faces: {options.out}/sheet.png, {options.out}/scores.csv")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(failed) + len(done)} pictures were left out: see above"
        )


if __name__ == "__main__":
    cli(main)
