"""Where the facial landmarks of a photograph come from: MTCNN, dlib, or a file."""

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emojax.runtime.errors import UserError

Landmarks = Callable[[np.ndarray], list[np.ndarray]]
"""From uint8 [H,W,3] to the landmarks of each face: [5,2] (eyes, nose, mouth corners) or [68,2]
(dlib's)."""


FARTHEST = 1e6
"""No coordinate of a landmark is this large."""

DETECTED_PIXELS = 4_000_000
"""Larger photographs are shrunk to this many pixels before faces are looked for."""


def from_detector(picture: np.ndarray) -> list[np.ndarray]:
    """Return the five points of each face that MTCNN finds.

    In a picture of P pixels, above `DETECTED_PIXELS`, the smallest face found is larger than
    MTCNN's 20 pixels by the root of their ratio: 49 pixels at 24 megapixels.

    Args:
        picture: uint8 [H,W,3].

    Raises:
        UserError: its weights are not installed.
    """
    from emojax.faces import detector  # brings jax, which pictures of the right size do without

    height, width = picture.shape[:2]
    ratio = math.sqrt(height * width / DETECTED_PIXELS)
    if ratio > 1:
        size = (max(round(width / ratio), 1), max(round(height / ratio), 1))
        smaller = Image.fromarray(picture).resize(size, Image.Resampling.BOX)
        scale = np.array([width / size[0], height / size[1]])
        # pixel i spans [i, i + 1]: its middle moves by half of what a pixel grows
        return [(face.points + 0.5) * scale - 0.5 for face in detector.detect(np.asarray(smaller))]
    return [face.points for face in detector.detect(picture)]


def from_dlib(model: Path) -> Landmarks:
    """Return a finder of dlib's 68 landmarks, which FFHQ itself was made with.

    Args:
        model: `shape_predictor_68_face_landmarks.dat`.

    Raises:
        UserError: dlib is not installed, or the file is not its model.
    """
    try:
        import dlib  # pyright: ignore[reportMissingImports] - the user's own step
    except ImportError as error:
        raise UserError(
            "--dlib-model needs dlib: run 'pip install dlib', or leave it out"
        ) from error
    try:
        predictor = dlib.shape_predictor(str(model))
    except RuntimeError as error:
        raise UserError(
            f"{model} is not dlib's model ({error}): wanted shape_predictor_68_face_landmarks.dat"
        ) from error
    return functools.partial(_dlib_landmarks, dlib.get_frontal_face_detector(), predictor)


def _dlib_landmarks(find: Callable, predictor: Callable, picture: np.ndarray) -> list[np.ndarray]:
    boxes = find(picture, 1)  # 1: doubled once, as the originals do
    return [np.array([[p.x, p.y] for p in predictor(picture, box).parts()]) for box in boxes]


def read_landmarks(file: Path) -> dict[str, list[np.ndarray]]:
    """Read a landmarks file: JSON, {picture's file name: [one list of 5 or 68 [x, y] a face]}.

    Raises:
        UserError: the file is missing or is something else.
    """
    try:
        table = json.loads(Path(file).read_text())
        found = {name: [_points(each) for each in faces] for name, faces in table.items()}
    except (OSError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{file} is not a landmarks file ({error}): wanted JSON such as "
            '{"photo.jpg": [[[x, y], ... 5 or 68 points]]}'
        ) from error
    return found


def _points(values: Any) -> np.ndarray:
    """Return the landmarks of one face.

    Raises:
        ValueError: another number of points, or numbers that are no pixels.
        TypeError: no numbers.
    """
    points = np.array(values, float)
    if points.shape not in ((5, 2), (68, 2)):
        raise ValueError(f"landmarks are {list(points.shape)}, wanted [68, 2] or [5, 2]")
    if not np.abs(points).max() < FARTHEST:  # also NaN
        raise ValueError(f"landmarks reach {np.abs(points).max():.4g}, wanted pixels")
    return points
