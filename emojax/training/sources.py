"""Photographs to train on: of a folder, of folders named after emotions, or of a TFDS data set."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from emojax.faces import images
from emojax.faces.data_sets import TFDS, open_data_set, split_name
from emojax.faces.photo_reader import Photo, PhotoReader, read
from emojax.runtime.errors import UserError
from emojax.training.options import Training, labelled_files
from emojax.training.photographs import Source

_FACE = "largest"
"""Which face of a photograph is trained on."""


def open_source(
    options: Training, sizes: Sequence[int], classes: tuple[str, ...] | None = None
) -> Source:
    """Return the photographs that flags name.

    Args:
        options: the flags.
        sizes: sides of square pictures that count as aligned faces.
        classes: those of a classifier, whose labels are wanted; None: no labels are.

    Raises:
        UserError: there are none, or they have no labels of these classes.
    """
    reader = PhotoReader(
        sizes,
        align=options.align,
        landmarks_file=options.landmarks,
        dlib_model=options.dlib_model,
    )
    chosen = {"align": options.align, "detector": str(options.landmarks or options.dlib_model)}
    if options.photos.startswith(TFDS):
        return _of_data_set(options, reader, chosen, classes)
    return _of_folder(Path(options.photos), reader, chosen, classes)


def _of_folder(
    folder: Path, reader: PhotoReader, chosen: dict[str, str], classes: tuple[str, ...] | None
) -> Source:
    labelled = None if classes is None else labelled_files(folder, classes)
    files = images.find([folder]) if labelled is None else [file for file, _ in labelled]
    sizes = [f"{file.relative_to(folder).as_posix()} {file.stat().st_size}" for file in files]
    contents = hashlib.sha256("\n".join(sizes).encode()).hexdigest()[:16]
    return Source(
        [str(file) for file in files],
        lambda number: _face(reader, files[number], classes is not None),
        {**chosen, "photographs": f"{len(files)} of {folder.name}, {contents}"},
        None if labelled is None else np.array([label for _, label in labelled]),
    )


def _of_data_set(
    options: Training,
    reader: PhotoReader,
    chosen: dict[str, str],
    classes: tuple[str, ...] | None,
) -> Source:
    name, split = split_name(options.photos)
    data = open_data_set(name, split, options.data_dir)
    if not data.size:
        raise UserError(f"{options.photos} holds no pictures: choose another split")
    labels = None
    if classes is not None:
        number_of = _numbers(options.photos, data.classes, classes)
        labels = np.array([number_of(data.label(number)) for number in range(data.size)])
    return Source(
        [f"{options.photos}, number {number}" for number in range(data.size)],
        lambda number: _face(reader, data.read(number), classes is not None),
        {**chosen, "photographs": data.fingerprint},
        labels,
    )


def _face(reader: PhotoReader, photo: Photo, labelled: bool) -> np.ndarray:
    """Return the face of a photograph, uint8 [H,W,3].

    Pictures for the classifier that are not aligned may have any size and aspect: it resizes them.
    """
    if labelled and reader.align == "never":
        return read(photo).pixels
    return reader(photo, _FACE).face


def _numbers(place: str, found: tuple[str, ...], classes: tuple[str, ...]) -> Callable[[int], int]:
    """Return a function from a data set's labels to the numbers of a classifier's classes.

    Raises:
        UserError: the data set has no labels, or one that is no class.
    """
    known = [name.lower() for name in classes]
    unknown = [name for name in found if name.lower() not in known]
    if unknown or not found:
        what = f"the label {unknown[0]}" if unknown else "no labels"
        raise UserError(f"{place} has {what}: wanted labels of {', '.join(known)}")
    numbers = [known.index(name.lower()) for name in found]
    return lambda label: numbers[label]
