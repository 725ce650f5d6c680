"""Zip archives whose records become arrays, and `.npz` files; every size in them is untrusted.

An uncompressed record becomes a view of the mapped file, after its CRC-32 has been checked piece by
piece. A compressed one (in some `.npz` files) is expanded in memory, within the budget.
"""

import mmap
import struct
import zipfile
from typing import BinaryIO

import numpy as np

from convert.reader.budget import Budget
from convert.reader.records import Unreadable, Unsupported
from emojax.store.reader.directory import open_zip
from emojax.store.reader.npy import read_npy

_CHUNK = 2**20  # bytes
_RECORD_OPERATIONS = 50  # what opening one record costs
_HEADER_BYTES = 8  # of an array's header that are parsed in one operation

_LOCAL_HEADER = struct.Struct("<26x2H")  # lengths of the name and of the extra field come last


class Archive:
    """A zip file whose records become uint8 arrays.

    Args:
        file: the file, open while records are read.
        mapped: the same file, mapped for reading.
        budget: the work that is left.

    Raises:
        Unreadable: two records bear the same name, or there are too many.
        zipfile.BadZipFile: the directory at the end is missing or damaged.
    """

    def __init__(self, file: BinaryIO, mapped: mmap.mmap, budget: Budget):
        self._mapped = mapped
        self._budget = budget
        self._zip = open_zip(file)
        self._mapped_left = len(mapped)
        self._records: dict[str, np.ndarray] = {}
        self.names = dict.fromkeys(self._zip.namelist())  # a set that keeps their order
        if len(self.names) < len(self._zip.infolist()):
            raise Unreadable("two records of the zip archive bear the same name")

    def read(self, name: str) -> np.ndarray:
        """Return the bytes of a record, uint8 [n], read-only, each record once.

        Raises:
            Unreadable: there is no such record, or it is too large.
            Unsupported: it is encrypted, or compressed otherwise than by deflation.
            zipfile.BadZipFile: its header or its CRC-32 is wrong.
        """
        if name not in self._records:
            if name not in self.names:
                raise Unreadable(f"its record {name[:100]!r} is missing")
            self._budget.spend(_RECORD_OPERATIONS)
            info = self._zip.getinfo(name)
            self._check(info)
            stored = info.compress_type == zipfile.ZIP_STORED
            self._records[name] = self._map(info) if stored else self._expand(info)
        return self._records[name]

    def _check(self, info: zipfile.ZipInfo) -> None:
        """Refuse what only other programs write: some methods expand without any bound."""
        if info.flag_bits & 0x1:
            raise Unsupported(f"its record {info.filename[:100]!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unsupported(
                f"its record {info.filename[:100]!r} is compressed by method {info.compress_type}, "
                "wanted none or deflation"
            )

    def _map(self, info: zipfile.ZipInfo) -> np.ndarray:
        self._mapped_left -= info.file_size
        if self._mapped_left < 0:  # each CRC would cost a pass over the file
            raise Unreadable("its records overlap or are larger than the file")
        with self._zip.open(info) as stream:  # compares the two headers, and the CRC at the end
            while stream.read(_CHUNK):
                pass
        lengths = _LOCAL_HEADER.unpack_from(self._mapped, info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + sum(lengths)
        if info.compress_size != info.file_size or start + info.file_size > len(self._mapped):
            raise Unreadable(f"its record {info.filename[:100]!r} does not fit into the file")
        return np.ndarray(info.file_size, np.uint8, buffer=self._mapped, offset=start)

    def _expand(self, info: zipfile.ZipInfo) -> np.ndarray:
        self._budget.hold(info.file_size)
        data, filled = np.empty(info.file_size, np.uint8), 0
        with self._zip.open(info) as stream:
            while piece := stream.read(_CHUNK):  # never more than the size in the directory
                data[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
        if filled < data.size:
            raise Unreadable(f"its record {info.filename[:100]!r} is cut short")
        data.flags.writeable = False
        return data


def read_npz(archive: Archive, budget: Budget) -> dict[str, np.ndarray]:
    """Return the arrays of a `.npz` file by name; mapped unless the file is compressed.

    Raises:
        Unreadable: it asks for too much.
        ValueError: an array is not as long as its header says, or not of numbers or text.
    """
    found = {}
    for name in archive.names:
        data = archive.read(name)
        budget.spend(int.from_bytes(data[8:10].tobytes(), "little") // _HEADER_BYTES)
        if data.flags.owndata:  # expanded: another byte order is turned in place
            data.flags.writeable = True
        array = read_npy(data.data)
        budget.claim(array.nbytes)
        found[name.removesuffix(".npy")] = array
    return found
