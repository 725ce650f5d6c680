"""The list of records at the end of a zip archive, of a bounded size."""

import zipfile
from typing import Any, BinaryIO, cast

from emojax.store.reader.contents import Malformed

LARGEST = 2**21
"""Bytes of a directory, of at least 46 bytes for each record: parsing it takes 30 MB and 0.4 s."""


def open_zip(stream: BinaryIO) -> zipfile.ZipFile:
    """Open a zip archive whose records are read in pieces of at most `LARGEST` bytes.

    Raises:
        Malformed: its directory is larger.
        zipfile.BadZipFile: the directory is missing or damaged.
    """
    return zipfile.ZipFile(cast(BinaryIO, _InPieces(stream)))


class _InPieces:
    """A file that is read in pieces of bounded size: `zipfile` reads a directory in one."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; of a negative size all, which is asked for at the end only.

        Raises:
            Malformed: that is more than any sound directory.
        """
        if size > LARGEST:
            raise Malformed("it is a zip archive of far too many records")
        return self._stream.read(size)
