"""Where results lie: a folder, or an address in an object store. Nothing else asks which it is.

A name is the path of a file below the place, with slashes. What is written appears whole or not at
all: in a folder by rename, in an object store because it takes an object in one request. Whatever
only one of several processes may do, `create` and `replace` decide; there are no lock files.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from emojax.runtime import asides, locks
from emojax.runtime.files import make_folder, replacing
from emojax.store.reader.contents import Kind, contents, explained

_ADDRESS = re.compile(r"(s3|gs)://")


class Place(Protocol):
    """Files by name; `str` gives the place as the user named it."""

    @property
    def path(self) -> Path | None:
        """The folder; None in an object store."""
        ...

    def sizes(self, under: str) -> dict[str, int]:
        """Return the bytes of the files in one folder of the place, by their name in the place."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing is there, or the place itself is not."""
        ...

    def read(self, name: str, most: int) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: there is none.
            Malformed: it is something else than a file, or larger than `most`.
            OSError: it cannot be read.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write or replace a file; on return it is kept.

        Raises:
            UserError: it cannot be written.
        """
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one; whether it was written.

        Raises:
            UserError: it cannot be written.
        """
        ...

    def replace(self, name: str, old: bytes, new: bytes) -> bool:
        """Write a file if it still holds `old`; whether it was written.

        Raises:
            UserError: it cannot be written.
        """
        ...

    def file(self, name: str) -> AbstractContextManager[Path]:
        """Give a path to write to, of the suffix of `name`; put it there when the block ends well.

        Raises:
            UserError: it cannot be written.
        """
        ...

    def copy(self, name: str) -> AbstractContextManager[Path]:
        """Give a path to read a file from, with its suffix; it may be gone after the block.

        Raises:
            FileNotFoundError: there is none.
            UserError: it cannot be read.
        """
        ...


Location = str | os.PathLike[str] | Place
"""A place, the path of a folder, or an address such as s3://BUCKET/FOLDER or gs://BUCKET/FOLDER."""


def is_address(location: object) -> bool:
    """Whether a location is an address in an object store."""
    return isinstance(location, str) and bool(_ADDRESS.match(location))


def at(location: Location) -> Place:
    """Return the place of a path or an address.

    Raises:
        UserError: the address names no bucket, or the library for object stores is not installed.
    """
    if isinstance(location, str) and is_address(location):
        from emojax.store.object_store import ObjectStore  # late: an extra of the installation

        return ObjectStore(location)
    return Folder(Path(location)) if isinstance(location, str | os.PathLike) else location


@contextlib.contextmanager
def reading(place: Place, name: str, kind: Kind) -> Iterator[bytes]:
    """Give the bytes of a file, and turn what is found wrong with them into one sentence.

    Args:
        place: where it is.
        name: of the file.
        kind: what it should be.

    Yields:
        Its contents.

    Raises:
        UserError: it is missing, too large or no file, or the block raised `Malformed` or another
            `ValueError`.
    """
    with explained(f"{place}/{name}", kind):
        yield place.read(name, kind.most)


class Folder:
    """A folder on a disk, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        """Hold its path."""
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def sizes(self, under: str) -> dict[str, int]:
        """See `Place`; without files on their way, whose names begin with a dot; with pipes."""
        folder = self.path / under
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            files = [
                each for each in entries if not each.name.startswith(".") and not each.is_dir()
            ]
            return {f"{under}/{each.name}": each.stat().st_size for each in files}

    def is_empty(self) -> bool:
        """See `Place`; locks and what an interrupted run left of files on their way are nothing."""
        if not self.path.exists():
            return True
        return self.path.is_dir() and all(
            file.name == locks.FILE or file.name.startswith(asides.PART)
            for file in self.path.iterdir()
        )

    def read(self, name: str, most: int) -> bytes:
        """See `Place`."""
        return contents(self.path / name, most)

    def write(self, name: str, data: bytes) -> None:
        """See `Place`."""
        with self.file(name) as aside:
            aside.write_bytes(data)

    def create(self, name: str, data: bytes) -> bool:
        """See `Place`; on a disk without hard links, of two processes at once both may write."""
        file = self.path / name
        make_folder(file.parent)
        try:
            with asides.file(file.parent, file.suffix) as aside:
                aside.write_bytes(data)
                os.link(aside, file)
        except FileExistsError:
            return False
        except OSError:
            if file.exists():
                return False
            self.write(name, data)
        return True

    def replace(self, name: str, old: bytes, new: bytes) -> bool:
        """See `Place`; on a disk, of two processes in the same instant both may write."""
        if (self.path / name).read_bytes() != old:
            return False
        self.write(name, new)
        return True

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """See `Place`."""
        make_folder((self.path / name).parent)
        with replacing(self.path / name) as aside:
            yield aside

    @contextlib.contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        """See `Place`; the file itself."""
        if not (self.path / name).exists():
            raise FileNotFoundError(self.path / name)
        yield self.path / name
