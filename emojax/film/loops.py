"""Moving pictures: GIF and WebP by Pillow, MP4 by the ffmpeg that imageio-ffmpeg brings."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing

SUFFIXES = (".mp4", ".gif", ".webp")
SMALLEST = 256
"""Smaller frames are enlarged to this side, by a whole factor."""


def check(file: Path) -> None:
    """Refuse a video that could not be written, before anything is computed.

    Raises:
        UserError: another suffix, or an MP4 without imageio-ffmpeg.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"--video is {file}, wanted a name that ends in {', '.join(SUFFIXES)}")
    if suffix == ".mp4":
        _ffmpeg()


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
    with replacing(file) as aside:
        if file.suffix.lower() == ".mp4":
            _write_mp4(aside, frames, fps)
        else:
            first, *rest = map(Image.fromarray, frames)
            first.save(aside, save_all=True, append_images=rest, duration=1000 // fps, loop=0)


def _ffmpeg() -> ModuleType:
    try:
        import imageio_ffmpeg  # pyright: ignore[reportMissingImports] - the user's own step
    except ImportError as error:
        raise UserError(
            "an MP4 needs imageio-ffmpeg: run 'pip install imageio-ffmpeg', or write a .gif or "
            ".webp"
        ) from error
    return imageio_ffmpeg


def _write_mp4(file: Path, frames: Sequence[np.ndarray], fps: int) -> None:
    height, width = frames[0].shape[:2]
    # even sides are all that its colour format asks for; quality 8 of 10
    sink = _ffmpeg().write_frames(
        str(file), (width, height), fps=fps, macro_block_size=2, quality=8
    )
    sink.send(None)
    try:
        for frame in frames:
            sink.send(np.ascontiguousarray(frame))
    finally:
        sink.close()


def _enlarged(frame: np.ndarray) -> np.ndarray:
    factor = -(-SMALLEST // min(frame.shape[:2]))
    if factor == 1:
        return frame
    size = (frame.shape[1] * factor, frame.shape[0] * factor)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
