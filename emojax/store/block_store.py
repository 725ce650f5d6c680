"""Results of a run in parts and blocks: one `.npz` file for every block of samples of a part.

`PART/00003.npz` holds the fourth block. A file that is there is complete, see `emojax.store.place`;
when a run goes on with the folder is told in `emojax.store.run_settings`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from emojax.runtime.errors import UserError
from emojax.store import array_file, run_settings
from emojax.store.place import Location, at, reading
from emojax.store.reader.contents import Kind, Malformed

Arrays = dict[str, np.ndarray]

_KIND = Kind("a sound block of results", "give the same command again, which makes it again")


class BlockStore:
    """A folder of named arrays whose first axis is the samples, cut into blocks.

    Attributes:
        place: where the files are.
        samples: number of samples of every part.
        block: samples of a block; the last block may be shorter.
    """

    def __init__(self, location: Location, samples: int, block: int) -> None:
        """Hold a place; `create` makes it."""
        self.place, self.samples, self.block = at(location), samples, block

    @classmethod
    def create(cls, location: Location, settings: Mapping[str, Any]) -> Self:
        """Make the folder, or open the one that the same settings made.

        Args:
            location: where the results are.
            settings: JSON-able; all that they depend on, "samples" and "block" among them.

        Raises:
            UserError: other settings made it, or it cannot be written.
        """
        run_settings.open_folder(location, settings)
        return cls(location, settings["samples"], settings["block"])

    @property
    def blocks(self) -> int:
        """Number of blocks; the last may be shorter."""
        return -(-self.samples // self.block)

    def ids(self, block: int) -> range:
        """Return the sample ids of a block."""
        return range(block * self.block, min((block + 1) * self.block, self.samples))

    def padded(self, block: int) -> np.ndarray:
        """Return the sample ids of a block, the last repeated to fill it: XLA compiles once."""
        first = block * self.block
        return np.minimum(np.arange(first, first + self.block), self.samples - 1)

    def has(self, part: str, block: int) -> bool:
        """Whether a block of a part is there and sound; reads it."""
        try:
            self.read_block(part, block)
        except UserError:
            return False
        return True

    def write(self, part: str, block: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a block; rows beyond its samples, which pad a batch, are left out.

        Raises:
            UserError: the file cannot be written.
        """
        rows = len(self.ids(block))
        kept = {name: array[:rows] for name, array in arrays.items()}
        data = array_file.encode(kept, {"part": part, "block": block})
        self.place.write(_name(part, block), data)

    def read_block(self, part: str, block: int, names: Sequence[str] = ()) -> Arrays:
        """Return one block of a part, or those of its arrays that are named and there.

        Raises:
            UserError: the block is missing or damaged, or is another's.
        """
        with reading(self.place, _name(part, block), _KIND) as data:
            table, about = array_file.parse(data)
            if about and about != {"part": part, "block": block}:  # earlier releases wrote none
                raise Malformed("it is the file of another block")
            rows = len(self.ids(block))
            if not set(table) - {array_file.ABOUT}:
                raise Malformed("it holds no arrays")
            chosen = [name for name in table if not names or name in names]
            return {name: table.rows(name, rows) for name in chosen if name != array_file.ABOUT}

    def read(self, part: str, names: Sequence[str] = ()) -> Arrays:
        """Return all samples of a part, or of those of its arrays that are named and there.

        Raises:
            UserError: a block is missing or damaged.
        """
        blocks = [self.read_block(part, block, names) for block in range(self.blocks)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _name(part: str, block: int) -> str:
    return f"{part}/{block:05d}.npz"
