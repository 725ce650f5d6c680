"""Pictures on their way between files and networks.

A picture is uint8 [H,W,3] between file and preprocessing, and float32 in [-1, 1] between
preprocessing and network. Conventions of the encoders' `configs/transforms_config.py` and
`utils/common.py`.
"""

import contextlib
import functools
import os
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from emojax.faces import modes
from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing

SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".ppm", ".tif"),
        *(".tiff", ".webp"),
    }
)
"""Names that are taken for pictures when a folder is given."""

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP", "PPM")
"""Formats that are read. Others that Pillow knows are not pictures of a camera, and some of them
run other programs."""

MOST_PIXELS = 89_000_000
"""Pixels of the largest picture that is decoded; from slightly more on Pillow itself warns."""

MOST_PER_BYTE = 1000
"""Pixels for each byte of a file, beyond the first million: a photograph has fewer than 100. A file
of a few bytes that claims millions of pixels is made to exhaust memory."""

_LIMIT = f"{MOST_PIXELS // 1_000_000} million pixels, make it smaller first"
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_OPENING = threading.Lock()
"""Held while warnings are errors: filters of warnings belong to the whole process."""


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


def read(file: str | os.PathLike, *, upright: bool = True) -> np.ndarray:
    """Return a picture file as uint8 [H,W,3]: the one way in for pictures from outside.

    Of an animation the first frame is taken, transparent parts are shown over white, grey of 16 or
    32 bits and of floats is scaled to 8 bits; see `modes.to_rgb`.

    Args:
        file: its format is known by its content, not by its name.
        upright: turn the picture by its EXIF orientation.

    Raises:
        UserError: the file is missing, not a picture, damaged or too large.
    """
    if not os.path.exists(file):
        raise UserError(f"no file {file}: give the path of a picture")
    if not os.path.isfile(file):  # reading from a pipe would wait for ever
        raise UserError(f"{file} is not a file: give the path of a picture")
    try:
        with _opened(file) as picture:
            _check_claim(picture, file)
            return decode(picture, name=str(file), upright=upright)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{file} is not a picture: wanted {_wanted(file)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{file} is too large: wanted at most {_LIMIT}") from error
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise UserError(
            f"{file} cannot be decoded ({error}): wanted an undamaged picture"
        ) from error


def decode(picture: Image.Image, *, name: str = "the picture", upright: bool = True) -> np.ndarray:
    """Return a PIL image as uint8 [H,W,3]; see `read`.

    Args:
        picture: any mode.
        name: what an error calls it.
        upright: turn it by its EXIF orientation.

    Raises:
        UserError: it is too large or empty, or holds numbers that are no grey levels.
    """
    if not 0 < picture.width * picture.height <= MOST_PIXELS:
        raise UserError(f"{name} is {picture.width}x{picture.height}: wanted at most {_LIMIT}")
    if upright and picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    try:
        return np.asarray(modes.to_rgb(picture))
    except UserError as error:
        raise UserError(f"{name} cannot be used: {error}") from error


def over_white(picture: np.ndarray) -> np.ndarray:
    """Return uint8 [H,W,1], [H,W,3] or [H,W,4] (with opacity) as uint8 [H,W,3]."""
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    return np.asarray(modes.to_rgb(image))


def _opened(file: str | os.PathLike) -> Image.Image:
    """Open a file of one of `FORMATS`; too many pixels raise Pillow's warning as an error."""
    formats = _formats()
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file, formats=formats)


def _check_claim(picture: Image.Image, file: str | os.PathLike) -> None:
    """Refuse a file that holds too little for its pixels, before they take memory.

    Raises:
        UserError: it does.
    """
    pixels, size = picture.width * picture.height, os.path.getsize(file)
    if pixels > 1_000_000 + MOST_PER_BYTE * size:
        raise UserError(
            f"{file} claims {picture.width}x{picture.height} pixels in {size} bytes: wanted a "
            "photograph"
        )


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that are installed; HEIC's come with pillow-heif."""
    with contextlib.suppress(ImportError):
        import pillow_heif  # pyright: ignore[reportMissingImports] - the extra "heic"

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _wanted(file: str | os.PathLike) -> str:
    """Say what is wanted in place of a file that is none of the installed formats."""
    with open(file, "rb") as stream:
        head = stream.read(32)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        return "HEIC with its decoder (run 'pip install pillow-heif'), or the picture as JPEG"
    return "a PNG, JPEG, WebP, AVIF, TIFF, GIF or BMP file"


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
    image = Image.fromarray(picture)
    return np.asarray(resample(image, (side, side), Image.Resampling.BILINEAR))


def resample(image: Image.Image, size: tuple[int, int], kind: Image.Resampling) -> Image.Image:
    """Resize a PIL image to (width, height), horizontally first, whatever Pillow is installed.

    The originals were published when every Pillow resized horizontally, then vertically, rounding
    in between. Pillow 13 chooses the order by its cost; in two calls it has no choice.
    """
    return image.resize((size[0], image.height), kind).resize(size, kind)


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


def to_levels(picture: np.ndarray) -> np.ndarray:
    """Map [-1, 1] to grey levels 0 to 255, float32, clipped and not rounded."""
    return np.clip((np.asarray(picture, np.float32) + 1) * 127.5, 0, 255)


def to_uint8(picture: np.ndarray) -> np.ndarray:
    """Map [-1, 1] to uint8, clipped and truncated (not rounded) as the originals' `tensor2im`."""
    scaled = (np.asarray(picture, np.float32) + 1) / 2
    return (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
