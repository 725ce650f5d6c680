"""An edited face back into a frame: the change is added, inside a mask that does not swim.

The mask is fixed in the aligned square, whose corners are smoothed over time, so it moves with the
head and with nothing else. What is added is the difference between the edited and the unedited
face, both as the generator draws them; skin, hair, light and grain stay the frame's own.
"""

import dataclasses
import functools

import numpy as np
from PIL import Image
from scipy import ndimage

CENTRE, RADII = (0.5, 0.60), (0.33, 0.38)
"""Ellipse round brows, cheeks and chin in an aligned square, x and y, as shares of its side."""
FEATHER = 0.05
"""Standard deviation of the mask's soft edge, as a share of the side."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a face goes in a frame.

    Attributes:
        box: left, top, right, bottom of the part of the frame that is touched.
        map_back: affine map [2,3] from that part's pixels to shares of the aligned square's side.
    """

    box: tuple[int, int, int, int]
    map_back: np.ndarray


def place_of(quad: np.ndarray, width: int, height: int) -> Place | None:
    """Return where an aligned square lies in a frame; None: outside of it.

    Args:
        quad: [4,2], see `align.quad_of`.
        width: of the frame.
        height: of the frame.
    """
    left, top = np.maximum(np.floor(quad.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(quad.max(0)).astype(int), (width, height))
    if left >= right or top >= bottom:
        return None
    corner = quad[0] - (left, top)
    inverse = np.linalg.inv(np.stack([quad[3] - quad[0], quad[1] - quad[0]], axis=1))
    map_back = np.concatenate([inverse, -inverse @ corner[:, None]], axis=1)
    return Place((int(left), int(top), int(right), int(bottom)), map_back)


@functools.cache
def face_mask(side: int) -> np.ndarray:
    """Return each pixel's share [side,side] of the change: 1 on the face, 0 at the edges."""
    along = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(along, along)
    depth = np.hypot((x - CENTRE[0]) / RADII[0], (y - CENTRE[1]) / RADII[1])
    inside = (depth < 1).astype(np.float32)
    soft = ndimage.gaussian_filter(inside, FEATHER * side, mode="constant")
    edge = np.minimum.reduce([x, y, 1 - x, 1 - y])
    return soft * np.clip(edge / FEATHER, 0, 1).astype(np.float32)


def change_of(source: np.ndarray, result: np.ndarray, side: float) -> np.ndarray:
    """Return what is added to a frame, in the aligned square.

    The colour that the two pictures differ by along the mask's border is taken off, so that the
    border shows no step.

    Args:
        source: uint8 [S,S,3], the unedited face as the generator draws it.
        result: uint8 [S,S,3], the edited one.
        side: of the square in the frame, in pixels; much larger pictures are shrunk by a whole
            factor, so that sampling them does not alias.

    Returns:
        [s,s,3] float32, in grey levels, masked.
    """
    change = result.astype(np.float32) - source.astype(np.float32)
    step = max(int(len(change) / max(side, 1.0)), 1)
    while len(change) % step:
        step -= 1
    small = len(change) // step
    change = change.reshape(small, step, small, step, 3).mean((1, 3))
    mask = face_mask(small)[..., None]
    border = mask * (1 - mask)
    offset = (border * change).sum((0, 1)) / border.sum()
    return mask * (change - offset)


def add_change(frame: np.ndarray, change: np.ndarray, place: Place) -> None:
    """Add a change to a frame, in place.

    Args:
        frame: uint8 [H,W,3].
        change: [s,s,3] float32, 0 at its edges, see `change_of`.
        place: where the aligned square lies.
    """
    left, top, right, bottom = place.box
    size = (right - left, bottom - top)
    coefficients = tuple((place.map_back * len(change)).flatten())
    drawn = [
        np.asarray(
            Image.fromarray(channel).transform(
                size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
            )
        )
        for channel in np.ascontiguousarray(change.transpose(2, 0, 1))
    ]
    region = frame[top:bottom, left:right]
    region[:] = np.rint(region + np.stack(drawn, -1)).clip(0, 255)
