"""Sources and targets of an evaluation: whose faces, and whose expressions they get."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from emojax.evaluation.ground_truth import GroundTruth
from emojax.faces import images
from emojax.faces.data_sets import open_data_set
from emojax.runtime.errors import UserError
from emojax.runtime.files import sha256

Several = TypeVar("Several", bound=Sequence)


@dataclasses.dataclass(frozen=True)
class Sources:
    """Aligned faces by number.

    Attributes:
        fingerprint: names everything that the pictures depend on.
        size: how many there are; None: any number.
        read: numbers to pictures, uint8 [H,W,3] each.
    """

    fingerprint: str
    size: int | None
    read: Callable[[Sequence[int] | np.ndarray], Sequence[np.ndarray] | np.ndarray]


class Targets(NamedTuple):
    """One face for each emotion.

    Attributes:
        names: T emotions, classes of the classifier in lower case.
        pictures: uint8 [H,W,3] each.
        logits: [T,K] of the classifier.
    """

    names: tuple[str, ...]
    pictures: list[np.ndarray]
    logits: np.ndarray


def of_truth(truth: GroundTruth) -> Sources:
    """Return people with ground truth as sources."""
    return Sources(truth.fingerprint, None, lambda ids: truth.people(ids).pictures)


def source_files(folder: Path) -> list[Path]:
    """Return the pictures of a folder, in order of name.

    Raises:
        UserError: there are fewer than two.
    """
    return _several(images.find([folder]), str(folder))


def of_folder(folder: Path) -> Sources:
    """Return the pictures of a folder as sources.

    Raises:
        UserError: see `source_files`.
    """
    files = source_files(folder)
    contents = hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()[:16]
    return Sources(
        f"{len(files)} pictures of {folder.name}, {contents}",
        len(files),
        lambda ids: [images.read(files[i]) for i in ids],
    )


def of_data_set(name: str, split: str, data_dir: Path | None) -> Sources:
    """Return the pictures of a prepared TFDS data set, read without TensorFlow.

    Args:
        name: of the data set.
        split: of the data set.
        data_dir: folder of prepared data sets; None: TFDS's own.

    Raises:
        UserError: it is not prepared as array_record, or has fewer than two.
    """
    data = open_data_set(name, split, data_dir)
    numbers = _several(range(data.size), name)
    return Sources(data.fingerprint, len(numbers), lambda ids: [data.read(int(i)) for i in ids])


def target_files(
    folder: Path, classes: Sequence[str], wanted: Sequence[str] = ()
) -> dict[str, Path]:
    """Return a folder's targets by emotion: one picture each, named after the emotion.

    Args:
        folder: holds anger.png, fear.jpg, ...
        classes: the classifier's, in lower case.
        wanted: emotions in lower case; empty: all that are there.

    Raises:
        UserError: a picture is named after no emotion, two are after one, or a wanted one is
            missing.
    """
    found = images.find([folder])
    files = {file.stem.lower(): file for file in found}
    if odd := [file.name for file in found if file.stem.lower() not in classes]:
        raise UserError(
            f"{folder} holds {odd[0]}: wanted pictures named after emotions, of "
            f"{', '.join(classes)}"
        )
    if len(files) < len(found):
        raise UserError(f"{folder} holds two pictures of one emotion: wanted one of each")
    if missing := [name for name in wanted if name not in files]:
        raise UserError(f"{folder} holds no picture of {', '.join(missing)}: add it")
    chosen = wanted or [name for name in classes if name in files]
    return {name: files[name] for name in chosen}


def strongest(
    sources: Sources, logits: np.ndarray, classes: Sequence[str], wanted: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return for each emotion the source with its highest probability.

    Args:
        sources: to choose from.
        logits: [N,K] of the first N sources.
        classes: the K classes, in lower case.
        wanted: T emotions, all of them classes.
    """
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    best = [int(probabilities[:, list(classes).index(name)].argmax()) for name in wanted]
    return dict(zip(wanted, sources.read(best), strict=True))


def resized(pictures: Sequence[np.ndarray] | np.ndarray, side: int) -> np.ndarray:
    """Return pictures uint8 [H,W,3] of any sizes as [N,side,side,3]."""
    return np.stack([images.resize(each, side) for each in pictures])


def _several(found: Several, place: str) -> Several:
    if len(found) < 2:
        raise UserError(f"{place} holds {len(found)} face: wanted 2 or more")
    return found
