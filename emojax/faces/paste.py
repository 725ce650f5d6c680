"""Back into the photograph: the inverse of the alignment, with soft edges.

`align.crop` cuts a square that lies askew in the photograph, so the way back is one affine map. The
face is drawn over the photograph through a mask that falls off towards the square's edges, where
the generator's hair and background never quite fit.
"""

import numpy as np
from PIL import Image

from emojax.faces import align

FEATHER = 0.15
"""Width of the soft edge, as a share of the square's side."""


def paste(
    photo: np.ndarray,
    face: np.ndarray,
    quad: np.ndarray,
    *,
    size: int = 1024,
    feather: float = FEATHER,
) -> np.ndarray:
    """Return the photograph with an aligned face put back where it came from.

    Args:
        photo: uint8 [H,W,3].
        face: uint8 [S,S,3], of any size; what `align.crop(photo, quad, size)` gave, changed.
        quad: [4,2], see `align.quad_of`.
        size: side that the crop was made with.
        feather: width of the soft edge as a share of the side, above 0 and at most 0.5.

    Returns:
        uint8 [H,W,3]; pixels outside the quad are the photograph's own.

    Raises:
        ValueError: the feather is out of range.
    """
    if not 0 < feather <= 0.5:
        raise ValueError(f"feather is {feather}, wanted above 0 and at most 0.5")
    height, width = photo.shape[:2]
    corners = _continuous(quad, size)
    left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int), (width, height))
    if left >= right or top >= bottom:
        return photo.copy()
    face = _shrunk(face, align.side_of(quad))
    map_back = _to_face(corners - (left, top), len(face))
    box = (int(right - left), int(bottom - top))
    drawn = Image.fromarray(face).transform(
        box, Image.Transform.AFFINE, tuple(map_back.flatten()), Image.Resampling.BICUBIC
    )
    mask = _mask(map_back, box, len(face), feather)
    result = photo.copy()
    region = result[top:bottom, left:right]
    region[:] = np.rint(region + mask[..., None] * (np.asarray(drawn, np.float32) - region))
    return result


def _continuous(quad: np.ndarray, size: int) -> np.ndarray:
    """Return the corners that the crop really reached, where pixel i spans [i, i + 1].

    The original adds half a pixel after shrinking a large photograph, so half a *shrunken* pixel.
    """
    shrink = max(int(align.side_of(quad) / size * 0.5), 1)
    return quad + 0.5 * shrink


def _shrunk(face: np.ndarray, side: float) -> np.ndarray:
    """Return the face no larger than where it goes, so that sampling it does not alias."""
    wanted = max(int(np.ceil(side)), 1)
    if len(face) <= wanted:
        return face
    return np.asarray(Image.fromarray(face).resize((wanted, wanted), Image.Resampling.LANCZOS))


def _to_face(corners: np.ndarray, side: int) -> np.ndarray:
    """Return the affine map [2,3] from the photograph to the face's pixels."""
    across, down = (corners[3] - corners[0]) / side, (corners[1] - corners[0]) / side
    inverse = np.linalg.inv(np.stack([across, down], axis=1))
    return np.concatenate([inverse, -inverse @ corners[:1].T], axis=1)


def _mask(map_back: np.ndarray, box: tuple[int, int], side: int, feather: float) -> np.ndarray:
    """Return the face's share [h,w] of each pixel: 0 outside, 1 inside, smooth between."""
    x, y = np.meshgrid(np.arange(box[0]) + 0.5, np.arange(box[1]) + 0.5)
    at = np.stack([x, y, np.ones_like(x)], -1) @ map_back.T / side  # [h,w,2] in [0, 1]
    depth = np.minimum(at, 1 - at).min(-1)
    share = np.clip(depth / feather, 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)
