"""A file of results: named arrays, and a JSON object `about` that says what they are.

Written aside and renamed; every array carries a CRC-32, and equal contents are equal bytes.
"""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emojax.runtime.files import replacing
from emojax.store.reader.json_text import parse_object
from emojax.store.reader.npz import read_npz, write_npz
from emojax.store.reader.tables import Table

ABOUT = "about"
"""Name of the array with the JSON text."""


def write(
    file: str | os.PathLike, arrays: Mapping[str, Any], about: Mapping[str, Any] | None = None
) -> None:
    """Write arrays of numbers or text.

    Args:
        file: to write or replace; its folder exists.
        arrays: by name.
        about: JSON-able; None: the file says nothing of itself.

    Raises:
        UserError: the file cannot be written.
    """
    with replacing(Path(file)) as aside, aside.open("wb") as stream:
        write_npz(stream, _named(arrays, about))


def encode(arrays: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of the file that `write` writes."""
    stream = io.BytesIO()
    write_npz(stream, _named(arrays, about))
    return stream.getvalue()


def _named(arrays: Mapping[str, Any], about: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    named = {name: np.asarray(array) for name, array in arrays.items()}
    if about is not None:
        named[ABOUT] = np.array(json.dumps(about))
    return named


def parse(data: bytes) -> tuple[Table, dict[str, Any]]:
    """Return the arrays of a file, to be asked for by name and shape, and what it says of itself.

    Raises:
        Malformed: the bytes are damaged or something else.
    """
    table = Table(read_npz(data))
    return table, parse_object(table.text(ABOUT)) if ABOUT in table else {}
