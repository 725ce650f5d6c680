"""Where the facial landmarks of a photograph come from: MTCNN, dlib, or a file."""

import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from emojax.runtime.errors import UserError, shortened
from emojax.store.reader.contents import Kind, Malformed, reading
from emojax.store.reader.json_text import MOST, parse_object

_KIND = Kind(
    "a landmarks file", 'wanted JSON such as {"photo.jpg": [[[x, y], ... 5 or 68 points]]}', MOST
)

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
    with reading(file, _KIND) as data:
        table = parse_object(data)
        return {name: [_points(each) for each in _list(faces)] for name, faces in table.items()}


def _points(stored: object) -> np.ndarray:
    """Return the landmarks [N,2] of one face.

    Raises:
        Malformed: they are something else, of another number, or no pixels.
    """
    pairs = [_list(pair) for pair in _list(stored)]
    if any(len(pair) != 2 or not all(map(_is_number, pair)) for pair in pairs):
        raise Malformed("a face has points that are no [x, y] of numbers")
    points = np.array(pairs, float).reshape(-1, 2)
    if points.shape not in ((5, 2), (68, 2)):
        raise Malformed(f"landmarks are {list(points.shape)}, wanted [68, 2] or [5, 2]")
    return points


def _list(stored: object) -> list:
    if not isinstance(stored, list):
        raise Malformed(f"{shortened(stored, 40)} stands where a list was wanted")
    return stored


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < FARTHEST
