"""Rows of score tables that releases before 2026-11-27 wrote: two zarr arrays.

They are read as they are and never written: a chunk that is scored again goes into the table's own
files. A chunk whose codes are lost, or whose files are damaged, is refused as a whole.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emojax.runtime.errors import shortened
from emojax.store.reader.contents import Malformed

_NAMES = ("codes", "probabilities")
_LARGEST = 2**25
"""Values of a chunk."""


class Rows(NamedTuple):
    """Consecutive rows of a table.

    Attributes:
        codes: [n, D] float32 or float16.
        scores: [n, S] float32.
    """

    codes: np.ndarray
    scores: np.ndarray


def is_there(folder: Path) -> bool:
    """Whether a folder holds such a table."""
    return any((folder / name).is_dir() for name in _NAMES)


def sizes(folder: Path) -> dict[int, int]:
    """Return the bytes of the codes of every chunk that has a file of either kind, by number."""
    found: dict[int, int] = {}
    for name in reversed(_NAMES):
        for file in (folder / name / "c").glob("*/0"):
            if file.parent.name.isascii() and file.parent.name.isdigit():
                found[int(file.parent.name)] = file.stat().st_size
    return found


def read(folder: Path, rows: range, chunk: int, widths: tuple[int, int], dtype: str) -> Rows | None:
    """Return the rows of a chunk that are there, from its first on; None where there are none.

    Args:
        folder: of the table.
        rows: ids of the chunk.
        chunk: rows of a whole chunk.
        widths: of codes and of probabilities.
        dtype: of codes.

    Raises:
        Malformed: its files are damaged, of another shape, or hold probabilities without codes.
    """
    stores = [_opened(folder / name) for name in _NAMES]
    for store, name, width, wanted in zip(stores, _NAMES, widths, (dtype, "float32"), strict=True):
        if store.rank != 2 or store.shape[1] != width or store.dtype.name != wanted:
            raise Malformed(f"{name} is {list(store.shape)[:4]} of {store.dtype.name}")
        if store.chunk_layout.read_chunk.shape != (chunk, width) or chunk * width > _LARGEST:
            raise Malformed(f"{name} lies in pieces of another size")
    stop = min(rows.stop, *(store.shape[0] for store in stores))
    if stop <= rows.start:
        return None
    try:
        codes, probabilities = (store[rows.start : stop].read().result() for store in stores)
    except (OSError, ValueError, RuntimeError) as error:
        raise Malformed(shortened(" ".join(str(error).split()), 100)) from error
    there = np.isfinite(probabilities).all(1)
    count = len(there) if there.all() else int(there.argmin())
    if not np.isfinite(codes[:count]).all():
        raise Malformed("its codes are lost, its probabilities are there")
    return Rows(codes[:count], probabilities[:count]) if count else None


def _opened(folder: Path) -> Any:
    import tensorstore  # late: takes a while, and newer tables do without

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder.resolve())}}
    try:
        return tensorstore.open(spec, open=True, read=True).result()
    except (OSError, ValueError, RuntimeError) as error:
        raise Malformed(shortened(" ".join(str(error).split()), 100)) from error
