"""Torch storages in the bytes of a file, and tensors as views of them.

Every number comes from the file and is untrusted until checked: sizes, strides and offsets must
stay inside their storage. Only big-endian files are copied.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from convert.reader.budget import Budget
from convert.reader.records import Name, Unreadable, Unsupported

# A view may repeat the values of its storage (stride 0); a larger one is refused.
_LARGEST_REPETITION = 2**26  # bytes
_MOST_AXES = 64  # of a NumPy array

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}

DTYPES = {
    name: np.dtype(getattr(ml_dtypes, name, name))
    for name in (
        *_STORAGES.values(),
        *("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"),
    )
}  # by the name that torch and NumPy share


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A torch storage.

    Attributes:
        data: its bytes, uint8 [n], read-only.
        dtype: what one element is.
    """

    data: np.ndarray
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.data.size // self.dtype.itemsize


class StorageId(NamedTuple):
    """What a torch pickle says of a storage it keeps elsewhere; the device is left out.

    Attributes:
        key: name of its bytes.
        dtype: what one element is.
        size: number of elements.
        view: None, or first element and size of the part of the bytes that is meant.
    """

    key: str
    dtype: np.dtype
    size: int
    view: tuple[int, int] | None


def naturals(values: Any, what: str, most: int = _MOST_AXES) -> tuple[int, ...]:
    """Return `values` as a tuple of integers from 0 up to 2⁶³.

    Args:
        values: of any type.
        what: what the message calls them.
        most: how many there may be; their product then takes no time.

    Raises:
        Unreadable: they are anything else.
    """
    if not isinstance(values, tuple | list):
        raise Unreadable(f"{what} is not a tuple of numbers")
    if len(values) > most:
        raise Unreadable(f"{what} has {len(values)} axes, more than {most}")
    if not all(type(value) is int and 0 <= value < 2**63 for value in values):
        raise Unreadable(f"{what} holds something other than numbers from 0 up")
    return tuple(values)


def shape_of(values: Any) -> tuple[int, ...]:
    """Return `values` as a shape of at most 64 axes.

    Raises:
        Unreadable: they are anything else.
    """
    return naturals(values, "a shape")


def storage_id(saved: Any) -> StorageId:
    """Read the persistent id ("storage", type, key, device, size[, view]) of torch's pickles.

    Raises:
        Unreadable: it is malformed.
        Unsupported: its type of storage is unknown.
    """
    if not isinstance(saved, tuple) or len(saved) not in (5, 6):
        raise Unreadable("a reference to a storage is malformed")
    mark, kind, key, _, size, *view = saved
    if (mark, type(key)) != ("storage", str) or not isinstance(kind, Name):
        raise Unreadable("a reference to a storage is malformed")
    module, _, name = kind.kind.rpartition(".")
    if module not in ("torch", "torch.cuda", "torch.storage") or name not in _STORAGES:
        raise Unsupported(f"it holds a storage of type {kind.kind[:200]}")
    naturals([size], "the size of a storage")
    part = None
    if view and view[0] is not None:
        part = naturals(view[0][1:], "a view of a storage", most=2)
        if len(part) != 2 or sum(part) > size:
            raise Unreadable(f"a view reaches beyond its storage of {size} values")
    return StorageId(key, DTYPES[_STORAGES[name]], size, part)


def view_of(data: np.ndarray, wanted: StorageId) -> Storage:
    """Return the storage that `wanted` means inside the bytes stored under its key.

    Args:
        data: uint8 [n], the bytes.
        wanted: the reference to them.

    Raises:
        Unreadable: `data` is not as long as the reference says.
    """
    itemsize = wanted.dtype.itemsize
    if data.size != wanted.size * itemsize:
        raise Unreadable(
            f"storage {wanted.key[:50]!r} should hold {wanted.size} values of {itemsize} bytes, "
            f"and its record holds {data.size} bytes"
        )
    if wanted.view:
        first, size = wanted.view
        data = data[first * itemsize : (first + size) * itemsize]
    return Storage(data, wanted.dtype)


def swapped(storage: Storage) -> Storage:
    """Return a copy with the bytes of every number reversed: big-endian files."""
    unit = storage.dtype.itemsize // (2 if storage.dtype.kind == "c" else 1)
    data = storage.data.view(f"u{unit}").byteswap().view(np.uint8)
    data.flags.writeable = False
    return Storage(data, storage.dtype)


def tensor(
    budget: Budget, storage: Any, offset: Any, shape: Any, strides: Any, dtype: Any = None
) -> np.ndarray:
    """Return a tensor as a view of its storage.

    Args:
        budget: the work that is left.
        storage: the `Storage`.
        offset: index of its first element in the storage.
        shape: size of each axis.
        strides: for each axis, the step in elements.
        dtype: type of an element, if not the storage's.

    Raises:
        Unreadable: any of the tensor lies outside the storage, or it repeats a small storage
            until it is huge.
    """
    if not isinstance(storage, Storage):
        raise Unreadable("a tensor has no storage")
    if dtype is not None:
        storage = Storage(storage.data, dtype)
    (offset,) = naturals([offset], "the offset of a tensor")
    shape, strides = shape_of(shape), naturals(strides, "a stride")
    if len(shape) != len(strides):
        raise Unreadable(f"a tensor has {len(shape)} axes and {len(strides)} strides")
    size = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if size and last >= storage.size:
        raise Unreadable(
            f"a tensor of shape {shape} at offset {offset} reaches beyond its storage "
            f"of {storage.size} values"
        )
    itemsize = storage.dtype.itemsize
    if size * itemsize > max(storage.data.size, _LARGEST_REPETITION):
        raise Unreadable(f"a tensor of shape {shape} repeats a storage of {storage.size} values")
    budget.claim(size * itemsize)
    if not size:
        return np.empty(shape, storage.dtype)
    steps, start = [step * itemsize for step in strides], offset * itemsize
    return np.ndarray(shape, storage.dtype, buffer=storage.data, offset=start, strides=steps)
