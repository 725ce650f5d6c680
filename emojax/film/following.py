"""The faces of a film: found chunk by chunk, chosen, and smoothed over time."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from emojax.film import tracks as joining
from emojax.film.chunk_store import ChunkStore
from emojax.film.detections import detect
from emojax.film.reading import Video, read
from emojax.film.smoothing import window_of
from emojax.film.tracks import Detections, Track
from emojax.runtime.progress import Progress

CHUNK = 64
"""Frames that are finished together: what an interrupted run loses at most."""
PART = "faces"
GAP_SECONDS = 0.4
"""A face that is lost for longer and found again is followed as another."""


@dataclasses.dataclass(frozen=True)
class Followed:
    """A film with the faces that are followed in it.

    Attributes:
        video: the film.
        times: [T] of its frames, in units of the film's `time_base`.
        tracks: the chosen faces, their points smoothed.
        every: all faces that were followed, from the left.
        chunk: frames that are finished together.
    """

    video: Video
    times: np.ndarray
    tracks: list[Track]
    every: list[Track]
    chunk: int = CHUNK

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def chunks(self) -> int:
        """Number of chunks; the last may be shorter."""
        return -(-self.frames // self.chunk)

    def frames_of(self, block: int) -> range:
        """Return the numbers of the frames of a chunk."""
        return range(block * self.chunk, min((block + 1) * self.chunk, self.frames))

    def rows_of(self, track: Track, block: int) -> np.ndarray:
        """Return the numbers of the frames of a chunk in which a face is."""
        frames = self.frames_of(block)
        return np.arange(max(track.start, frames.start), min(track.stop, frames.stop))

    @property
    def seconds(self) -> np.ndarray:
        """Times [T] of the frames in seconds, from the first frame on."""
        return (self.times - self.times[0]) * float(self.video.time_base)

    @property
    def length(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return float(self.seconds[-1]) + 1 / self.rate

    @property
    def rate(self) -> float:
        """Frames a second, on average."""
        last = float(self.seconds[-1])
        return (self.frames - 1) / last if last > 0 else float(self.video.rate)


def follow(
    video: Video, store: ChunkStore, shown: Progress, *, face: str, smoothing: float, flag: str
) -> Followed:
    """Find, choose and smooth the faces of a film; chunks that are there already are kept.

    Args:
        video: the film.
        store: where the chunks are kept.
        shown: told of finished frames.
        face: see `tracks.choose`.
        smoothing: seconds of the filter's window.
        flag: the flag that chooses a face, for an error.

    Raises:
        UserError: no face in any frame, or none of that number; the film cannot be decoded.
    """
    kept = [store.read(PART, block)["pts"] for block in range(_present(store))]
    shown.advance(sum(map(len, kept)))
    for block, arrays in _missing(video, store, shown):
        store.write(PART, block, arrays)
    blocks = [store.read(PART, block) for block in range(_present(store))]
    arrays = {name: np.concatenate([each[name] for each in blocks]) for name in blocks[0]}
    pts = arrays.pop("pts")
    detections = Detections(**arrays)
    found = Followed(video, pts, [], [], store.chunk)
    every = joining.join(detections, gap=max(round(GAP_SECONDS * found.rate), 1))
    chosen = joining.choose(every, face, name=str(video.file), flag=flag)
    window = window_of(smoothing, found.rate)
    return dataclasses.replace(
        found, every=every, tracks=[track.smoothed(window) for track in chosen]
    )


def _present(store: ChunkStore) -> int:
    """Return how many of the first chunks are there."""
    return next(block for block in itertools.count() if not store.has(PART, block))


def _missing(
    video: Video, store: ChunkStore, shown: Progress
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield the chunks that are not there yet; the last of a film is shorter than the others."""
    done = _present(store)
    if done and len(store.read(PART, done - 1)["pts"]) < store.chunk:
        return
    start = done * store.chunk
    yield from detect(read(video, max(start - 1, 0)), start, store.chunk, shown)
