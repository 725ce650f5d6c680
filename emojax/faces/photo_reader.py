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
ONE_FACE = ("only", "largest")
"""Words that choose one face of a picture."""


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A photograph that has been read, so that it is decoded once.

    Attributes:
        pixels: uint8 [H,W,3].
        name: for messages and reports.
        file: where it was read from; None where it came as an image or an array.
    """

    pixels: np.ndarray
    name: str = "the picture"
    file: Path | None = None


Photo = str | os.PathLike[str] | Image.Image | np.ndarray | Photograph
"""A path, a PIL image, an array [H,W,3] (uint8, or float in [-1, 1]), or what `read` returned."""


@dataclasses.dataclass(frozen=True)
class Portrait:
    """A face and the photograph it comes from.

    Attributes:
        name: of the photograph, for messages and reports.
        photo: uint8 [H,W,3], the whole photograph.
        face: uint8 [S,S,3], aligned; the photo itself where that is a face already.
        quad: [4,2] corners of the face in the photo; None where the photo is the face.
        file: of the photograph; None where it came as an image or an array.
        points: landmarks [5,2] or [68,2] in the photo; None where none were looked for.
    """

    name: str
    photo: np.ndarray
    face: np.ndarray
    quad: np.ndarray | None = None
    file: Path | None = None
    points: np.ndarray | None = None


class PhotoReader:
    """Reads photographs and cuts faces out of them; what finds the faces is loaded once.

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
        """Read a photograph and cut one face out.

        Args:
            photo: see `Photo`.
            face: "only", "largest", or the number of the face counted from the left, from 1.
            flag: the flag that chooses a face, for an error.

        Raises:
            UserError: not a picture, no face, or several and none chosen.
        """
        check_face(face, flag)
        whole = read(photo)
        if self._is_face(whole):
            return self.aligned(whole)
        found = self._points(whole)
        quads = [align.quad_of(each) for each in found]
        number = align.choose(quads, face, name=whole.name, flag=flag)
        return self._cut(whole, found[number], quads[number])

    def all_faces(self, photo: Photo) -> list[Portrait]:
        """Read a photograph and cut out every face, from left to right, as `face` counts them.

        Args:
            photo: see `Photo`. A picture that is an aligned face has one.

        Raises:
            UserError: not a picture, or it has no face.
        """
        whole = read(photo)
        if self._is_face(whole):
            return [self.aligned(whole)]
        found = self._points(whole)
        if not found:
            align.choose([], "only", name=whole.name)
        return [self._cut(whole, points, align.quad_of(points)) for points in found]

    def aligned(self, photo: Photo) -> Portrait:
        """Read a picture that is an aligned face.

        Raises:
            UserError: not a picture, not square, or smaller than the encoder's input.
        """
        whole, least = read(photo), self.sizes[0]
        height, width = whole.pixels.shape[:2]
        if height != width or height < least:
            raise UserError(
                f"{whole.name} is {width}x{height}: --align never wants squares of {least} pixels "
                "or more; use --align auto for photographs"
            )
        return Portrait(whole.name, whole.pixels, whole.pixels, file=whole.file)

    def _is_face(self, whole: Photograph) -> bool:
        """Say whether a picture is taken as an aligned face without looking for one."""
        height, width = whole.pixels.shape[:2]
        known = self.align == "auto" and height == width and height in self.sizes
        return known or self.align == "never"

    def _cut(self, whole: Photograph, points: np.ndarray, quad: np.ndarray) -> Portrait:
        """Return one face of a photograph; the photograph itself where the face fills it."""
        if self.align == "auto" and align.is_aligned(whole.pixels, quad):
            return Portrait(whole.name, whole.pixels, whole.pixels, None, whole.file, points)
        face = align.crop(whole.pixels, quad, SIZE)
        return Portrait(whole.name, whole.pixels, face, quad, whole.file, points)

    def _points(self, whole: Photograph) -> list[np.ndarray]:
        """Return the landmarks of every face that can be cut out, from left to right.

        Raises:
            UserError: the landmarks file does not have the picture, or no face lies in it.
        """
        if self._known is None:
            found = [np.asarray(each, float) for each in self._detect(whole.pixels)]
        elif Path(whole.name).name in self._known:
            found = self._known[Path(whole.name).name]
        else:
            name = Path(whole.name).name
            raise UserError(f"{self._file} has no points for {name}: add them")
        usable = [each for each in found if align.is_within(whole.pixels, each)]
        if found and not usable:
            raise UserError(
                f"the points of the face lie outside {whole.name}, or all in one place: give the "
                "right ones with --landmarks"
            )
        return sorted(usable, key=lambda points: align.quad_of(points)[:, 0].mean())


def read(photo: Photo) -> Photograph:
    """Read a photograph; one that has been read already is returned as it is.

    Raises:
        UserError: not a picture, or an array that is none.
    """
    if isinstance(photo, Photograph):
        return photo
    if isinstance(photo, str | os.PathLike):
        return Photograph(images.read(photo), str(photo), Path(photo))
    if isinstance(photo, Image.Image):
        return Photograph(images.decode(photo))
    array = np.asarray(photo)
    if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise UserError(
            f"the picture is {list(array.shape)} {array.dtype}: wanted a path, a PIL image, or an "
            "array [H, W, 3] of uint8, or of floats in [-1, 1]"
        )
    if array.dtype == np.uint8:
        return Photograph(array)
    levels = np.rint((images.as_float(array) + 1) * np.float32(127.5))
    return Photograph(levels.clip(0, 255).astype(np.uint8))


def check_face(face: str, flag: str = "--face", *, words: Sequence[str] = ONE_FACE) -> None:
    """Refuse what chooses no face.

    Args:
        face: what was given.
        flag: the flag that chooses, for the error.
        words: what may be given in place of a number.

    Raises:
        UserError: the text is neither one of the words nor a number from 1.
    """
    if face not in words and not (face.isdecimal() and int(face) > 0):
        offered = ", ".join(word for word in words if word != "only")
        raise UserError(
            f"{flag} is {face!r}, wanted {offered} or a number counted from the left, from 1"
        )
