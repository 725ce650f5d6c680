"""Faces followed over frames: detections joined into tracks, gaps closed, points smoothed."""

import dataclasses
import itertools

import numpy as np

from emojax.film.smoothing import smooth
from emojax.runtime.errors import UserError

WORDS = ("largest", "all")
"""What may be given in place of a face's number."""
FACES = 8
"""Most faces of a frame that are kept, the largest ones."""
OVERLAP = 0.3
"""Boxes of neighbouring frames that have this share of their union in common are one face."""
CUT = 30.0
"""Mean difference of neighbouring frames, in grey levels, from which they may belong to different
scenes; it must also be three times that of the frames before and after."""
LONGER = 2.5
"""The detector's points count over a window this many times as long as the one asked for."""
FLOOR = 4.0
"""Differences below this many grey levels count as none when scenes are told apart."""


class NoSuchFace(UserError):
    """The film has no face, or none of the number wanted."""


@dataclasses.dataclass(frozen=True)
class Detections:
    """Faces found in each of T frames, unused places filled with NaN.

    Attributes:
        points: [T,P,5,2] eyes, nose and corners of the mouth.
        earlier: [T,P,5,2] where the same points were in the frame before, by what the pictures have
            in common; NaN where that is not known. See `motion.earlier`.
        boxes: [T,P,4] left, top, right, bottom.
        change: [T] mean difference from the frame before, in grey levels; 0 for the first.
    """

    points: np.ndarray
    earlier: np.ndarray
    boxes: np.ndarray
    change: np.ndarray


@dataclasses.dataclass(frozen=True)
class Track:
    """One face from its first frame to its last.

    Attributes:
        start: number of its first frame.
        points: [n,5,2] of consecutive frames, gaps closed.
        steps: [n,5,2] how they moved since the frame before, by the pictures; NaN: not known.
        found: [n] whether the face was found in the frame.
        fades_in: whether it appears in the middle of a scene.
        fades_out: whether it disappears in the middle of a scene.
        number: counted from the left among all tracks, from 1.
    """

    start: int
    points: np.ndarray
    steps: np.ndarray
    found: np.ndarray
    fades_in: bool = False
    fades_out: bool = False
    number: int = 0

    @property
    def stop(self) -> int:
        """Number of the frame after its last."""
        return self.start + len(self.points)

    @property
    def sizes(self) -> np.ndarray:
        """The face's size in each frame: between the eyes, or eyes and mouth, whichever is more."""
        eyes, mouth = self.points[:, :2], self.points[:, 3:]
        across = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1)
        down = np.linalg.norm(mouth.mean(1) - eyes.mean(1), axis=-1)
        return np.maximum(across, down)

    @property
    def weight(self) -> float:
        """Sum of the squared sizes over the frames, by which the largest face is chosen."""
        return float(self.sizes @ self.sizes)

    @property
    def widest(self) -> int:
        """Number of the frame in which the face is largest."""
        return self.start + int(self.sizes.argmax())

    def points_at(self, frame: int) -> np.ndarray:
        """Return the points [5,2] in a frame of the film."""
        return self.points[frame - self.start]

    def smoothed(self, window: int) -> "Track":
        """Return the track with its points smoothed over a window of frames.

        The pictures say exactly how the face moves from one frame to the next, the detector where
        it is on the whole: what is smoothed, over a longer window, is the difference between the
        detector's points and the path that the steps add up to.
        """
        if window < 2:
            return self
        plain = smooth(self.points, window)
        known = ~np.isnan(self.steps)
        known[0] = True  # there is no step to the first
        steps = np.where(known, self.steps, np.diff(plain, axis=0, prepend=plain[:1]))
        steps[0] = 0
        path = np.cumsum(steps, axis=0)
        longer = 2 * round(LONGER * window / 2) + 1
        return dataclasses.replace(self, points=path + smooth(self.points - path, longer))


