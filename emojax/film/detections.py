"""Faces in every frame: the whole detector now and then, its last network alone in between."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from emojax.faces import detector
from emojax.film import motion
from emojax.film.reading import Frame
from emojax.film.tracks import FACES
from emojax.models.mtcnn import Face
from emojax.runtime.progress import Progress

EVERY = 8
"""Frames from one run of the whole detector to the next. In between, faces that are known are found
again by the detector's last network; when one is lost, the whole detector runs at once."""
KEPT = 0.5
"""Probability from which a face that was found before is found again; a new one needs 0.8."""
SMALLEST = 24
"""The smallest face that is looked for is this part of the frame's shorter side, or 20 pixels."""
THUMBNAIL = (18, 32)
"""Height and width, at most, at which neighbouring frames are compared."""


class _Seen(NamedTuple):
    """What is kept of a frame for the next one.

    Attributes:
        small: see `thumbnail`.
        grey: levels [H,W], float32.
    """

    small: np.ndarray
    grey: np.ndarray


def detect(
    frames: Iterable[Frame], start: int, chunk: int, shown: Progress
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Find the faces of consecutive frames.

    Args:
        frames: those from `start` on, and the one before it where there is one.
        start: number of the first frame wanted.
        chunk: frames that are given back together; the whole detector runs at the first of them.
        shown: told of every frame.

    Yields:
        Number of a chunk, and its arrays: "points" [C,P,5,2], "earlier" [C,P,5,2], "boxes" [C,P,4]
        and "change" [C], see `tracks.Detections`, and "pts" [C], the frames' times.
    """
    before: _Seen | None = None
    for block, group in itertools.groupby(frames, lambda frame: frame.number // chunk):
        known = np.empty((0, 4))
        rows: list[dict[str, np.ndarray]] = []
        for frame in group:
            seen = _Seen(thumbnail(frame.picture), _grey(frame.picture))
            if frame.number >= start:
                faces = _faces(frame.picture, known, (frame.number % chunk) % EVERY == 0)
                known = np.array([face.box for face in faces]).reshape(-1, 4)
                rows.append(_row(faces, before, seen) | {"pts": np.array(frame.pts, np.int64)})
                shown.advance()
            before = seen
        if rows:
            yield block, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _row(faces: list[Face], before: _Seen | None, seen: _Seen) -> dict[str, np.ndarray]:
    """Return what is known of one frame's faces, and of how they moved since the frame before."""
    points = [face.points for face in faces]
    change, earlier = 0.0, [np.full((5, 2), np.nan) for _ in faces]
    if before is not None:
        change = float(np.abs(seen.small - before.small).mean())
        earlier = [motion.earlier(before.grey, seen.grey, each) for each in points]
    return {
        "points": _padded(points, (5, 2)),
        "earlier": _padded(earlier, (5, 2)),
        "boxes": _padded([face.box for face in faces], (4,)),
        "change": np.array(change),
    }


def _grey(picture: np.ndarray) -> np.ndarray:
    """Return a frame's grey levels [H,W], float32, as the luminance of BT.601."""
    return np.asarray(Image.fromarray(picture).convert("L"), np.float32)


def _faces(picture: np.ndarray, known: np.ndarray, is_due: bool) -> list[Face]:
    """Return the faces of a frame, the largest `FACES` of them.

    Those that the whole detector finds go through its last network once more, as in the frames in
    between: points would jump a little with the network's input otherwise.
    """
    faces = [] if is_due else detector.follow(picture, known, threshold=KEPT)
    if is_due or len(faces) < len(known):
        smallest = max(min(picture.shape[:2]) // SMALLEST, 20)
        boxes = [face.box for face in detector.detect(picture, smallest=smallest)]
        faces = detector.follow(picture, np.array(boxes).reshape(-1, 4), threshold=KEPT)
    return sorted(faces, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))[:FACES]


def _padded(rows: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return up to `FACES` rows as one array, unused places filled with NaN."""
    filled = np.full((FACES, *shape), np.nan)
    if rows:
        filled[: len(rows)] = np.stack(rows)
    return filled


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """Return a few pixels of a frame in grey levels, float32."""
    height, width = picture.shape[:2]
    step = (-(-height // THUMBNAIL[0]), -(-width // THUMBNAIL[1]))
    return picture[:: step[0], :: step[1]].astype(np.float32).mean(-1)
