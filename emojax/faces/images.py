"""Pictures on their way between files and networks.

A picture is uint8 [H,W,3] between file and preprocessing, and float32 in [-1, 1] between
preprocessing and network. Conventions of the encoders' `configs/transforms_config.py` and
`utils/common.py`.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Names that are taken for pictures when a folder is given."""


def find(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Return the given files, and in place of a folder its visible pictures, in order of name.

    Raises:
        UserError: a path does not exist, or a folder holds no picture.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
            )
            if not inside:
                raise UserError(
                    f"no pictures in {path}: wanted {', '.join(sorted(SUFFIXES))} files"
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"no file {path}: give pictures or folders of pictures")
    return found


def read(file: str | os.PathLike) -> np.ndarray:
    """Return a picture file as uint8 [H,W,3], turned upright by its EXIF orientation.

    Raises:
        UserError: the file is missing, not a picture, damaged or absurdly large.
    """
    try:
        with Image.open(file) as picture:
            return decode(picture)
    except FileNotFoundError as error:
        raise UserError(f"no file {file}: give the path of a picture") from error
    except UnidentifiedImageError as error:
        raise UserError(
            f"{file} is not a picture: wanted a PNG, JPEG, WebP, TIFF or BMP file"
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{file} cannot be decoded ({error}): wanted an undamaged picture"
        ) from error


def decode(picture: Image.Image) -> np.ndarray:
    """Return a PIL image as uint8 [H,W,3], turned upright by its EXIF orientation."""
    return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def write(file: str | os.PathLike, picture: np.ndarray) -> None:
    """Write uint8 [H,W,3] as PNG, aside and then renamed.

    Raises:
        UserError: the file cannot be written.
    """
    with replacing(file) as aside:
        Image.fromarray(picture).save(aside, "PNG")


def resize(picture: np.ndarray, side: int) -> np.ndarray:
    """Resize uint8 [H,W,3] to [side,side,3] as the encoders do: Pillow's bilinear, any aspect."""
    if picture.shape[:2] == (side, side):
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))


def to_float(picture: np.ndarray) -> np.ndarray:
    """Map uint8 to float32 in [-1, 1], in the originals' order of operations."""
    return (picture.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)


def as_float(pictures: Any) -> np.ndarray:
    """Return pictures as the networks take them: the one rule for arrays from outside.

    Args:
        pictures: uint8, or float in [-1, 1]; any shape.

    Returns:
        float32 in [-1, 1]; uint8 is mapped by `to_float`.

    Raises:
        UserError: another dtype, or values outside [-1, 1] (such as 0 to 255 as floats) or NaN.
    """
    array = np.asarray(pictures)
    if array.dtype == np.uint8:
        return to_float(array)
    # bfloat16 and its like are no subtypes of NumPy's floating
    if array.dtype.kind == "f" or array.dtype.name in ("bfloat16", "float16"):
        array = array.astype(np.float32, copy=False)
        largest = float(np.abs(array).max(initial=0.0))
        if largest <= 1 + 1e-3:
            return array
        raise UserError(
            f"picture values reach {largest:.4g}: wanted floats in [-1, 1], or uint8 from 0 to 255"
        )
    raise UserError(f"pictures are {array.dtype}: wanted uint8, or floats in [-1, 1]")


def to_uint8(picture: np.ndarray) -> np.ndarray:
    """Map [-1, 1] to uint8, clipped and truncated (not rounded) as the originals' `tensor2im`."""
    scaled = (np.asarray(picture, np.float32) + 1) / 2
    return (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
