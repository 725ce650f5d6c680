"""Face alignment: the square that FFHQ, and every encoder trained on it, cuts out of a photograph.

Source: NVlabs/ffhq-dataset `download_ffhq.py`, as in eladrich/pixel2style2pixel
`scripts/align_all_parallel.py` (256 pixels) and yuval-alaluf/hyperstyle
`scripts/align_faces_parallel.py` (1024). Points are (x, y) in pixels; quads are corners from the
top left, anticlockwise.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from emojax.faces import images
from emojax.runtime.errors import NoFaceError, UserError

LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
MOUTH_CORNERS = (48, 54)
ALIGNED = 0.1
"""A square picture counts as aligned when its quad is this near its frame, by its side."""
WIDE = 20.0
"""Deviation in pixels from which a margin is blurred in a smaller picture: the time that a Gaussian
takes grows with its width, and a face of 3,600 pixels took a minute."""
MOST_COUNTED = 4_000_000
"""The median colour of a larger picture is that of this many of its pixels."""
FARTHEST = 4
"""Landmarks farther outside than this, by the picture's longer side, are taken for wrong."""


class CropPlan(NamedTuple):
    """How `prepare` shrinks, cuts and pads a photograph before the face is sampled from it.

    Attributes:
        shrink: whole factor by which the picture was shrunk first; below 2 it was not.
        border: margin kept round the quad, in pixels.
        box: what was cut out: left, top, right, bottom.
        pad: mirrored margin on each side: left, top, right, bottom.
        padded: whether the margin was added.
        quad: [4,2] corners in the prepared picture.
    """

    shrink: int
    border: int
    box: tuple[int, int, int, int]
    pad: tuple[int, int, int, int]
    padded: bool
    quad: np.ndarray


def quad_of(landmarks: np.ndarray) -> np.ndarray:
    """Return the crop's corners [4,2] from 68 landmarks, or from five points.

    Raises:
        ValueError: landmarks of another shape.
    """
    if landmarks.shape == (68, 2):
        left, right = landmarks[LEFT_EYE].mean(0), landmarks[RIGHT_EYE].mean(0)
        corners = [landmarks[i] for i in MOUTH_CORNERS]
    elif landmarks.shape == (5, 2):
        left, right, _, *corners = landmarks
    else:
        raise ValueError(f"landmarks are {list(landmarks.shape)}, wanted [68, 2] or [5, 2]")
    eyes = (left + right) * 0.5
    across = right - left
    down = (corners[0] + corners[1]) * 0.5 - eyes
    x = across - np.flipud(down) * [-1, 1]
    x /= np.hypot(*x) or 1.0  # points in one place have no direction: a quad without extent
    x *= max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8)
    y = np.flipud(x) * [-1, 1]
    centre = eyes + down * 0.1
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def side_of(quad: np.ndarray) -> float:
    """Return the length of a quad's sides in pixels."""
    return float(np.hypot(*(quad[3] - quad[0])))


def crop(picture: np.ndarray, quad: np.ndarray, size: int = 1024) -> np.ndarray:
    """Cut a quad out of a picture.

    Args:
        picture: uint8 [H,W,3].
        quad: [4,2], see `quad_of`.
        size: side of the result.

    Returns:
        uint8 [size,size,3].
    """
    prepared, plan = prepare(picture, quad, size)
    return np.asarray(
        prepared.transform(
            (size, size),
            Image.Transform.QUAD,
            tuple((plan.quad + 0.5).flatten()),
            Image.Resampling.BILINEAR,
        )
    )


def prepare(picture: np.ndarray, quad: np.ndarray, size: int) -> tuple[Image.Image, CropPlan]:
    """Shrink, cut and pad a picture round a quad; arguments as for `crop`."""
    image, side = Image.fromarray(picture), side_of(quad)
    shrink = int(side / size * 0.5)
    if shrink > 1:
        whole = (int(np.rint(image.width / shrink)), int(np.rint(image.height / shrink)))
        image = images.resample(image, whole, Image.Resampling.LANCZOS)
        quad, side = quad / shrink, side / shrink
    border = max(int(np.rint(side * 0.1)), 3)
    left, top, right, bottom = _bounds(quad)
    box = (
        max(left - border, 0),
        max(top - border, 0),
        min(right + border, image.width),
        min(bottom + border, image.height),
    )
    if box[2] - box[0] < image.width or box[3] - box[1] < image.height:
        image, quad = image.crop(box), quad - box[:2]
    left, top, right, bottom = _bounds(quad)
    pad = (
        max(-left + border, 0),
        max(-top + border, 0),
        max(right - image.width + border, 0),
        max(bottom - image.height + border, 0),
    )
    padded = max(pad) > border - 4
    if padded:
        least = int(np.rint(side * 0.3))
        pad = (max(pad[0], least), max(pad[1], least), max(pad[2], least), max(pad[3], least))
        image, quad = _mirrored(image, pad, side * 0.02), quad + pad[:2]
    return image, CropPlan(shrink, border, box, pad, padded, quad)


