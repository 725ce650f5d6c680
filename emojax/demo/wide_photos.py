"""Photographs of the demo's people that show more than a face, with known place and known truth.

The people and their cameras are those of the photo domain; the camera stands farther away, so that
the aligned square of the face is a part of the picture.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import jax.numpy as jnp
import numpy as np

from emojax.demo import batches, truth
from emojax.demo.drawing.factors import Params
from emojax.demo.photos import random_jpeg, to_pixels
from emojax.faces import align
from emojax.faces.photo_reader import SIZE, Portrait

DISTANCE: Final = 2.0
"""How many times as far away the camera stands: the side of the picture by that of the face."""


class WidePhotos(NamedTuple):
    """Photographs of N people.

    Attributes:
        faces: `Params` of arrays [N, ...].
        photos: uint8 [N,R,R,3].
        quads: [N,4,2], the aligned square of each face, as `align.quad_of` gives them.
    """

    faces: Params
    photos: np.ndarray
    quads: np.ndarray

    def portraits(self) -> list[Portrait]:
        """Return the photographs with their faces cut out."""
        return [
            Portrait("a drawn photograph", photo, align.crop(photo, quad, SIZE), quad)
            for photo, quad in zip(self.photos, self.quads, strict=True)
        ]


def take(
    ids: Sequence[int], resolution: int, seed: int, *, emotion: str | None = None
) -> WidePhotos:
    """Take photographs of some people.

    Args:
        ids: their numbers.
        resolution: R, side of the photographs.
        seed: of the people.
        emotion: all show the expression of the target of this emotion, see `DrawnPeople`; None:
            their own. Everything else stays, also the camera's noise.
    """
    people = truth.sources(resolution, seed)
    faces = people.faces(ids, emotion)
    who = faces.identity
    far = faces._replace(identity=who._replace(zoom=who.zoom / DISTANCE))
    # one pixel in 4 million falls on a point where a shape is undefined
    drawn = jnp.nan_to_num(batches.draw(far, resolution))
    pictures = truth.photographed(seed, np.asarray(ids, np.uint32), drawn)
    rows = zip(ids, to_pixels(pictures), strict=True)
    photos = np.stack([random_jpeg(each, seed, person) for person, each in rows])
    return WidePhotos(faces, photos, _quads(np.asarray(who.yaw), resolution))


def _quads(yaw: np.ndarray, resolution: int) -> np.ndarray:
    """Return the corners [N,4,2] of what the camera of the photo domain would show."""
    moved = 1 - 1 / DISTANCE  # `undo_pose` moves the head before it enlarges it
    middle = np.stack([0.6 * yaw * moved, np.full_like(yaw, 0.02 * moved)], -1)  # y downwards
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) / DISTANCE
    return (middle[:, None] + corners + 1) / 2 * resolution - 0.5
