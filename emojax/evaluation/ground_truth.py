"""Faces with ground truth: people whose attributes, and whose every expression, are known.

A bundle whose networks were trained on drawn people may name them in `world.json`:

    {"sources": "emojax.some.module:sources"}

The value names a callable `(resolution, seed) -> GroundTruth` in this package. Bundles are
untrusted, so nothing outside the package is imported or called.
"""

import importlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from emojax.runtime.errors import UserError
from emojax.store.bundle import Bundle

FILE = "world.json"
"""Name of the file in a bundle's folder."""
SOURCES = "sources"
"""Name of the people that are used by default."""


class LabelledFaces(NamedTuple):
    """Pictures of N people with some expression, and their attributes.

    Attributes:
        pictures: uint8 [N,S,S,3].
        attributes: [N,A] float32, in the order of `GroundTruth.attributes`.
    """

    pictures: np.ndarray
    attributes: np.ndarray


@runtime_checkable
class GroundTruth(Protocol):
    """People by number, and the same people with the expression of another.

    Attributes:
        attributes: A names of attributes, those of the bundle's `attributes` network.
        identity: those among them that do not depend on the expression.
        fingerprint: names everything that the pictures depend on.
    """

    attributes: Sequence[str]
    identity: Sequence[str]
    fingerprint: str

    def people(self, ids: Sequence[int] | np.ndarray) -> LabelledFaces:
        """Return people with their own expressions."""
        ...

    def target(self, emotion: str) -> np.ndarray:
        """Return the picture uint8 [S,S,3] of another person who shows one emotion.

        Raises:
            UserError: unknown emotion.
        """
        ...

    def transferred(self, ids: Sequence[int] | np.ndarray, emotion: str) -> LabelledFaces:
        """Return people with the expression of `target(emotion)`.

        Raises:
            UserError: unknown emotion.
        """
        ...


def is_known(bundle: Bundle) -> bool:
    """Whether a bundle names faces with ground truth."""
    return bundle.file(FILE) is not None


def load(bundle: Bundle, resolution: int, *, name: str = SOURCES, seed: int = 0) -> GroundTruth:
    """Return the faces with ground truth that a bundle names.

    Args:
        bundle: see `emojax.store.bundle.find`.
        resolution: side of the pictures.
        name: one of the names in the file.
        seed: of the people.

    Raises:
        UserError: the bundle names none, or something else of this package.
    """
    file, place = look_up(bundle, name)
    found = _callable(place, file)(resolution, seed)
    if not isinstance(found, GroundTruth):
        raise UserError(
            f"{place} in {file} returns no GroundTruth, see emojax.evaluation.ground_truth: name a "
            "function that returns one"
        )
    return found


def look_up(bundle: Bundle, name: str) -> tuple[Path, str]:
    """Return a bundle's file of names, and the callable that it has for one name, not imported.

    Raises:
        UserError: the bundle has no such file, or the file no such name.
    """
    file = bundle.file(FILE)
    if file is None:
        raise UserError(
            f"bundle {bundle} has no faces with ground truth ({FILE}): give pictures with "
            "--sources FOLDER or --tfds NAME"
        )
    try:
        named = dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file} is not readable JSON ({error}): write it again") from error
    if name not in named:
        raise UserError(f"{file} has no {name!r}: it names {', '.join(sorted(named))}")
    return file, str(named[name])


def _callable(place: str, file: Path) -> Callable[[int, int], object]:
    """Return the function or class of this package that `emojax.module:name` names.

    Raises:
        UserError: it has another form, is not there, or is not of that module itself.
    """
    package = __name__.partition(".")[0]
    module, _, attribute = place.partition(":")
    if not re.fullmatch(rf"{package}(\.[a-z]\w*)+:[A-Za-z]\w*", place):
        raise UserError(
            f"{file} names {place!r}, wanted {package}.module:name: bundles are untrusted and may "
            "name nothing outside this package"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{file} names {place}, which is not there ({error})") from error
    # of the module itself, not something that it imported
    if not callable(found) or getattr(found, "__module__", None) != module:
        raise UserError(f"{file} names {place}, wanted a function of that module")
    return found
