"""How a face moved since the frame before, from its picture, to a fraction of a pixel.

A detector's points tremble by a pixel or more. What moved between two frames is seen far better by
laying one over the other: the similarity (shift, turn and size) that does so best is found by the
inverse compositional method of Baker and Matthews (2004), first in coarse pictures, then in finer
ones. Brightness and contrast may change in between.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from emojax.faces import align

SIDES = (24, 64)
"""Points across the face, in the order in which the pictures are compared."""
STEPS = 8
"""Steps of the search in each of them, at most."""
UNLIKE = 0.6
"""Pictures that still differ by this share of their contrast show no common motion."""
FARTHEST = 0.25
"""A face does not move farther between two frames than this share of its side."""


class _Square(NamedTuple):
    """A grid of points in the plane, its axes as complex numbers.

    Attributes:
        centre: in pixels.
        across: from the centre to the right.
        down: from the centre downwards.
    """

    centre: complex
    across: complex
    down: complex

    def pixels(self, places: np.ndarray) -> np.ndarray:
        """Return the pixels (complex) of places in [-1, 1] (complex, y downwards)."""
        return self.centre + np.real(places) * self.across + np.imag(places) * self.down


def earlier(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return where points of a face were in the frame before.

    Args:
        before: grey levels [H,W] of the frame before, float32.
        after: of this frame.
        points: [5,2] in this frame.

    Returns:
        [5,2]; NaN where the two frames show no common motion.
    """
    lost = np.full_like(points, np.nan)
    quad = align.quad_of(points)
    side = align.side_of(quad)
    middle, size = quad.mean(0), np.array(after.shape[::-1])
    if side < SIDES[0] / 2 or not ((middle >= 0) & (middle < size)).all():
        return lost
    corners = [complex(x, y) for x, y in quad]
    centre = sum(corners) / 4
    across, down = (corners[3] - corners[0]) / 2, (corners[1] - corners[0]) / 2
    turn, shift, unlike = 1 + 0j, 0j, np.inf
    for count in SIDES:
        shrink = max(int(side / count), 1)
        (old, corner), (new, _) = (_reduced(each, quad, shrink) for each in (before, after))
        square = _Square(centre / shrink - corner, across / shrink, down / shrink)
        turn, shift, unlike = _laid_over(old, new, square, _grid(count), turn, shift)
    if not (unlike < UNLIKE and abs(turn - 1) < FARTHEST and abs(shift) < 2 * FARTHEST):
        return lost
    # the axes are at right angles and of one length, so that a place is a complex quotient
    place = (points @ [1, 1j] - centre) / across
    found = centre + (turn * place + shift) * across
    return np.stack([np.real(found), np.imag(found)], -1)


def _grid(count: int) -> np.ndarray:
    """Return places [count,count] in the middle of a face, complex, in [-1, 1]."""
    along = np.linspace(-0.7, 0.7, count)
    return along + 1j * along[:, None]


def _reduced(picture: np.ndarray, quad: np.ndarray, shrink: int) -> tuple[np.ndarray, complex]:
    """Return the part of a picture round a quad, shrunk, and its corner in shrunk pixels."""
    margin = FARTHEST * align.side_of(quad)
    left, top = np.maximum(np.floor(quad.min(0) - margin), 0).astype(int) // shrink * shrink
    right, bottom = np.ceil(quad.max(0) + margin).astype(int)
    part = picture[top : max(bottom, top + shrink), left : max(right, left + shrink)]
    small = np.asarray(Image.fromarray(part).reduce(shrink)) if shrink > 1 else part
    middle = (shrink - 1) / 2 / shrink  # the middle of the first of the pixels that became one
    return small, complex(left / shrink + middle, top / shrink + middle)


def _laid_over(
    before: np.ndarray,
    after: np.ndarray,
    square: _Square,
    grid: np.ndarray,
    turn: complex,
    shift: complex,
) -> tuple[complex, complex, float]:
    """Return the similarity by which places in `after` become those in `before`.

    Args:
        before: the part of the earlier frame.
        after: of the later one.
        square: of the face, in pixels of both.
        grid: places that are compared.
        turn: factor to begin with.
        shift: sum to begin with.

    Returns:
        Factor and sum, and the share of the contrast that is left between the pictures.
    """
    wanted = _levels(after, square.pixels(grid))
    down, right = np.gradient(wanted)
    x, y = np.real(grid), np.imag(grid)
    step = float(x[0, 1] - x[0, 0])
    along, below = right / step, down / step
    jacobian = np.stack([along * x + below * y, below * x - along * y, along, below], -1).reshape(
        -1, 4
    )
    solver = np.linalg.pinv(jacobian)
    unlike = np.inf
    for _ in range(STEPS):
        rest = (_levels(before, square.pixels(turn * grid + shift)) - wanted).ravel()
        unlike = float(np.sqrt(np.mean(rest * rest)))
        a, b, u, v = solver @ rest
        factor = 1 + complex(a, b)
        turn, shift = turn / factor, shift - turn / factor * complex(u, v)
        if abs(complex(a, b)) + abs(complex(u, v)) < 1e-4:
            break
    return turn, shift, unlike


def _levels(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return grey levels at pixels (complex), of mean 0 and deviation 1."""
    at = np.stack([np.imag(places), np.real(places)])
    values = ndimage.map_coordinates(picture, at, np.float32, order=1, mode="nearest")
    return (values - values.mean()) / max(float(values.std()), 1e-3)
