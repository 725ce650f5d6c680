"""Videos on their way out: chunks of frames as files of their own, joined with the film's sound.

Every chunk is encoded by itself, without frames that depend on later ones, so that chunks which an
interrupted run finished are kept and the joined file is the same as that of a run in one go. Sound
is copied, not encoded again, where the file format takes it.
"""

import contextlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emojax.film import reading
from emojax.film.reading import BT601, LIMITED, Video, exactly, matrix, pyav
from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing

CONTAINERS = (".mp4", ".mov", ".mkv")
MOVING_PICTURES = (".gif", ".webp")
QUALITY = {"crf": "16", "preset": "fast", "bf": "0"}
"""x264's; without B-frames a frame is decoded at its own time, so that chunks can be joined."""
LOSSLESS = {"qp": "0", "preset": "ultrafast", "bf": "0"}
CHUNK_SUFFIX = ".nut"
"""Of the chunks' container, which keeps times in the film's own unit."""


def check_name(file: Path, flag: str = "--out") -> None:
    """Refuse a name that no video could be written to.

    Raises:
        UserError: another suffix, or a missing folder.
    """
    wanted = (*CONTAINERS, *MOVING_PICTURES)
    if file.suffix.lower() not in wanted:
        raise UserError(f"{flag} is {file}, wanted a name that ends in {', '.join(wanted)}")
    if not file.absolute().parent.is_dir():
        raise UserError(f"no folder {file.absolute().parent}: make it, or choose another {flag}")


def is_encoded_again(out: Path) -> bool:
    """Whether a file's frames are encoded when the chunks are joined."""
    return out.suffix.lower() in MOVING_PICTURES


@contextlib.contextmanager
def chunk_writer(
    file: Path, film: Video, *, lossless: bool = False
) -> Iterator[Callable[[int, np.ndarray], None]]:
    """Give a function that encodes frames into a file of their own, which then appears by rename.

    Args:
        file: its suffix is `CHUNK_SUFFIX`.
        film: whose times and colours the frames have.
        lossless: keep every value, for a format that is encoded once more.

    Yields:
        A function of a frame's time, in units of the film's `time_base`, and its picture uint8
        [H,W,3]; called once or more.

    Raises:
        UserError: the file cannot be written.
    """
    av, streams = pyav(), []

    def write(pts: int, picture: np.ndarray) -> None:
        picture = _even(picture)
        if not streams:
            streams.append(_stream(container, picture, film, lossless))
        frame = _converted(picture, film, lossless)
        frame.pts, frame.time_base = pts, film.time_base
        container.mux(streams[0].encode(frame))

    with replacing(file) as aside, av.open(str(aside), "w") as container:
        yield write
        for stream in streams:
            container.mux(stream.encode(None))


def _stream(container: Any, picture: np.ndarray, film: Video, lossless: bool) -> Any:
    """Add the stream of pictures to a container."""
    codec = "libx264rgb" if lossless else "libx264"
    options = LOSSLESS if lossless else QUALITY
    stream = container.add_stream(codec, rate=film.rate.limit_denominator(60_000), options=options)
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "rgb24" if lossless else "yuv420p"
    stream.time_base = stream.codec_context.time_base = film.time_base
    if not lossless:
        for name, value in film.colour.items():
            setattr(stream.codec_context, name, value)
        stream.codec_context.color_range = LIMITED
    return stream


def _converted(picture: np.ndarray, film: Video, lossless: bool) -> Any:
    """Return a picture as the encoder takes it, in the film's colours."""
    frame = pyav().VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    if lossless:
        return frame
    space = matrix(film.colour["colorspace"], len(picture)) if film.colour else BT601
    return frame.reformat(
        format="yuv420p",
        dst_colorspace=space,
        dst_color_range=LIMITED,
        interpolation=exactly(),
    )


def _even(picture: np.ndarray) -> np.ndarray:
    """Return a picture whose sides are even, as the colour format asks for; edges are repeated."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return picture


def join(chunks: Sequence[Path], film: Video, out: Path, *, sound: bool = True) -> None:
    """Write the chunks as one video, aside and then renamed.

    Args:
        chunks: as `chunk_writer` wrote them, in order; lossless ones for a GIF or WebP.
        film: whose sound is added.
        out: see `check_name`.
        sound: whether the sound is added.

    Raises:
        UserError: it cannot be written.
    """
    with replacing(out) as aside:
        if is_encoded_again(out):
            _write_moving_picture(aside, chunks, film)
        elif sound and film.sounds:
            _join(aside, chunks, film)
        else:
            _join(aside, chunks, None)


def _join(out: Path, chunks: Sequence[Path], film: Video | None) -> None:
    """Copy the chunks' pictures, and the film's sound, into one container."""
    av = pyav()
    with contextlib.ExitStack() as stack:
        container = stack.enter_context(av.open(str(out), "w"))
        first = stack.enter_context(av.open(str(chunks[0])))
        stream = container.add_stream_from_template(first.streams.video[0])
        stream.time_base = first.streams.video[0].time_base
        tracks = [_pictures(chunks, stream)]
        if film is not None:
            source = stack.enter_context(av.open(f"file:{film.file}"))
            sounds = [(each, _sound(container, each)) for each in source.streams.audio]
            tracks.append(_heard(source, sounds))
        for _, packets in heapq.merge(*tracks, key=lambda item: item[0]):
            container.mux(packets)


def _pictures(chunks: Sequence[Path], stream: Any) -> Iterator[tuple[Fraction, list[Any]]]:
    """Yield the chunks' packets for a stream, with their times in seconds."""
    for chunk in chunks:
        with pyav().open(str(chunk)) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.dts is None:
                    continue
                time = packet.dts * packet.time_base
                packet.stream = stream
                yield time, [packet]


def _sound(container: Any, source: Any) -> tuple[Any, bool]:
    """Add a sound track to a container; say whether its packets are copied as they are."""
    if source.codec_context.name in container.supported_codecs:
        return container.add_stream_from_template(source), True
    stream = container.add_stream("aac", rate=source.rate)
    stream.layout = source.layout
    return stream, False


def _heard(source: Any, sounds: list[tuple[Any, tuple[Any, bool]]]) -> Iterator[Any]:
    """Yield the packets of sound tracks, copied or encoded, with their times in seconds."""
    targets = {each.index: target for each, target in sounds}
    for packet in source.demux([each for each, _ in sounds]):
        stream, is_copied = targets[packet.stream.index]
        if is_copied:
            if packet.dts is not None:
                time = packet.dts * packet.time_base
                packet.stream = stream
                yield time, [packet]
            continue
        for frame in packet.decode():
            time = (frame.pts or 0) * frame.time_base
            yield time, stream.encode(frame)
    for stream, is_copied in targets.values():
        if not is_copied:
            yield Fraction(10**9), stream.encode(None)


def _write_moving_picture(out: Path, chunks: Sequence[Path], film: Video) -> None:
    """Write the chunks' frames as a GIF or WebP that runs in a loop."""
    times, frames = [], []
    for chunk in chunks:
        video = reading.describe(chunk)
        for frame in reading.read(video):
            times.append(float(frame.pts * video.time_base))  # the container may count finer
            frames.append(Image.fromarray(frame.picture))
    ends = [*times[1:], times[-1] + float(1 / film.rate)]
    shown = [max(round(1000 * (b - a)), 1) for a, b in zip(times, ends, strict=True)]
    first, *rest = frames
    first.save(out, save_all=True, append_images=rest, duration=shown, loop=0)
