"""Videos on their way in: frames one after the other, upright, with their times; never all at once.

PyAV decodes; GIF and WebP are read by Pillow. A frame's time is kept as the file has it, a whole
number of `time_base`, so that a variable frame rate and the sound beside it stay as they are.
"""

import contextlib
import dataclasses
import os
import queue
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from emojax.faces import images
from emojax.runtime.errors import UserError

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,nut,mpegvideo,h264"
"""Containers that are opened. Playlists and lists of files, which name other files, are not."""
AHEAD = 16
"""Frames that are decoded while earlier ones are worked on, at most."""
AHEAD_BYTES = 2**26
"""Bytes of these frames, at most, or of one frame."""
SMALL = 2**23
"""Pixels of a frame that any file may have, enough for 4K; a larger one takes a larger file."""
PIXELS_PER_BYTE = 10
"""Pixels of a frame beyond `SMALL` that a file may have for each of its bytes."""
MILLISECOND = Fraction(1, 1000)
BT709, UNNAMED, BT601, BT601_525, LIMITED = 1, 2, 5, 6, 1
"""FFmpeg's numbers of colour matrices, and of the range 16 to 235."""
HIGH_DEFINITION = 720
"""Height from which a video without a named matrix has that of BT.709."""


class Frame(NamedTuple):
    """One frame.

    Attributes:
        number: of the frame, from 0.
        pts: its time in units of the video's `time_base`.
        picture: uint8 [H,W,3], upright, of square pixels.
    """

    number: int
    pts: int
    picture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Video:
    """What a video file says of itself.

    Attributes:
        file: where it is.
        width: of the upright frames, in square pixels.
        height: of the same.
        time_base: seconds of one unit of a frame's time.
        rate: frames a second, on average.
        frames: their number as the file has it; 0 where it does not say.
        seconds: its length; 0 where the file does not say.
        sounds: number of its sound tracks.
        colour: FFmpeg's numbers for what its colours mean, by name; empty where it does not say.
        moving_picture: whether it is a GIF or WebP.
    """

    file: Path
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    frames: int
    seconds: float = 0.0
    sounds: int = 0
    colour: dict[str, int] = dataclasses.field(default_factory=dict)
    moving_picture: bool = False


def pyav() -> ModuleType:
    """Return PyAV.

    Raises:
        UserError: it is not installed.
    """
    try:
        import av  # pyright: ignore[reportMissingImports] - the user's own step
    except ImportError as error:
        raise UserError(
            "videos need PyAV: run 'pip install av', or use .gif or .webp files"
        ) from error
    return av


def describe(file: str | os.PathLike) -> Video:
    """Return what a video says of itself; the first frame is decoded.

    Raises:
        UserError: the file is missing, no video, or cannot be decoded.
    """
    path = Path(file)
    if not path.is_file():
        raise UserError(f"no file {path}: give the path of a video")
    if (found := _describe_moving_picture(path)) is not None:
        return found
    with _opened(path) as container:
        stream = _pictures(container, path)
        first = next(_decoded(container, stream, path), None)
        if first is None:
            raise UserError(f"{path} holds no frame that can be decoded: wanted a video")
        height, width = _upright(first, stream.sample_aspect_ratio, path).shape[:2]
        base = stream.time_base or Fraction(1, 90_000)
        rate = stream.average_rate or stream.base_rate or Fraction(25)
        seconds = float((stream.duration or 0) * base) or (container.duration or 0) / 1e6
        count = stream.frames or round(seconds * rate)
        return Video(
            *(path, width, height, base, Fraction(rate), count, seconds),
            sounds=len(container.streams.audio),
            colour=_colour(first),
        )


def read(video: Video, start: int = 0) -> Iterator[Frame]:
    """Yield a video's frames in order; a thread decodes `AHEAD` frames ahead.

    Args:
        video: see `describe`.
        start: the first frame wanted; those before it are decoded and left out.

    Raises:
        UserError: the file cannot be decoded to its end.
    """
    frames = _read_moving_picture if video.moving_picture else _read_video
    ahead = AHEAD_BYTES // (3 * video.width * video.height)
    return _ahead(frames(video, start), max(1, min(ahead, AHEAD)))


def steps(film: Video, driver: Video | None = None) -> int | None:
    """Return how many frames an edit reads, where the files say how many they have.

    A film is read three times (followed, inverted, edited), and a driver twice.
    """
    counts = [film.frames] if driver is None else [film.frames, driver.frames]
    return None if 0 in counts else 3 * film.frames + 2 * sum(counts[1:])


def _describe_moving_picture(path: Path) -> Video | None:
    """Return what a GIF or WebP says of itself; None for a file that Pillow does not know.

    Raises:
        UserError: a still picture.
    """
    try:
        with Image.open(path) as picture:
            count = getattr(picture, "n_frames", 1)
            if count < 2 or picture.format not in ("GIF", "WEBP"):
                raise UserError(
                    f"{path} is a still picture: wanted a video, pictures take 'emojax edit'"
                )
            _check_size(path, picture.width, picture.height)
            total = 0
            for index in range(count):
                picture.seek(index)
                total += _duration(picture)
            rate = Fraction(count * 1000, max(total, 1))
            size = (picture.width, picture.height)
            return Video(path, *size, MILLISECOND, rate, count, total / 1000, 0, {}, True)
    except UnidentifiedImageError:
        return None
    except UserError:
        raise
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise UserError(f"{path} cannot be decoded ({error}): wanted a video") from error


