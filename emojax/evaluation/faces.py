"""Whose faces are evaluated and whose expressions they get: sources and targets."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emojax.evaluation.ground_truth import World
from emojax.faces import images
from emojax.runtime.errors import UserError
from emojax.scoring import classifier
from emojax.scoring.classifier import EmotionNet


class Sources(NamedTuple):
    """Aligned faces by number.

    Attributes:
        fingerprint: names everything that the pictures depend on.
        count: how many there are; None: as many as are wanted.
        read: their numbers to uint8 [H,W,3] each.
    """

    fingerprint: str
    count: int | None
    read: Callable[[Sequence[int]], Sequence[np.ndarray]]


class Targets(NamedTuple):
    """One face an emotion.

    Attributes:
        names: T emotions of the classifier's.
        pictures: uint8 [H,W,3] each.
        logits: [T,K], what the classifier says of them.
    """

    names: tuple[str, ...]
    pictures: list[np.ndarray]
    logits: np.ndarray


def of_world(world: World) -> Sources:
    """Return the people of a world."""
    return Sources(world.fingerprint, None, lambda ids: world.people(ids).pictures)


def of_folder(folder: Path) -> Sources:
    """Return the pictures of a folder, by name.

    Raises:
        UserError: there are fewer than two.
    """
    files = _several(images.find([folder]), str(folder))
    digests = "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    contents = hashlib.sha256(digests.encode()).hexdigest()[:16]
    return Sources(
        f"{len(files)} pictures of {folder.name}, {contents}",
        len(files),
        lambda ids: [images.read(files[i]) for i in ids],
    )


def of_data_set(name: str, split: str, data_dir: Path | None) -> Sources:
    """Return the pictures of a prepared TFDS data set, read without TensorFlow.

    Raises:
        UserError: it is not prepared as array_record, or has fewer than two.
    """
    from emojax.fid import data_set  # the data sets' library is slow to import

    source, contents = data_set(f"tfds:{name}:{split}", data_dir)
    names = _several(source.names, name)
    return Sources(contents, len(names), lambda ids: [source.read(names[i]) for i in ids])


def target_files(folder: Path, model: EmotionNet, wanted: Sequence[str] = ()) -> dict[str, Path]:
    """Return the targets of a folder by emotion, one picture each, named after it.

    Args:
        folder: holds anger.png, fear.jpg, ...
        model: the classifier that must know them.
        wanted: which emotions, lower case; all that are there when it is empty.

    Raises:
        UserError: a picture named after no emotion, two after one, or a wanted one missing.
    """
    known, found = [name.lower() for name in model.config.classes], images.find([folder])
    files = {file.stem.lower(): file for file in found}
    if odd := [file.name for file in found if file.stem.lower() not in known]:
        raise UserError(
            f"{folder} holds {odd[0]}: wanted pictures named after emotions, of {', '.join(known)}"
        )
    if len(files) < len(found):
        raise UserError(f"{folder} holds two pictures of one emotion: leave one a name")
    if missing := [name for name in wanted if name not in files]:
        raise UserError(f"{folder} holds no picture of {', '.join(missing)}: add it")
    chosen = wanted or [name for name in known if name in files]
    return {name: files[name] for name in chosen}


def strongest(
    sources: Sources, logits: np.ndarray, model: EmotionNet, wanted: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return of each emotion the source in which the classifier sees most of it.

    Args:
        sources: read from.
        logits: [N,K], what the classifier says of the first N.
        model: the classifier.
        wanted: T emotions.
    """
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    said = shifted / shifted.sum(1, keepdims=True)
    best = [int(said[:, classifier.index(model, name)].argmax()) for name in wanted]
    return dict(zip(wanted, sources.read(best), strict=True))


def _several(found: Sequence, place: str) -> Sequence:
    if len(found) < 2:
        raise UserError(f"{place} holds {len(found)} face: wanted 2 or more")
    return found
