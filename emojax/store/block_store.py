"""Results by parts and blocks: a folder that a run fills, and the next one goes on with.

`settings.json`, and PART/0003.npz for the fourth block of samples of a part. A file is written
aside and renamed, so one that is there is complete.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, replacing

Arrays = dict[str, np.ndarray]


class Store:
    """Named arrays whose first axis is the samples, in blocks of so many."""

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
        file, settings = folder / "settings.json", json.loads(json.dumps(settings))
        if file.exists():
            try:
                stored = dict(json.loads(file.read_text()))
            except (OSError, ValueError, TypeError) as error:
                raise UserError(
                    f"{file} holds no settings ({error}): choose another --out"
                ) from error
            if found := _differences(stored, settings):
                raise UserError(
                    f"{folder} holds results of another run ({found}): give the same options to go "
                    "on with it, or another --out"
                )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} holds something else than results: choose another --out")
        else:
            make_folder(folder)
            with replacing(file) as aside:
                aside.write_text(json.dumps(settings, indent=2) + "\n")
        return cls(folder, settings["samples"], settings["block"])

    @property
    def blocks(self) -> int:
        """Number of blocks; the last may be shorter."""
        return -(-self.samples // self.block)

    def ids(self, block: int) -> range:
        """Return the samples of a block."""
        return range(block * self.block, min((block + 1) * self.block, self.samples))

    def has(self, part: str, block: int) -> bool:
        """Whether a block of a part is there."""
        return self._file(part, block).is_file()

    def write(self, part: str, block: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a block; rows beyond it, which fill a batch, are left out.

        Raises:
            UserError: the file cannot be written.
        """
        file, rows = self._file(part, block), len(self.ids(block))
        make_folder(file.parent)
        with replacing(file) as aside, aside.open("wb") as stream:
            np.savez(stream, **{name: array[:rows] for name, array in arrays.items()})

    def read_block(self, part: str, block: int, names: Sequence[str] = ()) -> Arrays:
        """Return one block of a part, or the arrays of it that are named and there.

        Raises:
            UserError: it is missing or damaged.
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
        """Return a whole part, or the arrays of it that are named and there.

        Raises:
            UserError: a block is missing or damaged.
        """
        blocks = [self.read_block(part, block, names) for block in range(self.blocks)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _file(self, part: str, block: int) -> Path:
        return self.folder / part / f"{block:05d}.npz"


def _differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the settings that differ: "samples 512, now 2000"."""
    return ", ".join(
        f"{name} {stored.get(name)}, now {wanted.get(name)}"
        for name in {**stored, **wanted}
        if stored.get(name) != wanted.get(name)
    )
