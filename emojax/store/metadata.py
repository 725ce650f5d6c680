"""`metadata.json` of a part: what network it is, where it came from, and the hashes of its files.

    {"network": "Generator", "config": {...}, "source": {...}, "parameters": 1234,
     "weights_sha256": "...", "weights_checksum": "...", "jax": "0.10.2"}

The hash names the weights, the checksum is compared whenever they are loaded; see
`emojax.store.fingerprint`. Releases before 2026-11-27 wrote no checksum: the weights of their parts
are compared with the hash, which takes reading them twice.
"""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from emojax.runtime.errors import UserError, shortened
from emojax.store.reader.contents import Kind, reading, shown
from emojax.store.reader.fields import record
from emojax.store.reader.json_text import parse_object

FILE = "metadata.json"
"""Name of the file in a part's folder."""

AGAIN = "convert the file again, or copy the whole bundle again"
"""What helps against damage."""

_KIND = Kind("metadata of a part", AGAIN, most=2**22)

_LARGEST = {"": 8192, "n_mlp": 64, "units": 64, "width": 8, "depth": 8, "conv_clamp": 1e6}
"""Largest numbers of a config; "" for all fields that are not named. Published networks have less
than a quarter of each, and what is allowed is built in seconds."""


@dataclasses.dataclass(frozen=True)
class _Classes:
    """The one field of a classifier's config that is needed without its network."""

    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What the metadata of a part says.

    Attributes:
        network: name of the network's class.
        config: fields of its config.
        source: where it came from.
        weights_sha256: of its table, see `emojax.store.fingerprint`.
        parameters: number of values.
        jax: release that wrote it.
        weights_checksum: of its table, see `emojax.store.fingerprint.combined`; "" in files of
            earlier releases.
    """

    network: str
    config: dict[str, Any]
    source: dict[str, Any]
    weights_sha256: str
    parameters: int = 0
    jax: str = ""
    weights_checksum: str = ""

    def classes(self, file: Path) -> tuple[str, ...]:
        """Return the classes of a classifier.

        Args:
            file: of the metadata, for messages.

        Raises:
            UserError: the config has none.
        """
        kept = {"classes": self.config["classes"]} if "classes" in self.config else {}
        return dataclasses.replace(self, config=kept).made_config(_Classes, file).classes

    def made_config(self, made: type[Any], file: Path) -> Any:
        """Return the config as its dataclass.

        Args:
            made: the class of the config.
            file: of the metadata, for messages.

        Raises:
            UserError: a field is unknown, of another type or absurdly large.
        """
        try:
            return record(made, self.config, _LARGEST)
        except ValueError as error:
            raise UserError(
                f"{shown(file)} holds a config that {made.__name__} does not take "
                f"({shortened(error, 120)}): convert the file again with this version"
            ) from error


def read(file: Path) -> Metadata:
    """Read the metadata of a part.

    Raises:
        UserError: it is missing, damaged or something else.
    """
    with reading(file, _KIND) as data:
        return record(Metadata, parse_object(data))


def readable(stored: dict[str, Any]) -> str:
    """Return indented JSON with every list of plain values on one line."""
    text = json.dumps(stored, indent=2) + "\n"
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text)
