"""Zip archives, `.npz` and `.safetensors` files as memory-mapped arrays; their bytes are untrusted.

An uncompressed record becomes a view of the mapped file, after its CRC-32 has been checked piece by
piece. Compressed records (some `.npz` files) are expanded in memory, up to a bound.
"""

import io
import json
import math
import mmap
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from convert.reader.records import Unreadable, Unsupported
from convert.reader.storages import DTYPES, Storage, naturals, tensor

_CHUNK = 2**20  # bytes
_LARGEST_EXPANSION = 100  # times the file, and never less than the next line
_SMALL_EXPANSION = 2**26  # bytes

_LOCAL_HEADER = struct.Struct("<26x2H")  # lengths of the name and of the extra field come last

_SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}


class Archive:
    """A zip file whose records become uint8 arrays.

    Args:
        path: the file.
        mapped: the same file, mapped for reading.

    Raises:
        Unreadable: two records bear the same name.
        zipfile.BadZipFile: the directory at the end is missing or damaged.
    """

    def __init__(self, path: Path, mapped: mmap.mmap):
        self._mapped = mapped
        self._zip = zipfile.ZipFile(path)
        self._mapped_left = len(mapped)
        self._expanded_left = max(_SMALL_EXPANSION, _LARGEST_EXPANSION * len(mapped))
        self._records: dict[str, np.ndarray] = {}
        self.names = dict.fromkeys(self._zip.namelist())  # a set that keeps their order
        if len(self.names) < len(self._zip.infolist()):
            self.close()
            raise Unreadable("two records of the zip archive bear the same name")

    def close(self) -> None:
        """Close the zip file; arrays stay valid."""
        self._zip.close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def read(self, name: str) -> np.ndarray:
        """Return the bytes of a record, uint8 [n], read-only, each record once.

        Raises:
            Unreadable: there is no such record, or it is too large.
            zipfile.BadZipFile: its header or its CRC-32 is wrong.
        """
        if name not in self._records:
            if name not in self.names:
                raise Unreadable(f"its record {name[:100]!r} is missing")
            info = self._zip.getinfo(name)
            stored = info.compress_type == zipfile.ZIP_STORED
            self._records[name] = self._map(info) if stored else self._expand(info)
        return self._records[name]

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
        return _bytes_at(self._mapped, start, info.file_size)

    def _expand(self, info: zipfile.ZipInfo) -> np.ndarray:
        self._expanded_left -= info.file_size
        if self._expanded_left < 0:
            raise Unreadable("its compressed records expand to an absurd size")
        return np.frombuffer(self._zip.read(info), np.uint8)


def _bytes_at(mapped: mmap.mmap, start: int, size: int) -> np.ndarray:
    return np.ndarray(size, np.uint8, buffer=mapped, offset=start)


def read_npz(archive: Archive) -> dict[str, np.ndarray]:
    """Return the arrays of a `.npz` file by name; mapped unless the file is compressed.

    Raises:
        Unreadable: an array is not as long as its header says.
        Unsupported: an array holds Python objects, or its header is of an unusual version.
    """
    return {name.removesuffix(".npy"): _read_npy(archive.read(name)) for name in archive.names}


def _read_npy(data: np.ndarray) -> np.ndarray:
    stream = io.BytesIO(data[: 2**16].tobytes())  # more than any header
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise Unsupported(f"it holds an array in version {version} of the npy format")
    if dtype.hasobject:
        raise Unsupported("it holds an array of Python objects")
    shape = naturals(shape, "a shape")
    if data.size - stream.tell() != math.prod(shape) * dtype.itemsize:
        raise Unreadable(f"an array of shape {shape} has {data.size - stream.tell()} bytes")
    order = "F" if fortran else "C"
    array = np.ndarray(shape, dtype, buffer=data, offset=stream.tell(), order=order)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="), order="K")


def looks_like_safetensors(mapped: mmap.mmap) -> bool:
    """Whether a file begins as `.safetensors` files do: length of the header, then JSON."""
    if len(mapped) < 10:
        return False
    size = int.from_bytes(mapped[:8], "little")
    return 2 <= size <= len(mapped) - 8 and mapped[8:9] == b"{"


def read_safetensors(mapped: mmap.mmap) -> dict[str, np.ndarray]:
    """Return the tensors of a mapped `.safetensors` file by name.

    The format is eight bytes of header length, a JSON header {name: {dtype, shape, data_offsets}},
    and the data (github.com/huggingface/safetensors, README, "Format").

    Raises:
        Unreadable: a tensor lies outside the file or its size does not agree with its shape.
        Unsupported: a tensor is of an unknown type.
    """
    start = 8 + int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8:start].decode())
    header.pop("__metadata__", None)
    return {name: _safetensor(mapped, start, entry) for name, entry in header.items()}


def _safetensor(mapped: mmap.mmap, start: int, entry: Any) -> np.ndarray:
    if entry["dtype"] not in _SAFETENSORS_DTYPES:
        raise Unsupported(f"it holds a tensor of type {str(entry['dtype'])[:50]}")
    dtype = DTYPES[_SAFETENSORS_DTYPES[entry["dtype"]]]
    shape = naturals(entry["shape"], "a shape")
    first, end = naturals(entry["data_offsets"], "the place of a tensor")
    if end - first != math.prod(shape) * dtype.itemsize or start + end > len(mapped):
        raise Unreadable(f"a tensor of shape {shape} does not fit its {end - first} bytes")
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return tensor(Storage(_bytes_at(mapped, start + first, end - first), dtype), 0, shape, strides)
