"""Where the facial landmarks of a photograph come from: MTCNN, dlib, or a file."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from emojax.faces.align import quad_of
from emojax.runtime.errors import UserError

Landmarks = Callable[[np.ndarray], list[np.ndarray]]
"""From uint8 [H,W,3] to the landmarks of each face: [5,2] (eyes, nose, mouth corners) or [68,2]
(dlib's)."""


def from_detector(picture: np.ndarray) -> list[np.ndarray]:
    """Return the five points of each face that MTCNN finds.

    Raises:
        UserError: its weights are not installed.
    """
    from emojax.faces import detector  # brings jax, which pictures of the right size do without

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
        found = {name: [np.array(each, float) for each in faces] for name, faces in table.items()}
        for faces in found.values():
            for each in faces:
                quad_of(each)
    except (OSError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} is not a landmarks file ({error}): wanted JSON such as "
            '{"photo.jpg": [[[x, y], ... 5 or 68 points]]}'
        ) from error
    return found