def _bounds(quad: np.ndarray) -> tuple[int, int, int, int]:
    (left, top), (right, bottom) = quad.min(0), quad.max(0)
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def _mirrored(image: Image.Image, pad: tuple[int, ...], blur: float) -> Image.Image:
    """Add a mirrored margin that blurs, then fades to the median colour, towards the outside."""
    left, top, right, bottom = pad
    x = np.pad(np.asarray(image, np.float32), ((top, bottom), (left, right), (0, 0)), "reflect")
    height, width, _ = x.shape
    row, column, _ = np.ogrid[:height, :width, :1]
    outside = np.maximum(
        1.0 - np.minimum(np.float32(column) / left, np.float32(width - 1 - column) / right),
        1.0 - np.minimum(np.float32(row) / top, np.float32(height - 1 - row) / bottom),
    )
    x += (_blurred(x, blur) - x) * np.clip(outside * 3.0 + 1.0, 0.0, 1.0)
    every = max(int(math.sqrt(height * width / MOST_COUNTED)), 1)
    x += (np.median(x[::every, ::every], axis=(0, 1)) - x) * np.clip(outside, 0.0, 1.0)
    return Image.fromarray(np.rint(x).clip(0, 255).astype(np.uint8))


def _blurred(x: np.ndarray, deviation: float) -> np.ndarray:
    """Blur [H,W,3] float32 by a Gaussian as the original does; a wide one in a smaller picture."""
    # late: most pictures need no margin, and the import takes a while
    from scipy import ndimage

    from emojax.faces.smoothing import blurred

    if deviation < WIDE:
        return ndimage.gaussian_filter(x, [deviation, deviation, 0])
    return blurred(x, deviation)


def is_aligned(picture: np.ndarray, quad: np.ndarray) -> bool:
    """Say whether a picture is square and its quad all but its frame."""
    height, width = picture.shape[:2]
    frame = np.array([[0, 0], [0, height], [width, height], [width, 0]])
    return height == width and float(np.abs(quad - frame).max()) <= ALIGNED * width


def is_within(picture: np.ndarray, points: np.ndarray) -> bool:
    """Say whether a face can be cut out: it has an extent, and its middle lies in the picture.

    Args:
        picture: uint8 [H,W,3].
        points: landmarks [5,2] or [68,2]; the face may be cut by the picture's border.
    """
    longest = max(picture.shape[:2])
    if not (np.isfinite(points).all() and np.abs(points).max() <= FARTHEST * longest):
        return False
    if np.ptp(points, axis=0).max() < 1:  # less than a pixel
        return False
    quad = quad_of(points)
    x, y = quad.mean(0)
    inside = 0 <= x < picture.shape[1] and 0 <= y < picture.shape[0]
    return inside and 1 <= side_of(quad) <= FARTHEST * longest


def choose(
    quads: Sequence[np.ndarray], face: str, *, name: str = "the picture", flag: str = "--face"
) -> int:
    """Return the index of the face wanted.

    Args:
        quads: one for each face found, from left to right.
        face: "only", "largest", or the number of the face counted from the left, from 1.
        name: what an error calls the picture.
        flag: the flag that chooses a face, for an error.

    Raises:
        NoFaceError: there is no face.
        UserError: several with `face="only"`, or no face of that number.
    """
    if not quads:
        raise NoFaceError(
            f"no face found in {name}: give its points with --landmarks, or an aligned picture "
            "with --align never"
        )
    if face == "largest":
        return int(np.argmax([side_of(quad) for quad in quads]))
    if face == "only" and len(quads) > 1:
        raise UserError(
            f"{len(quads)} faces found in {name}: choose with {flag} largest, or {flag} 1 to "
            f"{len(quads)} from the left"
        )
    number = 1 if face == "only" else int(face)
    if not 1 <= number <= len(quads):
        raise UserError(f"no face {number} in {name}: it has {len(quads)}, counted from the left")
    return number - 1
