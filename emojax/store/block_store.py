"""Results of a run in parts and blocks: one `.npz` file for every block of samples of a part.

`PART/00003.npz` holds the fourth block. A file is written aside and renamed, so one that is there
is complete; when a run goes on with the folder is told in `emojax.store.run_settings`.
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, replacing
from emojax.store import run_settings

Arrays = dict[str, np.ndarray]


class BlockStore:
    """A folder of named arrays whose first axis is the samples, cut into blocks.

    Attributes:
        folder: where the files are.
        samples: number of samples of every part.
        block: samples of a block; the last block may be shorter.
    """

    def __init__(self, folder: Path, samples: int, block: int) -> None:
        """Hold a folder; `create` makes it."""
        self.folder, self.samples, self.block = folder, samples, block

    @classmethod
    def create(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """Make the folder, or open the one that the same settings made.

        Args:
            folder: where the results are.
            settings: JSON-able; all that they depend on, "samples" and "block" among them.

        Raises:
            UserError: other settings made it, or it cannot be written.
        """
        run_settings.open_folder(folder, settings)
        return cls(folder, settings["samples"], settings["block"])

    @property
    def blocks(self) -> int:
        """Number of blocks; the last may be shorter."""
        return -(-self.samples // self.block)

    def ids(self, block: int) -> range:
        """Return the sample ids of a block."""
        return range(block * self.block, min((block + 1) * self.block, self.samples))

    def has(self, part: str, block: int) -> bool:
        """Whether a block of a part is there."""
        return self._file(part, block).is_file()

    def write(self, part: str, block: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a block; rows beyond its samples, which pad a batch, are left out.

        Raises:
            UserError: the file cannot be written.
        """
        file, rows = self._file(part, block), len(self.ids(block))
        kept: dict[str, Any] = {name: array[:rows] for name, array in arrays.items()}
        make_folder(file.parent)
        with replacing(file) as aside, aside.open("wb") as stream:
            np.savez(stream, **kept)

    def read_block(self, part: str, block: int, names: Sequence[str] = ()) -> Arrays:
        """Return one block of a part, or those of its arrays that are named and there.

        Raises:
            UserError: the block is missing or damaged.
        """
        file = self._file(part, block)
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored if not names or name in names}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(
                f"{file} is damaged ({error}): delete it and give the same command again"
            ) from error

    def read(self, part: str, names: Sequence[str] = ()) -> Arrays:
        """Return all samples of a part, or of those of its arrays that are named and there.

        Raises:
            UserError: a block is missing or damaged.
        """
        blocks = [self.read_block(part, block, names) for block in range(self.blocks)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _file(self, part: str, block: int) -> Path:
        return self.folder / part / f"{block:05d}.npz"