def _duration(picture: Image.Image) -> int:
    """Return how long the current frame is shown, in milliseconds, as browsers have it."""
    shown = int(picture.info.get("duration", 0))
    return shown if shown > 10 else 100


def _read_moving_picture(video: Video, start: int) -> Iterator[Frame]:
    time = 0
    try:
        with Image.open(video.file) as picture:
            for index in range(video.frames):
                picture.seek(index)
                if index >= start:
                    yield Frame(index, time, images.decode(picture))
                time += _duration(picture)
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise _damaged(video.file, error) from error


def _read_video(video: Video, start: int) -> Iterator[Frame]:
    with _opened(video.file) as container:
        stream = _pictures(container, video.file)
        stream.thread_type = "AUTO"
        last = -1
        for index, frame in enumerate(_decoded(container, stream, video.file)):
            # times must rise: a file without them, or with a repeated one, gets the next free time
            pts = last + 1 if frame.pts is None else max(int(frame.pts), last + 1)
            last = pts if index or frame.pts is not None else 0
            if index >= start:
                yield Frame(index, last, _upright(frame, stream.sample_aspect_ratio, video.file))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a container that names no other file or address.

    Raises:
        UserError: it is no video.
    """
    av = pyav()
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        container = av.open(f"file:{path}", container_options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a video that can be opened ({_reason(error)}): wanted a file such as "
            ".mp4, .mov, .mkv, .webm, .gif or .webp"
        ) from error
    with container:
        yield container


def _pictures(container: Any, path: Path) -> Any:
    """Return the container's stream of pictures.

    Raises:
        UserError: it has none; a cover beside sound is none.
    """
    for stream in container.streams.video:
        if not int(stream.disposition) & int(pyav().stream.Disposition.attached_pic):
            return stream
    raise UserError(f"{path} holds sound without pictures: wanted a video")


def _decoded(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Yield PyAV's frames.

    Raises:
        UserError: the file is damaged.
    """
    try:
        yield from container.decode(stream)
    except (pyav().error.FFmpegError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be decoded to its end ({_reason(error)}): wanted an undamaged video"
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _check_size(path: Path, width: int, height: int) -> None:
    """Refuse a file that holds too little for its pixels, or too many of them.

    Raises:
        UserError: see above.
    """
    size = os.path.getsize(path)
    if width * height > min(images.MOST_PIXELS, SMALL + PIXELS_PER_BYTE * size):
        raise UserError(
            f"{path} claims frames of {width}x{height} pixels in {size:,} bytes: wanted an "
            "undamaged video, or one of fewer pixels"
        )


def _upright(frame: Any, ratio: Fraction | None, path: Path) -> np.ndarray:
    """Return a PyAV frame as uint8 [H,W,3], of square pixels, turned as its rotation says."""
    width = max(1, round(frame.width * ratio)) if ratio else frame.width
    _check_size(path, width, frame.height)
    rgb = frame.reformat(
        width=width,
        format="rgb24",
        src_colorspace=matrix(int(frame.colorspace), frame.height),
        src_color_range=int(frame.color_range) or LIMITED,
        interpolation=exactly(),
    )
    turns = round(frame.rotation / 90) % 4  # anticlockwise
    return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), turns))


def matrix(named: int, height: int) -> int:
    """Return the number of the matrix between RGB and a frame's colours.

    A file that does not name it has that of its size, as players take it.
    """
    if named in (UNNAMED, 0):
        return BT709 if height >= HIGH_DEFINITION else BT601
    return BT601 if named == BT601_525 else named


def exactly() -> int:
    """Return how colours are converted and planes enlarged."""
    way = pyav().video.reformatter.Interpolation
    return way.BICUBIC | way.ACCURATE_RND | way.FULL_CHR_H_INT | way.FULL_CHR_H_INP


def _colour(frame: Any) -> dict[str, int]:
    """Return what a frame says of its colours."""
    names = ("colorspace", "color_range", "color_primaries", "color_trc")
    return {name: int(getattr(frame, name)) for name in names}


class _End(NamedTuple):
    """What the decoding thread puts last: the exception that ended it, or None."""

    error: BaseException | None


def _ahead(frames: Iterator[Frame], count: int) -> Iterator[Frame]:
    """Yield what an iterator yields, which a thread runs some items ahead."""
    line: queue.Queue[Frame | _End] = queue.Queue(count)
    stopped = threading.Event()

    def put(item: Frame | _End) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                line.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for frame in frames:
                if not put(frame):
                    break
        except BaseException as caught:
            error = caught
        finally:
            frames.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator
        put(_End(error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while not isinstance(item := line.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()
