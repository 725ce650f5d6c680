"""What is known of a film, in parts and chunks of frames: one `.npz` file for each chunk of a part.

As `emojax.store.block_store`, but the number of frames is not known before the film has been read,
and a chunk has rows for those of its frames alone in which a face is.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder
from emojax.store import array_file
from emojax.store.reader.contents import Kind, Malformed, reading

_KIND = Kind("a sound chunk of a film", "give the same command again, which makes it again")


class ChunkStore:
    """A folder of named arrays, whose first axis is frames.

    Attributes:
        folder: where the files are.
        chunk: frames of a chunk, at most.
    """

    def __init__(self, folder: Path, chunk: int) -> None:
        """Hold a folder; `write` makes it."""
        self.folder, self.chunk = folder, chunk

    def has(self, part: str, number: int) -> bool:
        """Whether a chunk of a part is there and sound; reads it."""
        if not self._file(part, number).is_file():
            return False
        try:
            self.read(part, number)
        except UserError:
            return False
        return True

    def write(self, part: str, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a chunk of a part, aside and then renamed.

        Raises:
            UserError: the file cannot be written.
        """
        file = self._file(part, number)
        make_folder(file.parent)
        array_file.write(file, arrays, {"part": part, "chunk": number})

    def read(self, part: str, number: int) -> dict[str, np.ndarray]:
        """Return the arrays of a chunk of a part.

        Raises:
            UserError: the chunk is missing or damaged, or is another's.
        """
        with reading(self._file(part, number), _KIND) as data:
            table, about = array_file.parse(data)
            if about != {"part": part, "chunk": number}:
                raise Malformed("it is the file of another chunk")
            names = [name for name in table if name != array_file.ABOUT]
            counts = {table.size(name) for name in names}
            if len(counts) != 1 or not 1 <= min(counts) <= self.chunk:
                raise Malformed(f"it has arrays of {sorted(counts)} rows")
            return {name: table.rows(name, min(counts)) for name in names}

    def _file(self, part: str, number: int) -> Path:
        return self.folder / part / f"{number:05d}.npz"
