"""Convert published directions to the directions of a bundle.

    emojax convert directions age.pt smile.pt pose.pt --name ffhq --out published.npz
    emojax convert directions emotion_*.npy --name ffhq --replace

Takes InterfaceGAN's boundaries (boundary_Smiling.npy), e4e's and HyperStyle's age.pt, pose.pt and
smile.pt, the seven-emotion files (emotion_angry.npy, ...) and GANSpace's components (ffhq_pca.pt,
or .npz with lat_comp), as one direction of W or one a layer. Nothing in a file is executed.
`python -m convert.directions` does the same, but not in a folder that has a convert.py of its own.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from convert import systems
from convert.options import destination
from convert.reader import schema
from emojax.latents import directions
from emojax.latents.directions import Directions
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import sha256
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR
from emojax.store.reader.contents import Kind, reading
from emojax.store.reader.npy import read_npy

if TYPE_CHECKING:
    from emojax.models.generator import Config

LONGEST_NAME = 60
"""Characters of a direction's name."""

MOST = 10_000
"""Components in one file; a direction of W can have no more than a few hundred."""

NPY = Kind("a published direction", "wanted the array of a .npy file, download it again", 2**26)


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of the command."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Published files: .npy, .npz or .pt."""
    name: str = dataclasses.field(kw_only=True)
    """Bundle with the generator that the directions are for."""
    names: tuple[str, ...] = ()
    """Names of the directions, in the order of the files; default: as the files call them."""
    out: Path | None = None
    """Write to this file (.npz); default: the directions of the bundle."""
    replace: bool = False
    """Replace a file that is already there."""
    calibrate: int = 16
    """Faces on which the bundle's classifier checks each sign; 0: keep the signs."""


ALIASES = {
    "angry": "anger",
    "easy": "neutral",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}
"""What published files call our emotions."""


def main(options: Options) -> None:
    """Convert the files and print what was done."""
    place = bundle.find(options.name)
    target = _target(place, options)
    if options.calibrate == 1 or options.calibrate < 0:
        raise UserError(f"--calibrate is {options.calibrate}, wanted 0, or 2 or more faces")
    place.check(GENERATOR)
    arrays, sources = _read_all(options.files, options.names)

    from convert import calibration  # late: imports JAX
    from emojax.runtime import devices

    devices.use_cores()
    generator = place.load(GENERATOR)
    coefficients = stacked(arrays, generator.config)
    metadata = {"method": "published", "sources": sources}
    metadata["generator_sha256"] = place.sha256(GENERATOR)
    codes = calibration.sampled_codes(generator)
    found = assembled(tuple(arrays), coefficients, codes, metadata)
    if options.calibrate and place.has(EMOTION):
        emotion = place.load(EMOTION)
        found = calibration.calibrated(found, generator, emotion, options.calibrate)
    found.save(target)
    _report(found, target)


def name_of(stem: str) -> str:
    """Return the direction's name in a file's name or key.

    `stylegan_ffhq_age_w_boundary` and `boundary_Age` are "age", `emotion_angry` is "anger".
    """
    name = re.sub(r"^(stylegan\d?_(ffhq|celebahq)_|boundary_|emotion_)", "", stem.lower())
    name = re.sub(r"(_[wz])?(_boundary)?$", "", name)
    return ALIASES.get(name, name)