def cuts(change: np.ndarray) -> np.ndarray:
    """Return the numbers of the frames that begin another scene.

    Args:
        change: [T], see `Detections`.
    """
    padded = np.pad(np.maximum(change, FLOOR), 1, constant_values=FLOOR)
    beside = np.maximum(padded[:-2], padded[2:])
    return np.flatnonzero((change > CUT) & (change > 3 * beside))


def join(found: Detections, *, gap: int) -> list[Track]:
    """Join the faces of neighbouring frames into tracks, from the left by their mean position.

    A face that is lost for up to `gap` frames stays one track, its points interpolated; no track
    goes over a cut. A face that is found in less than half as many frames, in a scene of more, is
    left out: a false alarm.

    Args:
        found: the detections.
        gap: most frames without the face.
    """
    count = len(found.points)
    borders = [0, *cuts(found.change).tolist(), count]
    tracks: list[Track] = []
    for first, last in itertools.pairwise(borders):
        for frames, places in _chains(found.boxes, first, last, gap):
            if len(frames) >= min(gap / 2, last - first):
                tracks.append(_track(found, frames, places, (first, last)))
    tracks.sort(key=lambda track: float(track.points[..., 0].mean()))
    return [dataclasses.replace(track, number=i + 1) for i, track in enumerate(tracks)]


def _chains(
    boxes: np.ndarray, first: int, last: int, gap: int
) -> list[tuple[list[int], list[int]]]:
    """Return the frames, and the places in them, of each face of one scene."""
    chains: list[tuple[list[int], list[int]]] = []
    for frame in range(first, last):
        alive = [chain for chain in chains if frame - chain[0][-1] <= gap + 1]
        free = [place for place in range(boxes.shape[1]) if not np.isnan(boxes[frame, place, 0])]
        pairs = [
            (overlap(boxes[chain[0][-1], chain[1][-1]], boxes[frame, place]), row, place)
            for row, chain in enumerate(alive)
            for place in free
        ]
        for share, row, place in sorted(pairs, reverse=True):
            if share >= OVERLAP and place in free and alive[row][0][-1] < frame:
                alive[row][0].append(frame)
                alive[row][1].append(place)
                free.remove(place)
        chains += [([frame], [place]) for place in free]
    return chains


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the common area of two boxes [4] as a share of their union."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    return common / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common)


def _track(
    found: Detections, frames: list[int], places: list[int], scene: tuple[int, int]
) -> Track:
    """Return the track of a face from where it was found, gaps closed by straight lines."""
    known = found.points[frames, places].reshape(len(frames), -1)
    every = np.arange(frames[0], frames[-1] + 1)
    columns = [np.interp(every, frames, column) for column in known.T]
    steps = np.full((len(every), 5, 2), np.nan)
    moved = found.points[frames, places] - found.earlier[frames, places]
    steps[np.array(frames) - frames[0]] = moved
    return Track(
        frames[0],
        np.stack(columns, -1).reshape(-1, 5, 2),
        steps,
        np.isin(every, frames),
        fades_in=frames[0] > scene[0],
        fades_out=frames[-1] + 1 < scene[1],
    )


def choose(tracks: list[Track], face: str, *, name: str, flag: str = "--face") -> list[Track]:
    """Return the tracks of the faces wanted.

    Args:
        tracks: from the left, see `join`.
        face: "largest", "all", or the number of a track counted from the left, from 1.
        name: what an error calls the film.
        flag: the flag that chooses, for an error.

    Raises:
        NoSuchFace: no face in any frame, or no track of that number.
    """
    if not tracks:
        raise NoSuchFace(f"no face found in any frame of {name}: wanted a video of a face")
    if face == "all":
        return tracks
    if face == "largest":
        return [max(tracks, key=lambda track: track.weight)]
    if not 1 <= int(face) <= len(tracks):
        raise NoSuchFace(
            f"no face {face} in {name}: {len(tracks)} are followed, counted from the left; give "
            f"{flag} 1 to {len(tracks)}, largest or all"
        )
    return [tracks[int(face) - 1]]
