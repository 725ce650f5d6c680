"""Photographs for training: aligned once, kept as small files, and read in batches.

    WORK/faces/0000017.png    the face of photograph 17, aligned, of the network's size
    WORK/faces/faces.json     which photographs there are, and which could not be used

Batches are read by grain, ahead of the steps that need them. Which photographs a batch has depends
on seed and step alone: a resumed run reads what an undisturbed one reads, and however many
processes share a batch, together they read the same.
"""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from emojax.faces import images
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, write_json
from emojax.runtime.progress import progress
from emojax.store import run_settings
from emojax.store.reader.contents import Kind, reading
from emojax.store.reader.json_text import parse_object

FILE = "faces.json"
_KIND = Kind("a list of aligned faces", "remove the folder it is in, to align them again", 2**27)
_LOOK = 0.5
"""Seconds between two looks for what another process writes."""
_READERS = 4
"""Threads that read pictures."""
_AHEAD = 8
"""Batches that are read ahead."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Photographs by number.

    Attributes:
        names: of the N photographs, for messages.
        read: number to the aligned face, uint8 [S,S,3]; raises `UserError` where there is none.
        labels: [N] of the classes, where photographs have one.
        settings: JSON-able; all that the faces depend on beside the size.
    """

    names: Sequence[str]
    read: Callable[[int], np.ndarray]
    settings: dict[str, Any]
    labels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Photographs:
    """Aligned faces of one size, in files.

    Attributes:
        folder: of the files.
        numbers: of the n photographs that have a face.
        labels: [n] of the classes, where photographs have one.
    """

    folder: Path
    numbers: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return faces uint8 [B,R,R,3] by their place in `numbers`."""
        return np.stack([images.read(_file(self.folder, self.numbers[row])) for row in rows])


def prepare(source: Source, folder: Path, side: int) -> Photographs:
    """Align the faces of photographs and write them, unless they are there.

    Of several processes the first does it, and the others wait. A stopped run goes on where it was.

    Args:
        source: the photographs.
        folder: gets the files; one of other photographs is refused.
        side: of a face in pixels.

    Raises:
        UserError: not one photograph has a face, or the folder holds other faces or cannot be
            written.
    """
    if jax.process_index() == 0:
        run_settings.open_folder(folder, {**source.settings, "side": side}, flag="--work")
        if not (folder / FILE).is_file():
            write_json(folder / FILE, {"left_out": _align(source, folder, side)})
    while not (folder / FILE).is_file():
        time.sleep(_LOOK)
    with reading(folder / FILE, _KIND) as data:
        left_out = parse_object(data)["left_out"]
    kept = np.array([i for i in range(len(source.names)) if str(i) not in left_out], np.int64)
    if not len(kept):
        first = next(iter(left_out.values()), "there are none")
        shutil.rmtree(folder, ignore_errors=True)  # the next try will have other flags
        raise UserError(f"none of {len(source.names)} photographs can be used: {first}")
    return Photographs(folder, kept, None if source.labels is None else source.labels[kept])


def _align(source: Source, folder: Path, side: int) -> dict[str, str]:
    """Write the face of every photograph; return what is wrong with the others, by number."""
    left_out = {}
    make_folder(folder)
    with progress("aligning", len(source.names), "photographs") as shown:
        for number in range(len(source.names)):
            file = _file(folder, number)
            if not file.is_file():
                try:
                    images.write(file, images.resize(source.read(number), side))
                except UserError as error:
                    left_out[str(number)] = str(error)
            shown.advance()
    return left_out


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:07d}.png"


def left_out(folder: Path) -> list[str]:
    """Return what is wrong with the photographs that could not be used, a sentence for each."""
    return list(json.loads((folder / FILE).read_text())["left_out"].values())


def split(photographs: Photographs, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on, and those held out: of each class its share, at least one.

    Args:
        photographs: n of them.
        share: that is held out, more than 0 and less than 1.
        seed: of the choice.

    Raises:
        UserError: a class, or all photographs together, are fewer than two.
    """
    labels = photographs.labels
    labels = np.zeros(len(photographs), np.int64) if labels is None else labels
    order = np.random.default_rng(seed).permutation(len(photographs))
    held = []
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        if len(rows) < 2:
            kind = "" if photographs.labels is None else " of a class"
            raise UserError(
                f"there is {len(rows)} photograph{kind} with a face: wanted 2 or more, as one at "
                "least is held out"
            )
        held.append(rows[: min(max(1, round(share * len(rows))), len(rows) - 1)])
    kept = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(photographs)), kept), kept


def batches(
    photographs: Photographs, rows: np.ndarray, count: int, seed: int
) -> Callable[[int], Iterator[tuple[np.ndarray, np.ndarray]]]:
    """Return a function from a step to the batches from it on: places in `rows`, and faces.

    Every epoch has another order. Of several processes each gets its own part of every batch.

    Args:
        photographs: to read from.
        rows: of those to train on.
        count: photographs of a batch, of all processes together; a multiple of their number.
        seed: of the order.

    Raises:
        UserError: grain is not installed.
    """
    grain = _grain()
    each = count // jax.process_count()
    mine = slice(each * jax.process_index(), each * (jax.process_index() + 1))

    def load(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return places[mine], photographs.read(rows[places[mine]])

    order = grain.MapDataset.range(len(rows)).seed(seed % 2**32).shuffle().repeat()
    loaded = order.batch(count).map(load)
    ahead = grain.ReadOptions(num_threads=_READERS, prefetch_buffer_size=_AHEAD)

    def start(step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return iter(loaded[step:].to_iter_dataset(ahead))

    return start


def _grain() -> Any:
    try:
        import grain  # late: an extra of the installation
    except ImportError as error:
        raise UserError(
            "training reads photographs with grain, which is not installed: run "
            "'pip install \"emojax[train]\"'"
        ) from error
    return grain
