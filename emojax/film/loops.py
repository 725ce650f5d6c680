"""Short moving pictures that run in a loop: GIF and WebP by Pillow, MP4 by PyAV."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from emojax.film.reading import Video, pyav
from emojax.film.writing import chunk_writer
from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing

SUFFIXES = (".mp4", ".gif", ".webp")
SMALLEST = 256
"""Smaller frames are enlarged to this side, by a whole factor."""
TICKS = 512
"""Units of an MP4's time in a frame."""


def check(file: Path) -> None:
    """Refuse a video that could not be written, before anything is computed.

    Raises:
        UserError: another suffix, or an MP4 without PyAV.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"--video is {file}, wanted a name that ends in {', '.join(SUFFIXES)}")
    if suffix == ".mp4":
        pyav()


def write(file: Path, frames: Sequence[np.ndarray], *, fps: int = 25) -> None:
    """Write frames as a video that runs in a loop, aside and then renamed.

    Args:
        file: its suffix says the format, see `SUFFIXES`.
        frames: uint8 [H,W,3], all of one size.
        fps: frames a second (a GIF counts in hundredths of a second).

    Raises:
        UserError: it cannot be written, or see `check`.
    """
    check(file)
    frames = [_enlarged(frame) for frame in frames]
    if file.suffix.lower() == ".mp4":
        height, width = frames[0].shape[:2]
        base, rate = Fraction(1, TICKS * fps), Fraction(fps)
        with chunk_writer(file, Video(file, width, height, base, rate, len(frames))) as put:
            for index, frame in enumerate(frames):
                put(TICKS * index, frame)
        return
    with replacing(file) as aside:
        first, *rest = map(Image.fromarray, frames)
        first.save(aside, save_all=True, append_images=rest, duration=1000 // fps, loop=0)


def _enlarged(frame: np.ndarray) -> np.ndarray:
    factor = -(-SMALLEST // min(frame.shape[:2]))
    if factor == 1:
        return frame
    size = (frame.shape[1] * factor, frame.shape[0] * factor)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
