"""Photographs on their way in: read, and the face cut out as the encoders expect it."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from emojax.faces import align, images, landmarks
from emojax.runtime.choices import Align
from emojax.runtime.errors import UserError

SIZE = 1024
"""Side of the faces cut out of photographs, as FFHQ's."""

Photo = str | os.PathLike[str] | Image.Image | np.ndarray
"""A path, a PIL image, or an array [H,W,3]: uint8, or float in [-1, 1]."""


@dataclasses.dataclass(frozen=True)
class Portrait:
    """A face and the photograph it comes from.

    Attributes:
        name: of the photograph, for messages and reports.
        photo: uint8 [H,W,3], the whole photograph.
        face: uint8 [S,S,3], aligned; the photo itself where that is a face already.
        quad: [4,2] corners of the face in the photo; None where the photo is the face.
        file: of the photograph; None where it came as an image or an array.
    """

    name: str
    photo: np.ndarray
    face: np.ndarray
    quad: np.ndarray | None = None
    file: Path | None = None


class PhotoReader:
    """Reads photographs and cuts out one face of each; what finds the faces is loaded once.

    Attributes:
        sizes: sides of square pictures that count as aligned faces, smallest first.
        align: "auto": cut faces out as FFHQ did, except of square pictures of those sizes and of
            pictures that a face fills as FFHQ's do. "always": also of these. "never": take every
            picture as it is.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        align: Align = "auto",
        landmarks_file: Path | None = None,
        dlib_model: Path | None = None,
    ) -> None:
        """Load what finds the faces.

        Args:
            sizes: see the class; the encoder's and the generator's.
            align: see the class.
            landmarks_file: JSON of points, see `landmarks.read_landmarks`, instead of a detector.
            dlib_model: shape_predictor_68_face_landmarks.dat: find faces with dlib.

        Raises:
            UserError: both are given, or one cannot be read.
        """
        if landmarks_file and dlib_model:
            raise UserError("both --landmarks and --dlib-model are given: wanted one of them")
        self.sizes, self.align = sorted(set(sizes)), align
        self._file = landmarks_file
        self._known = landmarks.read_landmarks(landmarks_file) if landmarks_file else None
        self._detect = landmarks.from_dlib(dlib_model) if dlib_model else landmarks.from_detector

    def __call__(self, photo: Photo, face: str = "only", *, flag: str = "--face") -> Portrait:
        """Read a photograph and cut a face out.

        Args:
            photo: see `Photo`.
            face: "only", "largest", or the number of the face counted from the left, from 1.
            flag: the flag that chooses a face, for an error.

        Raises:
            UserError: not a picture, no face, or several and none chosen.
        """
        check_face(face, flag)
        picture, name, file = read(photo)
        if self.align == "never":
            return self.aligned(photo)
        square = picture.shape[0] == picture.shape[1]
        if self.align == "auto" and square and picture.shape[0] in self.sizes:
            return Portrait(name, picture, picture, file=file)
        quads = [align.quad_of(np.asarray(each)) for each in self._points(picture, name)]
        quad = align.choose(quads, face, name=name, flag=flag)
        if self.align == "auto" and align.is_aligned(picture, quad):
            return Portrait(name, picture, picture, file=file)
        return Portrait(name, picture, align.crop(picture, quad, SIZE), quad, file)

    def aligned(self, photo: Photo) -> Portrait:
        """Read a picture that is an aligned face.

        Raises:
            UserError: not a picture, not square, or smaller than the encoder's input.
        """
        (picture, name, file), least = read(photo), self.sizes[0]
        height, width = picture.shape[:2]
        if height != width or height < least:
            raise UserError(
                f"{name} is {width}x{height}: --align never wants squares of {least} pixels or "
                "more; use --align auto for photographs"
            )
        return Portrait(name, picture, picture, file=file)

    def _points(self, picture: np.ndarray, name: str) -> list[np.ndarray]:
        if self._known is None:
            return self._detect(picture)
        if Path(name).name not in self._known:
            raise UserError(f"{self._file} has no points for {Path(name).name}: add them")
        return self._known[Path(name).name]


def read(photo: Photo) -> tuple[np.ndarray, str, Path | None]:
    """Return a photograph as uint8 [H,W,3], with its name and, if it came as a path, its file.

    Raises:
        UserError: not a picture, or an array that is none.
    """
    if isinstance(photo, str | os.PathLike):
        return images.read(photo), str(photo), Path(photo)
    if isinstance(photo, Image.Image):
        return images.decode(photo), "the picture", None
    array = np.asarray(photo)
    if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise UserError(
            f"the picture is {list(array.shape)} {array.dtype}: wanted a path, a PIL image, or an "
            "array [H, W, 3] of uint8, or of floats in [-1, 1]"
        )
    if array.dtype == np.uint8:
        return array, "the picture", None
    levels = np.rint((images.as_float(array) + 1) * np.float32(127.5))
    return levels.clip(0, 255).astype(np.uint8), "the picture", None


def check_face(face: str, flag: str = "--face") -> None:
    """Refuse what chooses no face.

    Raises:
        UserError: the text is neither "only", "largest" nor a number from 1.
    """
    if face not in ("only", "largest") and not (face.isdecimal() and int(face) > 0):
        raise UserError(
            f"{flag} is {face!r}, wanted largest or a number counted from the left, from 1"
        )
