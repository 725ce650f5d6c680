"""Faces with ground truth: people whose attributes, and whose every expression, are known.

A bundle whose networks were trained on drawn people may name them in `world.json`:

    {"sources": "emojax.demo.truth:sources"}

The value is one of `KNOWN`, each a function `(resolution, seed) -> GroundTruth` of this package.
Bundles are untrusted, so nothing else is imported or called.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from emojax.runtime.errors import UserError, shortened
from emojax.store.bundle import Bundle
from emojax.store.reader.contents import Kind, reading, shown
from emojax.store.reader.json_text import parse_object

FILE = "world.json"
"""Name of the file in a bundle's folder."""
_KIND = Kind("a list of ground truths", "write it again", most=2**16)
KNOWN = ("emojax.demo.truth:sources", "emojax.demo.truth:drawings")
"""All that a bundle may name, as module:function."""
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

    def targets(self, emotion: str, count: int = 1) -> np.ndarray:
        """Return pictures uint8 [P,S,S,3] of P other people who show one emotion.

        Args:
            emotion: which.
            count: P; the first people are the same whatever P is.

        Raises:
            UserError: unknown emotion.
        """
        ...

    def transferred(self, ids: Sequence[int] | np.ndarray, emotion: str) -> LabelledFaces:
        """Return people with the expression that the targets of an emotion show.

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
    _, place = look_up(bundle, name)
    module, _, attribute = place.partition(":")
    made: Callable[[int, int], GroundTruth] = getattr(importlib.import_module(module), attribute)
    return made(resolution, seed)


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
    with reading(file, _KIND) as data:
        named = parse_object(data)
    if name not in named:
        listed = shortened(", ".join(sorted(named)) or "nothing", 100)
        raise UserError(f"{shown(file)} has no {name!r}: it names {listed}")
    if named[name] not in KNOWN:
        raise UserError(
            f"{shown(file)} names '{shortened(named[name], 60)}': bundles are untrusted and may "
            f"name {' or '.join(KNOWN)}"
        )
    return file, named[name]
