"""Photographs on their way in: read, and their faces cut out as the encoders want them."""

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from emojax.faces import align, images
from emojax.runtime.errors import UserError

SIZE = 1024
"""Side of the faces cut out of photographs, as FFHQ's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How faces are found in photographs: flags of every command that reads them."""

    align: Literal["auto", "never"] = "auto"
    """auto: cut faces out as FFHQ did, unless they are aligned. never: take all as they are."""
    face: str = "only"
    """Which face of a picture with several: largest, or a number counted from the left, from 1."""
    landmarks: Path | None = None
    """JSON of points, {"photo.jpg": [[[x, y], ... 5 or 68]]}, instead of finding faces."""
    dlib_model: Path | None = None
    """shape_predictor_68_face_landmarks.dat: find faces with dlib, as FFHQ's makers did."""


class Portrait(NamedTuple):
    """A face and where it came from.

    Attributes:
        file: the picture's.
        photo: uint8 [H,W,3], the whole picture.
        face: uint8 [S,S,3], aligned; the photo itself where that is a face already.
        quad: [4,2] corners of the face in the photo; None where the photo is the face.
    """

    file: Path
    photo: np.ndarray
    face: np.ndarray
    quad: np.ndarray | None


class Reader:
    """Reads photographs as some options say; what the options name is loaded once."""

    def __init__(self, options: Options, resolution: int) -> None:
        """Check the options and load what finds the faces.

        Args:
            options: how faces are found.
            resolution: smallest side of a picture that is taken as it is, the encoder's.

        Raises:
            UserError: options that exclude each other, or a file among them that is no good.
        """
        check(options)
        self.options, self.resolution = options, resolution
        self._known = align.read_landmarks(options.landmarks) if options.landmarks else None
        self._detect = align.from_detector
        if options.dlib_model:
            self._detect = align.from_dlib(options.dlib_model)

    def __call__(self, file: Path) -> Portrait:
        """Read a photograph and cut its face out.

        Raises:
            UserError: no picture, no face, or several and none chosen.
        """
        if self.options.align == "never":
            return self.aligned(file)
        photo, face = images.read(file), self.options.face
        quad = align.locate(photo, self._finder(file), face=face, name=str(file))
        if align.is_aligned(photo, quad):
            return Portrait(file, photo, photo, None)
        return Portrait(file, photo, align.crop(photo, quad, SIZE), quad)

    def aligned(self, file: Path) -> Portrait:
        """Read a picture that is an aligned face.

        Raises:
            UserError: no picture, not square, or too small.
        """
        photo, least = images.read(file), self.resolution
        height, width = photo.shape[:2]
        if height != width or height < least:
            raise UserError(
                f"{file} is {width}x{height}: --align never wants squares of {least} pixels or "
                "more; use --align auto for photographs"
            )
        return Portrait(file, photo, photo, None)

    def _finder(self, file: Path) -> align.Landmarks:
        if self._known is None:
            return self._detect
        if file.name not in self._known:
            raise UserError(f"{self.options.landmarks} has no points for {file.name}: add them")
        return lambda _: self._known[file.name]


def check(options: Options) -> None:
    """Refuse flags that no photograph could be read with.

    Raises:
        UserError: see the sentences.
    """
    if options.face not in ("only", "largest") and not options.face.isdigit():
        raise UserError(
            f"--face is {options.face!r}, wanted largest or a number from the left, from 1"
        )
    if options.landmarks and options.dlib_model:
        raise UserError("both --landmarks and --dlib-model are given: wanted one of them")
