"""Named arrays in one file, NumPy's .npz: read within a budget, written the same at any time."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from emojax.store.reader.contents import Malformed
from emojax.store.reader.directory import open_zip
from emojax.store.reader.npy import read_npy

_MOST_ARRAYS = 1000
_EXPANDED = 2**27
"""Bytes that compressed arrays may take beyond twice the file."""
_CHUNK = 2**20
"""Bytes of a record that are expanded at a time."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip file can hold, as NumPy writes: the same arrays are the same bytes."""


def read_npz(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a .npz file by name, after its CRC-32 has been checked; read-only.

    Raises:
        Malformed: it is no .npz, is damaged, or claims more than an honest file of its size.
    """
    try:
        with open_zip(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check(members, len(data))
            return {each.filename.removesuffix(".npy"): _member(archive, each) for each in members}
    except Malformed:
        raise
    except (  # what zipfile raises over damaged archives
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        ValueError,
        LookupError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise Malformed(f"no readable .npz, {error or type(error).__name__}") from error


def write_npz(stream: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of numbers and text as .npz, uncompressed; equal arrays give equal bytes."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _DATE)
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _check(members: list[zipfile.ZipInfo], size: int) -> None:
    if len(members) > _MOST_ARRAYS or len({each.filename for each in members}) < len(members):
        raise Malformed(f"it is a zip archive of {len(members)} records, some of one name")
    claimed = sum(each.file_size for each in members)
    if claimed > 2 * size + _EXPANDED:
        raise Malformed(f"it has {size:,} bytes and claims to expand to {claimed:,}")
    for each in members:
        if each.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Malformed(f"it is compressed by method {each.compress_type}, not by NumPy")
        if each.flag_bits & 1:
            raise Malformed("it is encrypted")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    data, filled = np.empty(member.file_size, np.uint8), 0
    with archive.open(member) as stream:  # gives no more than it claims, then compares the CRC
        while piece := stream.read(_CHUNK):  # whole, it would be in memory twice
            data[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
    if filled != data.size:
        raise Malformed(f"it claims {data.size:,} bytes of a record and has {filled:,}")
    return read_npy(data)
