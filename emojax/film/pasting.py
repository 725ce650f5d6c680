"""An edited face back into a frame, so that neither seam nor mask moves by itself.

Everything that the pasting depends on has been smoothed over time: where the face is, the landmarks
that its mask is drawn from, and the codes of both pictures. Of a whole face the colours are matched
at its border, where the frame shows through.
"""

import functools

import numpy as np

from emojax.faces import align, images
from emojax.faces.paste import FEATHER, paste, paste_change
from emojax.runtime.choices import PasteForm


def put_back(
    frame: np.ndarray,
    edited: np.ndarray,
    drawn: np.ndarray,
    points: np.ndarray,
    *,
    size: int,
    form: PasteForm = "change",
) -> np.ndarray:
    """Return a frame with an edit of its face.

    Args:
        frame: uint8 [H,W,3].
        edited: grey levels [S,S,3], float32 or uint8, the edited face as the generator draws it.
        drawn: the same of the face before the edit, by the same generator.
        points: [5,2] of the face in the frame, smoothed.
        size: side at which the face was cut out.
        form: see `emojax.faces.paste`.

    Returns:
        uint8 [H,W,3].
    """
    quad = align.quad_of(points)
    if form == "change":
        return paste_change(frame, edited, drawn, quad, points=points, size=size)
    shown = images.resize(align.crop(frame, quad, size), len(drawn))
    return paste(frame, matched(edited, drawn, shown), quad, size=size)


def matched(edited: np.ndarray, drawn: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return the edited face, float32, with the mean colour of the frame along the face's border.

    Args:
        edited: grey levels [S,S,3].
        drawn: the same before the edit.
        shown: uint8 [S,S,3], the aligned face as the frame has it.
    """
    ring = _ring(len(drawn))
    difference = shown.astype(np.float32) - drawn
    offset = (ring * difference).sum((0, 1)) / ring.sum()
    return (edited + offset).clip(0, 255).astype(np.float32)


@functools.cache
def _ring(side: int) -> np.ndarray:
    """Return weights [side,side,1] that are high where face and frame are mixed half and half."""
    along = (np.arange(side) + 0.5) / side
    edge = np.minimum(along, 1 - along)
    depth = np.minimum(edge[:, None], edge[None, :])
    share = np.clip(depth / FEATHER, 0, 1)
    return (share * (1 - share))[..., None].astype(np.float32)
