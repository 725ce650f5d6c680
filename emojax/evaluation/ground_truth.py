"""Worlds of which everything is known: pictures of people, and the truth that no photograph tells.

A bundle whose networks were trained on drawn people may say so in `world.json`:

    {"sources": "emojax.some.module:sources"}

The name is that of a callable `(resolution, seed) -> World` in this package. A bundle is not to be
trusted, so nothing outside the package is imported or called.
"""

import importlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from emojax.runtime.errors import UserError
from emojax.store.bundle import Bundle

FILE = "world.json"
"""Name of the file in a bundle's folder."""
SOURCES = "sources"
"""The set of people that is used by default."""


class Truth(NamedTuple):
    """What is true of N people with some expression.

    Attributes:
        pictures: uint8 [N,S,S,3].
        attributes: [N,A] float32, in the order of `World.attributes`.
    """

    pictures: np.ndarray
    attributes: np.ndarray


@runtime_checkable
class World(Protocol):
    """People by number, and the same people with another's expression.

    Attributes:
        attributes: A names of what is told of a face, those of the bundle's `attributes` network.
        identity: those among them that an expression leaves as they are.
        fingerprint: names everything that the pictures depend on.
    """

    attributes: Sequence[str]
    identity: Sequence[str]
    fingerprint: str

    def people(self, ids: Sequence[int]) -> Truth:
        """Return people as they are."""

    def target(self, emotion: str) -> np.ndarray:
        """Return the picture uint8 [S,S,3] of somebody else who shows one emotion.

        Raises:
            UserError: the world does not know it.
        """

    def transferred(self, ids: Sequence[int], emotion: str) -> Truth:
        """Return people with the expression of `target(emotion)`."""


def is_known(bundle: Bundle) -> bool:
    """Whether a bundle names a world of its own."""
    return bundle.file(FILE) is not None


def load(bundle: Bundle, resolution: int, *, name: str = SOURCES, seed: int = 0) -> World:
    """Return the world that a bundle names.

    Args:
        bundle: see `emojax.store.bundle.find`.
        resolution: side of the pictures.
        name: which of the sets of people in the file.
        seed: whose faces.

    Raises:
        UserError: the bundle names none, or something that is no world of this package.
    """
    file = bundle.file(FILE)
    if file is None:
        raise UserError(
            f"bundle {bundle} names no world of its own ({FILE}): give pictures with "
            "--sources FOLDER or --tfds NAME"
        )
    try:
        named = dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file} is not readable JSON ({error}): write it again") from error
    if name not in named:
        raise UserError(f"{file} has no {name!r}: it names {', '.join(sorted(named))}")
    world = _find(str(named[name]), file)(resolution, seed)
    if not isinstance(world, World):
        raise UserError(
            f"{named[name]} in {file} gives no world: see emojax.evaluation.ground_truth.World"
        )
    return world


def _find(place: str, file: Path) -> type[World]:
    """Return the function or class of this package that `emojax.module:name` names."""
    package = __name__.partition(".")[0]
    module, _, attribute = place.partition(":")
    if not re.fullmatch(rf"{package}(\.[a-z]\w*)+:[A-Za-z]\w*", place):
        raise UserError(
            f"{file} names {place!r}, wanted {package}.module:name: a bundle is not to be trusted "
            "and may name nothing outside this package"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{file} names {place}, which is not there ({error})") from error
    # of the module itself, not something that it imported
    if not callable(found) or getattr(found, "__module__", None) != module:
        raise UserError(f"{file} names {place}, wanted a function of that module")
    return found
