"""Codes of the followed faces, chunk by chunk, and smoothed over time when they are read.

By HyperStyle the kernels are those of one frame, in which the face is large and looks ahead: only
the code moves with the film, and the person cannot flicker.
"""

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from emojax.faces import align, images
from emojax.faces.photo_reader import SIZE, Portrait
from emojax.film.chunk_store import ChunkStore
from emojax.film.following import Followed
from emojax.film.reading import Frame, read
from emojax.film.smoothing import piece, smooth
from emojax.film.tracks import Track
from emojax.latents.codes import Inversion
from emojax.pipeline import Pipeline
from emojax.runtime.progress import Progress
from emojax.store.parts import INVERTERS


def invert(pipe: Pipeline, film: Followed, store: ChunkStore, shown: Progress) -> None:
    """Find the codes of the faces in every frame; chunks that are there already are kept.

    Args:
        pipe: an open bundle.
        film: with the faces that are followed.
        store: gets the codes, one part for each track.
        shown: told of finished frames.
    """
    wanted = [
        block
        for block in range(film.chunks)
        if not all(
            store.has(part_of(number), block)
            for number, track in enumerate(film.tracks)
            if len(film.rows_of(track, block))
        )
    ]
    shown.advance(film.frames - sum(len(film.frames_of(block)) for block in wanted))
    for block, frames in chunks_of(film, wanted):
        crops: list[list[np.ndarray]] = [[] for _ in film.tracks]
        for frame in frames:
            for track, found in zip(film.tracks, crops, strict=True):
                if track.start <= frame.number < track.stop:
                    found.append(aligned(frame, track, pipe.inverter.resolution))
            shown.advance()
        for number, (track, found) in enumerate(zip(film.tracks, crops, strict=True)):
            if found:
                rows = film.rows_of(track, block).tolist()
                best = reference(track)
                place = rows.index(best) if best in rows else None
                _write(pipe, store, number, np.stack(found), place, block, shown)


def _write(
    pipe: Pipeline,
    store: ChunkStore,
    number: int,
    faces: np.ndarray,
    best: int | None,
    block: int,
    shown: Progress,
) -> None:
    """Write the codes of one face in one chunk.

    Args:
        pipe: an open bundle.
        store: gets them.
        number: of the track.
        faces: aligned, uint8 [n,R,R,3].
        best: which of them the kernels are taken from; None: another chunk's.
        block: number of the chunk.
        shown: told after each batch, so that a page can answer others in between.
    """
    if best is not None and INVERTERS[pipe.settings.inverter].changes:
        face = faces[best]
        pipe.invert(Portrait("the frame", face, face)).codes.save(_kernels(store, number))
    found, count = [], pipe.settings.batch
    for start in range(0, len(faces), count):
        batch = faces[start : start + count]
        found.append(pipe.encode(padded(batch, count))[: len(batch)])
        shown.advance(0)
    store.write(part_of(number), block, {"w_plus": np.concatenate(found)})


def doubts(pipe: Pipeline, film: Followed) -> list[str]:
    """Return a sentence if a followed face is not like the bundle's own; by its `reference` frame.

    Args:
        pipe: an open bundle.
        film: with the faces that are followed; one of several that are unlike is enough.
    """
    for track in film.tracks:
        frame = next(iter(read(film.video, reference(track))))
        face = aligned(frame, track, pipe.inverter.resolution)
        if said := pipe.invert(Portrait(film.video.file.name, face, face)).doubts:
            return said
    return []


def chunks_of(film: Followed, wanted: Collection[int]) -> Iterator[tuple[int, Iterator[Frame]]]:
    """Yield the wanted chunks, each as an iterator over its frames."""
    if not wanted:
        return
    frames = read(film.video, min(wanted) * film.chunk)
    upto = itertools.takewhile(lambda frame: frame.number < (max(wanted) + 1) * film.chunk, frames)
    for block, group in itertools.groupby(upto, lambda frame: frame.number // film.chunk):
        if block in wanted:
            yield block, group


def part_of(number: int) -> str:
    """Return the name of the codes of a track in the store."""
    return f"codes-{number}"


def _kernels(store: ChunkStore, number: int) -> Path:
    return store.folder / f"kernels-{number}.npz"


def aligned(frame: Frame, track: Track, side: int) -> np.ndarray:
    """Return the aligned face [side,side,3] of a track in a frame.

    It is cut out no larger than it is, where a photograph's is always cut out at 1024 pixels.
    """
    quad = align.quad_of(track.points_at(frame.number))
    return images.resize(align.crop(frame.picture, quad, crop_side(track, side)), side)


def crop_side(track: Track, side: int) -> int:
    """Return the side at which a track's faces are cut out: the same in all frames."""
    widest = align.side_of(align.quad_of(track.points_at(track.widest)))
    power = 2 ** np.ceil(np.log2(max(widest, 1)))
    return int(np.clip(power, min(2 * side, SIZE), SIZE))


def padded(rows: np.ndarray, multiple: int) -> np.ndarray:
    """Repeat the last row up to a multiple, so that XLA compiles a batch of one size."""
    return np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % multiple, axis=0)])


def reference(track: Track) -> int:
    """Return the number of the frame in which a face is large and looks ahead."""
    eyes, nose = track.points[:, :2], track.points[:, 2]
    across = eyes[:, 1] - eyes[:, 0]
    wide = np.linalg.norm(across, axis=-1)
    aside = np.abs(((nose - eyes.mean(1)) * across).sum(-1)) / np.square(np.maximum(wide, 1e-6))
    merit = wide / wide.max() - aside - (~track.found)
    return track.start + int(merit.argmax())


def read_codes(
    film: Followed, store: ChunkStore, number: int, frames: np.ndarray, window: int
) -> np.ndarray:
    """Return the smoothed codes of a track.

    Args:
        film: with its tracks.
        store: see `invert`.
        number: of the track.
        frames: consecutive numbers [n] of frames in which the face is.
        window: frames of the filter.

    Returns:
        [n,L,D] float32.
    """
    track = film.tracks[number]
    first, last = frames[0] - track.start, frames[-1] + 1 - track.start
    around = piece(first, last, len(track.points), window)
    start, stop = around.start + track.start, around.stop + track.start
    blocks = range(start // film.chunk, (stop - 1) // film.chunk + 1)
    parts = [store.read(part_of(number), block)["w_plus"] for block in blocks]
    begins = max(track.start, blocks[0] * film.chunk)
    codes = np.concatenate(parts)[start - begins : stop - begins]
    return smooth(codes, window)[first - around.start :][: len(frames)]


def with_kernels(codes: Inversion, store: ChunkStore, number: int) -> Inversion:
    """Return codes with the kernels of their track's reference frame, where there are any."""
    file = _kernels(store, number)
    if not file.is_file():
        return codes
    return Inversion.load(file).with_codes(codes.w_plus)
