"""Codes of the same people with several emotions, intensities and views: what TensorGAN needs."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from emojax.faces import images
from emojax.latents import inversion
from emojax.latents.inversion import Inverter
from emojax.runtime.errors import UserError, shortened

LAYOUT = "PERSON/EMOTION.png, PERSON/EMOTION/INTENSITY.png or PERSON/EMOTION/INTENSITY/VIEW.png"
DEPTH = 4
"""Most names of a picture: person, emotion, intensity, view."""


@dataclasses.dataclass(frozen=True)
class StructuredCodes:
    """Codes in W+ by person, emotion, and further modes.

    Attributes:
        codes: [L,D,P,E,...].
        emotions: E names in lower case.
        origin: what they are of, for the metadata.
    """

    codes: np.ndarray
    emotions: tuple[str, ...]
    origin: str


def of_folder(
    folder: Path, inverter: Inverter, advance: Callable[[int], object] | None = None
) -> StructuredCodes:
    """Invert the aligned faces of a folder, see `LAYOUT`.

    Args:
        folder: every person has a picture for the same names.
        inverter: whose codes are taken.
        advance: told the number of faces whenever some are done.

    Raises:
        UserError: the folder has another layout, pictures are missing or cannot be read.
    """
    files = [each for each in sorted(folder.rglob("*")) if each.suffix.lower() in images.SUFFIXES]
    found = {_names(file, folder): file for file in files}
    depths = {len(names) for names in found}
    if len(depths) != 1 or not 2 <= max(depths) <= DEPTH:
        raise UserError(
            f"{folder} holds {len(files)} pictures in another layout: wanted {LAYOUT}, of one depth"
        )
    axes = [sorted({names[axis] for names in found}) for axis in range(max(depths))]
    grid = [()]
    for axis in axes:
        grid = [(*names, each) for names in grid for each in axis]
    if missing := [names for names in grid if names not in found]:
        raise UserError(
            f"{folder} has no {shortened('/'.join(missing[0]), 80)}, and lacks {len(missing)} of "
            f"{len(grid)} pictures: wanted every person with the same emotions, intensities, views"
        )
    side = inverter.resolution
    pictures = np.stack([images.resize(images.read(found[names]), side) for names in grid])
    codes = _codes(inverter, pictures, [len(axis) for axis in axes], advance)
    return StructuredCodes(codes, tuple(axes[1]), f"{len(axes[0])} people of a folder")


def of_people(
    draw: Callable[[str], np.ndarray],
    emotions: Sequence[str],
    inverter: Inverter,
    advance: Callable[[int], object] | None = None,
) -> StructuredCodes:
    """Invert people whose expressions are known.

    Args:
        draw: (emotion) to the same P people who show it, uint8 [P,S,S,3].
        emotions: their names.
        inverter: whose codes are taken.
        advance: told the number of faces whenever some are done.
    """
    side = inverter.resolution
    faces = np.stack(
        [[images.resize(each, side) for each in draw(name)] for name in emotions], axis=1
    )  # [P,E,R,R,3]
    shape = faces.shape[:2]
    codes = _codes(inverter, faces.reshape(-1, *faces.shape[2:]), shape, advance)
    return StructuredCodes(codes, tuple(emotions), f"{shape[0]} people of the bundle's own")


def _codes(
    inverter: Inverter,
    pictures: np.ndarray,
    shape: Sequence[int],
    advance: Callable[[int], object] | None,
) -> np.ndarray:
    """Return codes [L,D,...] of pictures whose first axis has a shape."""
    found = inversion.invert(inverter, pictures, batch=8, advance=advance).w_plus
    codes = np.asarray(found).reshape(*shape, *found.shape[1:])
    return np.moveaxis(codes, (-2, -1), (0, 1))


def _names(file: Path, folder: Path) -> tuple[str, ...]:
    person, *rest = file.relative_to(folder).with_suffix("").parts
    return (person, *[part.lower() for part in rest])