def read(file: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by direction.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    if file.suffix == ".npy":
        try:
            with reading(file, NPY) as data:
                return {name_of(file.stem): read_npy(data)}
        except UserError:
            if _is_style_file(file):
                systems.load(file, "directions")  # refuses it by its name
            raise
    held = systems.load(file, "directions")
    if isinstance(held, np.ndarray):
        return {name_of(file.stem): held}
    if isinstance(held, Mapping):
        for key in ("lat_comp", "comp"):  # GANSpace's own file, e4e's extract of it
            if isinstance(held.get(key), np.ndarray) and held[key].ndim > 1:
                if not 0 < len(held[key]) <= MOST:
                    raise UserError(f"{file} holds {len(held[key])} components, wanted 1 to {MOST}")
                return {f"component{i}": row for i, row in enumerate(held[key])}
        if held and all(isinstance(value, np.ndarray) for value in held.values()):
            return {name_of(key): row for key, row in schema.table(held, str(file)).items()}
    raise UserError(
        f"{file} holds no direction: wanted an array, a table of arrays, or GANSpace's components"
    )


def _is_style_file(file: Path) -> bool:
    """Whether a .npy that is no array of numbers holds style codes of DualStyleGAN."""
    try:
        return systems.system_in(file) is systems.STYLES
    except UserError:
        return False


def shaped(array: np.ndarray, name: str, config: "Config") -> np.ndarray:
    """Bring (D), (1,D), (L,D), (1,L,D) or (1,L·D) to float64 [D], or [L,D] where layers differ.

    Raises:
        UserError: another shape, or a direction that is 0 or not finite.
    """
    layers, width = config.n_latent, config.style_dim
    shapes = {(width,), (1, width), (layers, width), (1, layers, width), (1, layers * width)}
    if array.shape not in shapes:
        raise UserError(
            f"{name} is {list(array.shape)}, wanted one of "
            f"{', '.join(str(list(shape)) for shape in sorted(shapes))} for this generator"
        )
    if not schema.is_number(array.dtype):
        raise UserError(f"{name} is of type {array.dtype}, wanted real numbers")
    rows = np.asarray(array, np.float64).reshape(-1, width)
    if not np.isfinite(rows).all() or not rows.any():
        raise UserError(f"{name} is 0, infinite or NaN: wanted a direction")
    return rows[0] if (rows == rows[0]).all() else rows


def stacked(arrays: Mapping[str, np.ndarray], config: "Config") -> np.ndarray:
    """Return published arrays as coefficients [E, D], or [E, L, D] if one differs between layers.

    Raises:
        UserError: see `shaped`.
    """
    rows = [shaped(array, name, config) for name, array in arrays.items()]
    if any(row.ndim == 2 for row in rows):  # tiled, a layer's share each: the same regression
        layers = config.n_latent
        rows = [np.tile(row / layers, (layers, 1)) if row.ndim == 1 else row for row in rows]
    return np.stack(rows)


def assembled(
    names: tuple[str, ...], coefficients: np.ndarray, codes: np.ndarray, metadata: dict[str, Any]
) -> Directions:
    """Return directions whose scores are 0 at the mean of some codes.

    Args:
        names: of the directions.
        coefficients: see `stacked`.
        codes: [N, D] of the generator; mean and sigma are theirs.
        metadata: to keep.
    """
    mean = codes.mean(0)
    flat = coefficients if coefficients.ndim == 2 else coefficients.sum(1)
    norms = np.linalg.norm(coefficients.reshape(len(names), -1), axis=1)
    sigma = ((codes - mean) @ flat.T).std(0) / norms
    return Directions(names, coefficients, -flat @ mean, mean, sigma, metadata)


def _target(place: bundle.Bundle, options: Options) -> Path:
    """Return the file to write.

    Raises:
        UserError: it is there already and may not be replaced, or is the embedded bundle's.
    """
    target = options.out or destination(options.name) / directions.FILE
    present = target if target.exists() else None if options.out else place.file(directions.FILE)
    if present and not options.replace:
        raise UserError(
            f"{present} is there already: give --replace to lose it, or --out for another place"
        )
    return target


def _read_all(
    files: Sequence[Path], names: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    """Return all arrays by name, and {file, sha256} of each file."""
    if not files:
        raise UserError("no file given: wanted .npy, .npz or .pt files of directions")
    held = [(name, array) for file in files for name, array in read(file).items()]
    if names and len(names) != len(held):
        raise UserError(f"--names gives {len(names)} names for {len(held)} directions")
    taken = [name.lower() for name in names] or [name for name, _ in held]
    for name in taken:
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise UserError(
                f"a direction is named {name[:LONGEST_NAME]!r}: give names with --names"
            )
    if twice := sorted({name for name in taken if taken.count(name) > 1}):
        raise UserError(f"{', '.join(twice)} is given twice: tell them apart with --names")
    sources = [{"file": file.name, "sha256": sha256(file)} for file in files]
    return dict(zip(taken, (array for _, array in held), strict=True)), sources


def _report(found: Directions, target: Path) -> None:
    """Print the directions and where they are."""
    layers = "one a layer" if found.coefficients.ndim == 3 else "of W"
    print(f"{len(found.names)} directions {layers}, {found.coefficients.shape[-1]} wide")
    calibration = found.metadata.get("calibration", {})
    for name, sigma in zip(found.names, found.sigma, strict=True):
        said = "sign as published"
        if seen := calibration.get(name):
            said = f"sign {seen['sign']}: {seen['class']} {seen['change']:+.3f} published way, "
            said += f"± {seen['standard_error']:.3f}"
        print(f"  {name:<12} sigma {sigma:.3f}, {said}")
    print(f"written: {target}")


if __name__ == "__main__":
    cli(main)
