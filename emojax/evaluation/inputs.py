"""Sources and targets of an evaluation: whose faces, and whose expressions they get."""

import dataclasses
import hashlib
import re
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
    """One or more faces for each emotion; every source takes one of them, in turn.

    Attributes:
        names: T emotions, classes of the classifier in lower case.
        pictures: uint8 [H,W,3] each, the P people of the first emotion first.
        logits: [T·P,K] of the classifier.
    """

    names: tuple[str, ...]
    pictures: list[np.ndarray]
    logits: np.ndarray

    @property
    def people(self) -> int:
        """P, the number of people who show an emotion."""
        return len(self.pictures) // len(self.names)

    def rows(self, index: int, sources: np.ndarray) -> np.ndarray:
        """Return which pictures some sources [N] by number take for the emotion of one index."""
        return index * self.people + np.asarray(sources) % self.people


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
    folder: Path, classes: Sequence[str], wanted: Sequence[str] = (), people: int = 1
) -> dict[str, list[Path]]:
    """Return a folder's targets by emotion, of pictures named after the emotion they show.

    Args:
        folder: holds anger.png, fear.jpg, ...; of several people anger-1.png, anger-2.png, ...
        classes: the classifier's, in lower case.
        wanted: emotions in lower case; empty: all that are there.
        people: P, how many pictures each emotion must have.

    Raises:
        UserError: a picture is named after no emotion, an emotion has more or fewer than P, or a
            wanted one is missing.
    """
    files: dict[str, list[Path]] = {}
    for file in images.find([folder]):
        name = re.sub(r"[-_ ]?\d+$", "", file.stem.lower())
        if name not in classes:
            raise UserError(
                f"{folder} holds {file.name}: wanted pictures named after emotions, of "
                f"{', '.join(classes)}"
            )
        files.setdefault(name, []).append(file)
    if missing := [name for name in wanted if name not in files]:
        raise UserError(f"{folder} holds no picture of {', '.join(missing)}: add it")
    chosen = {name: files[name] for name in wanted or classes if name in files}
    for name, found in chosen.items():
        if len(found) != people:
            raise UserError(
                f"{folder} holds {len(found)} pictures of {name}: wanted {people}, see "
                "--targets-per-emotion"
            )
    return chosen


def strongest(
    sources: Sources,
    logits: np.ndarray,
    classes: Sequence[str],
    wanted: Sequence[str],
    people: int = 1,
) -> list[np.ndarray]:
    """Return for each emotion the sources with its highest probabilities, the highest first.

    Args:
        sources: to choose from.
        logits: [N,K] of the first N sources.
        classes: the K classes, in lower case.
        wanted: T emotions, all of them classes.
        people: P, how many for each.

    Returns:
        T·P pictures.
    """
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    columns = [list(classes).index(name) for name in wanted]
    order = np.argsort(-probabilities[:, columns], axis=0, kind="stable")[:people]
    return list(sources.read(order.T.ravel().tolist()))


def resized(pictures: Sequence[np.ndarray] | np.ndarray, side: int) -> np.ndarray:
    """Return pictures uint8 [H,W,3] of any sizes as [N,side,side,3]."""
    return np.stack([images.resize(each, side) for each in pictures])


def _several(found: Several, place: str) -> Several:
    if len(found) < 2:
        raise UserError(f"{place} holds {len(found)} face: wanted 2 or more")
    return found
