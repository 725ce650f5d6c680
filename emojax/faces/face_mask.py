"""The part of a photograph that is face: the hull of the landmarks, from hair line to chin."""

import numpy as np
from PIL import Image, ImageDraw

from emojax.faces.smoothing import blurred

FFHQ_POINTS = np.array([[0.375, 0.475], [0.625, 0.475], [0.5, 0.61], [0.4, 0.725], [0.6, 0.725]])
"""Eyes, nose and mouth corners of FFHQ's faces, as shares of the aligned square."""

_CIRCLE = np.linspace(0, 2 * np.pi, 64, endpoint=False)


def outline(points: np.ndarray) -> np.ndarray:
    """Return the corners [P,2] of a convex polygon around a face.

    Five points give an ellipse by the proportions of faces, from hair line to chin and from ear to
    ear. The eyes of a face in profile are close together, so that its width is at least that of
    a face with the same distance from eyes to mouth. 68 points have jaw and chin themselves; only
    the forehead is the ellipse's.

    Args:
        points: [5,2] (eyes, nose, mouth corners) or [68,2] (dlib's).
    """
    from scipy.spatial import ConvexHull  # late: it takes a while, and only pasting needs it

    five = points
    if len(points) == 68:
        eyes = points[36:42].mean(0), points[42:48].mean(0)
        five = np.stack([*eyes, points[30], points[48], points[54]])
    eyes, mouth = five[:2].mean(0), five[3:].mean(0)
    down = mouth - eyes
    right = np.array([down[1], -down[0]])  # as long as `down`
    across = np.hypot(*(five[1] - five[0])) / max(np.hypot(*down), 1e-9)
    sideways = 1.12 * max(across, 0.9) * np.cos(_CIRCLE)[:, None] * right
    oval = eyes + 0.42 * down + sideways + 1.32 * np.sin(_CIRCLE)[:, None] * down
    if len(points) == 68:
        oval = np.concatenate([points, oval[np.sin(_CIRCLE) < 0]])
    return oval[ConvexHull(oval).vertices]


def filled(polygon: np.ndarray, shape: tuple[int, int], soft: float) -> np.ndarray:
    """Draw a polygon as a mask with a soft edge.

    Args:
        polygon: [P,2], pixel i spans [i, i + 1].
        shape: height and width of the mask.
        soft: standard deviation of the edge in pixels.

    Returns:
        float32 [h,w]: 0 outside, 1 inside.
    """
    mask = Image.new("L", (shape[1], shape[0]))
    corners = [(float(x), float(y)) for x, y in polygon - 0.5]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    sharp = np.asarray(mask, np.float32) / 255
    return blurred(sharp, soft)
