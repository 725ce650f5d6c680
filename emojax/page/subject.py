"""A face that a visitor works on: from a photograph, or drawn by the generator."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from emojax import Faces, Pipeline, UserError
from emojax.page import pictures, widgets
from emojax.page.recipes import Origin
from emojax.runtime.errors import NoFaceError
from emojax.runtime.files import sha256


@dataclasses.dataclass(frozen=True)
class Subject:
    """One face, inverted.

    Attributes:
        face: its codes, with the picture that the generator draws of them and the photograph,
            both no larger than the page shows them.
        origin: where it comes from.
        before: uint8 [S,S,3], the face as photographed; for a generated face as drawn.
        said: [S], the classifier's scores of `before`.
        file: of the photograph; None for a generated face.
        doubts: a sentence where the bundle cannot draw the photograph; else none.
    """

    face: Faces
    origin: Origin
    before: np.ndarray
    said: np.ndarray
    file: Path | None = None
    doubts: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        arrays = [self.before, self.said, self.face.pictures, *jax.tree.leaves(self.face.codes)]
        arrays += [each.photo for each in self.face.portraits]
        return sum(each.nbytes for each in arrays)


class Opened(NamedTuple):
    """A photograph that was opened.

    Attributes:
        subject: the face that was chosen.
        crops: every face found, small, from the left.
        chosen: number of the chosen one among them, from 0.
    """

    subject: Subject
    crops: list[np.ndarray]
    chosen: int


def open_photo(
    pipe: Pipeline, file: str | Path, face: int | None = None, *, most: int = 12
) -> Opened:
    """Read a photograph, find its faces and invert one of them.

    Args:
        pipe: an open bundle.
        file: of the photograph.
        face: which face, from the left, from 0; None: the largest.
        most: faces to offer.

    Raises:
        UserError: not a picture, or no face in it.
    """
    try:
        found = pipe.read_all(file)
    except NoFaceError as error:
        raise UserError(
            "no face was found in this photograph: choose one in which a face looks towards the "
            "camera and is at least 40 pixels wide"
        ) from error
    sizes = [0.0 if each.quad is None else np.ptp(each.quad, axis=0).sum() for each in found]
    chosen = int(np.argmax(sizes)) if face is None else max(0, min(face, len(found) - 1))
    portrait, several = found[chosen], len(found) > 1
    origin = Origin(
        name=Path(file).name,
        face=str(chosen + 1) if several else "only",
        sample=sample_name(pipe, file),
        sha256=sha256(file),
    )
    before = pictures.shrunk(portrait.face, max(pictures.SHOWN, pipe.size))
    small = pictures.shrunk(portrait.photo, pictures.WHOLE)
    scale = small.shape[1] / portrait.photo.shape[1]
    kept = dataclasses.replace(
        portrait,
        photo=small,
        face=before,
        quad=None if portrait.quad is None else portrait.quad * scale,
        points=None if portrait.points is None else portrait.points * scale,
    )
    inverted = pipe.invert(portrait)
    drawn = Faces(pipe, inverted.codes, (kept,)).showing(inverted.pictures)
    pipe.render([drawn])
    said = np.asarray(pipe.classify(portrait.face[None]).scores)[0]
    crops = [pictures.shrunk(each.face, pictures.SMALL) for each in found[:most]]
    doubts = tuple(widgets.by_name(each, file, pipe.bundle) for each in inverted.doubts)
    return Opened(Subject(drawn, origin, before, said, Path(file), doubts), crops, chosen)


def draw(pipe: Pipeline, origin: Origin) -> Subject:
    """Draw the generated face of a seed, with another's style in some layers where there is one."""
    face = pipe.sample(origin.seed or 0, truncation=origin.truncation)
    if origin.style is not None:
        style = pipe.sample(origin.style, truncation=origin.truncation)
        face = face.mixed(style, slice(*origin.style_layers))
    pipe.render([face])
    return Subject(face, origin, face.pictures[0], np.asarray(face.prediction.scores)[0])


def at_full_size(pipe: Pipeline, subject: Subject, result: Faces) -> np.ndarray:
    """Return the whole photograph, as it was uploaded, with an edit of its face.

    Raises:
        UserError: the file is not there any more, or the face is a generated one.
    """
    if subject.file is None:
        raise UserError("a generated face has no photograph: take the drawn picture")
    if not subject.file.is_file():
        raise UserError("the photograph is not kept any more: choose it again")
    portrait = pipe.read(subject.file, face=subject.origin.face)
    edited = Faces(pipe, result.codes, (portrait,), subject.face)
    return edited.showing(result.pictures).paste()[0]


def sample_name(pipe: Pipeline, file: str | Path) -> str | None:
    """Return which of the bundle's own photographs a file is, wherever it lies: by its bytes."""
    size, found = Path(file).stat().st_size, sha256(file)
    for name, sample in samples(pipe).items():
        if sample.stat().st_size == size and sha256(sample) == found:
            return name
    return None


def samples(pipe: Pipeline) -> dict[str, Path]:
    """Return the bundle's own photographs by their names; a bundle may have none."""
    found = {}
    for name in ("source", "target"):
        try:
            found[name] = pipe.sample_photo(name)
        except UserError:
            continue
    return found
