"""Reader of published checkpoint files: nested Python containers of NumPy arrays, without torch.

`load` reads what torch.save has written since 2017 (the zip format and the legacy stream before
it, state dicts and whole pickled modules), NVlabs' network pickles, TorchScript archives,
`.safetensors`, `.npz` and `.npy`, also one with a pickled dict. Nothing in a file is executed: see
`convert.reader.unpickler`.

Arrays are read-only views of the memory-mapped file: only what is read takes memory, the file must
not change while they are in use, and `release` gives the memory back. The CRC-32 of every record
used is checked when the file is loaded; the legacy format has no checksums.
"""

import contextlib
import io
import mmap
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from convert.reader import schema
from convert.reader.archives import Archive, read_npz
from convert.reader.budget import Budget
from convert.reader.pickle_functions import BUILDS, OBJECT_BUILDS, calls
from convert.reader.records import Name, Record, Unreadable
from convert.reader.safetensors import looks_like_safetensors, read_safetensors
from convert.reader.storages import Storage, StorageId, storage_id, swapped, view_of
from convert.reader.unpickler import Unpickler
from emojax.runtime.errors import UserError, shortened
from emojax.store.reader.contents import opened, shown
from emojax.store.reader.npy import read_header, read_npy

__all__ = ["Name", "Record", "load", "release", "state_dict"]

NPY = b"\x93NUMPY"
"""First bytes of a `.npy` file."""

OBJECT = "numpy.ndarray"
"""Kind of the record that stands for a `.npy` file with one Python object."""

_NPY_HEAD = 2**14  # bytes that hold any header that is read
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
_LEGACY_PROTOCOL = 1001
_MOST_MODULES = 20_000  # in one network; a hostile file can make a few modules look like many
_DEEPEST_MODULE = 100
_LOAD_FROM_BYTES = 60  # operations of a pickle inside a pickle, beside its opcodes

# What the parsers raise for malformed bytes, RecursionError among them.
_MALFORMED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,  # a zip archive that points before its own beginning
    RuntimeError,
    TypeError,
    ValueError,  # `Malformed` among them
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def load(path: str | Path) -> Any:
    """Read a checkpoint file of any kind known here.

    Args:
        path: the file; its contents decide how it is read, not its name.

    Returns:
        The object that was saved: dicts (also for OrderedDict), lists, tuples, sets, scalars;
        tensors, parameters and NumPy arrays as read-only arrays in native byte order, bfloat16 as
        `ml_dtypes.bfloat16`; instances of other classes as `Record`; functions, classes and dtypes
        as `Name`. Tensors that share a storage share memory. `.npz` and `.safetensors` files
        give {name: array}, a `.npy` file its array, or a `Record` of the kind `OBJECT` whose state
        is the object in it.

    Raises:
        UserError: there is no such file, it is damaged or not a checkpoint, or it asks to run
            code; the sentence says which.
    """
    try:
        with contextlib.ExitStack() as stack:
            file, mapped = _mapped(stack, path)
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # of the parsers, about malformed bytes
            return _load(file, mapped)
    except Unreadable as error:
        raise UserError(
            f"{shown(path)} cannot be read: {shortened(error, 120)}; {error.advice}"
        ) from error
    except UserError:
        raise
    except _MALFORMED as error:
        reason = shortened(error, 100) or type(error).__name__
        raise UserError(
            f"{shown(path)} is damaged or not a checkpoint ({reason}); {Unreadable.advice}"
        ) from error


def _mapped(stack: contextlib.ExitStack, path: str | Path) -> tuple[BinaryIO, mmap.mmap]:
    """Open a file for as long as the stack, and map it for as long as its arrays are in use."""
    try:
        file = stack.enter_context(opened(path))
        if not os.fstat(file.fileno()).st_size:
            raise Unreadable("it is empty")
        return file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: a null byte in its name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{shown(path)} cannot be opened ({reason}); check the path") from error


def _load(file: BinaryIO, mapped: mmap.mmap) -> Any:
    budget = Budget(len(mapped))
    if mapped[:4] == b"PK\x03\x04":
        archive = Archive(file, mapped, budget)
        if archive.names and all(name.endswith(".npy") for name in archive.names):
            return read_npz(archive, budget)
        return _load_zip(archive, budget)
    if looks_like_safetensors(mapped):
        return read_safetensors(mapped, budget)
    if mapped[: len(NPY)] == NPY:
        return _load_npy(mapped, budget)
    if mapped[:1] not in b"\x80c(}])":  # PROTO, or the first opcode of a protocol 0 or 1 pickle
        raise Unreadable("it begins like no checkpoint, zip archive or pickle")
    stream = cast(BinaryIO, mapped)  # has all of it that is used: read, readline, seek and tell
    return _load_stream(stream, mapped, budget, nested=False)


# ---- the zip format (torch 1.6 and later, TorchScript)


def _load_zip(archive: Archive, budget: Budget) -> Any:
    pickles = [name for name in archive.names if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise Unreadable(f"it is a zip archive with {len(pickles)} records NAME/data.pkl, not one")
    folder = pickles[0].split("/")[0]
    mark = f"{folder}/byteorder"
    order = archive.read(mark).tobytes() if mark in archive.names else b"little"
    if order not in (b"little", b"big"):
        raise Unreadable(f"its byte order is {order[:20]!r}")

    def storage(wanted: StorageId) -> Storage:
        found = view_of(archive.read(f"{folder}/data/{wanted.key}"), wanted)
        if order == b"little":
            return found
        budget.hold(found.data.size)
        return swapped(found)

    stream = io.BytesIO(archive.read(pickles[0]).tobytes())
    return _unpickle(stream, budget, storage)


def _load_npy(mapped: mmap.mmap, budget: Budget) -> np.ndarray | Record:
    stream = io.BytesIO(mapped[:_NPY_HEAD])
    _, _, dtype = read_header(stream)
    if not dtype.hasobject:
        return read_npy(memoryview(mapped))
    stream = io.BytesIO(mapped[stream.tell() :])
    found = _unpickle(stream, budget, builds=OBJECT_BUILDS)
    if stream.read(1):
        raise Unreadable("bytes are left over at its end")
    return Record(OBJECT, found)


# ---- pickles in a stream: the legacy torch format and bare pickles


def _unpickle(
    stream: BinaryIO,
    budget: Budget,
    storage: Callable[[StorageId], Storage] | None = None,
    *,
    nested: bool = False,
    builds: Mapping[str, Callable[[Any, Any], Any]] = BUILDS,
) -> Any:
    """Run one pickle.

    Args:
        stream: where it begins; left behind its end.
        budget: the work that is left.
        storage: function from a `StorageId` to its `Storage`; None where there are none.
        nested: whether it comes from bytes inside another pickle, and may hold no further ones.
        builds: see `Unpickler`.
    """

    def persistent_load(saved: Any) -> Any:
        # Old whole-module files wrap classes: ("module", class, source file, source text).
        if isinstance(saved, tuple) and len(saved) == 4 and isinstance(saved[1], Name):
            return saved[1]
        if storage is None:
            raise Unreadable("it refers to a storage outside itself")
        return storage(storage_id(saved))

    def load_from_bytes(data: Any) -> Storage:
        if nested or not isinstance(data, bytes):
            raise Unreadable("the bytes of a storage are malformed")
        budget.spend(_LOAD_FROM_BYTES)
        found = _load_stream(io.BytesIO(data), data, budget, nested=True)
        if not isinstance(found, Storage):
            raise Unreadable("the bytes of a storage hold something else")
        return found

    return Unpickler(
        stream,
        calls=calls(budget, load_from_bytes),
        builds=builds,
        persistent_load=persistent_load,
        budget=budget,
    ).load()


def _load_stream(stream: BinaryIO, data: Any, budget: Budget, *, nested: bool) -> Any:
    """Read a legacy torch stream or a bare pickle.

    Args:
        stream: the file from its beginning.
        data: the buffer that `stream` reads, in which the arrays will lie.
        budget: the work that is left.
        nested: whether this stream comes from inside a pickle.
    """
    first = _unpickle(stream, budget, nested=nested)
    if type(first) is int and first == _LEGACY_MAGIC:
        first = _load_legacy(stream, data, budget, nested)
    elif type(first) is int:
        raise Unreadable("it begins with a number that is not torch's magic number")
    if stream.tell() != len(data):
        raise Unreadable(f"{len(data) - stream.tell()} bytes are left over at its end")
    return first


def _load_legacy(stream: BinaryIO, data: Any, budget: Budget, nested: bool) -> Any:
    """Read what follows the magic number: version, platform, object, storage keys, raw storages.

    The storages lie behind the object that describes them, so the object is unpickled twice: once
    to learn their types and sizes, once with their data. They are little-endian whatever the
    platform record says (torch/csrc/serialization.cpp, THPStorage_writeFileRaw).
    """
    if _unpickle(stream, budget) != _LEGACY_PROTOCOL:
        raise Unreadable("it is a legacy torch file of an unknown version")
    platform = _unpickle(stream, budget)
    if not isinstance(platform, dict) or "little_endian" not in platform:
        raise Unreadable("it is a legacy torch file without a description of its platform")
    start = stream.tell()
    seen: dict[str, StorageId] = {}

    def promised(wanted: StorageId) -> Storage:
        known = seen.setdefault(wanted.key, wanted)
        if (known.size, known.dtype) != (wanted.size, wanted.dtype):
            raise Unreadable(f"storage {wanted.key[:50]!r} is described in two ways")
        if wanted.size * wanted.dtype.itemsize > len(data):
            raise Unreadable(f"it is too short for its storage of {wanted.size} values")
        # the tensors of this pass are thrown away, so any bytes will do
        stand_in = np.ndarray(wanted.size * wanted.dtype.itemsize, np.uint8, buffer=data)
        return view_of(stand_in, wanted)

    _unpickle(stream, budget, promised, nested=nested)
    keys = _unpickle(stream, budget)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Unreadable("its list of storages is malformed")
    if sorted(keys) != sorted(seen):
        raise Unreadable("its list of storages does not agree with the object in it")
    found, end = _legacy_storages(stream.tell(), data, [seen[key] for key in keys])
    stream.seek(start)
    result = _unpickle(
        stream, budget, lambda wanted: view_of(found[wanted.key], wanted), nested=nested
    )
    stream.seek(end)
    return result


def _legacy_storages(
    position: int, data: Any, storages: list[StorageId]
) -> tuple[dict[str, np.ndarray], int]:
    """Return the bytes of each storage by key, and where the last one ends."""
    found = {}
    for wanted in storages:
        size = int.from_bytes(data[position : position + 8], "little")
        start = position + 8
        position = start + size * wanted.dtype.itemsize
        if size != wanted.size or position > len(data):
            raise Unreadable(f"storage {wanted.key[:50]!r} is cut short or damaged")
        length = position - start
        found[wanted.key] = np.ndarray(length, np.uint8, buffer=data, offset=start)
    return found, position


# ---- for the callers of `load`


def state_dict(saved: Record | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the weights of a network by dotted name, in the order of torch's `state_dict()`.

    Args:
        saved: a whole network as `load` returns it (a pickled nn.Module, an NVlabs persistent
            object, a TorchScript module), or a mapping that is a state dict already.

    Returns:
        Parameters and persistent buffers of each module, then those of the modules in it; an
        array that the network holds in two places is listed under both names.

    Raises:
        UserError: `saved` is not a network, or holds something that is not an array.
    """
    if isinstance(saved, Mapping):
        strange = [name for name, value in saved.items() if not isinstance(value, np.ndarray)]
        if strange:
            raise UserError(
                f"a state dict holds arrays only, and {str(strange[0])[:100]!r} is a "
                f"{type(saved[strange[0]]).__name__}; pass the part of the file that is one"
            )
        return {_named("", name): value for name, value in saved.items()}
    if not _is_module(saved):
        what = repr(saved) if isinstance(saved, Record) else f"a {type(saved).__name__}"
        raise UserError(f"{what} is not a network; pass a module or a state dict")
    weights = {}
    for count, (name, value) in enumerate(_walk(saved, "", 0)):
        if count > _MOST_MODULES:
            raise UserError(f"{saved!r} has too many modules and weights to be a network")
        if isinstance(value, np.ndarray):
            weights[name] = value
    return weights


def _is_module(value: Any) -> bool:
    if not isinstance(value, Record) or not isinstance(value.state, dict):
        return False
    return "_parameters" in value.state or value.kind.startswith("__torch__.")


def _walk(module: Record, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, array) for the weights of a module, and (name, None) for each module."""
    yield prefix, None
    if depth > _DEEPEST_MODULE:
        raise UserError(f"modules are nested deeper than {_DEEPEST_MODULE}; this is not a network")
    state = module.state
    if "_parameters" in state:
        hidden = state.get("_non_persistent_buffers_set")  # torch 1.5 and later
        hidden = hidden if isinstance(hidden, set) else set()
        buffers = {k: v for k, v in _part(state, "_buffers").items() if k not in hidden}
        own = {**_part(state, "_parameters"), **buffers}
        children = _part(state, "_modules")
    else:  # TorchScript keeps parameters, buffers and modules side by side
        own, children = state, state
    for name, value in own.items():
        if isinstance(value, np.ndarray):
            yield _named(prefix, name), value
    for name, child in children.items():
        if _is_module(child):
            yield from _walk(child, f"{_named(prefix, name)}.", depth + 1)


def _named(prefix: str, name: Any) -> str:
    """Return the dotted name of a tensor or module.

    Raises:
        UserError: the name is no text, or too long to be one.
    """
    if not isinstance(name, str):
        raise UserError(f"a part of a network is named by a {type(name).__name__}, wanted text")
    if len(prefix) + len(name) > schema.LONGEST_NAME:
        raise UserError(f"a part of a network has a name of {len(prefix) + len(name)} letters")
    return prefix + name


def _part(state: dict, name: str) -> dict:
    part = state.get(name, {})
    if not isinstance(part, dict):
        raise UserError(f"a module's {name} is a {type(part).__name__}, not a dict: not a network")
    return part


def release(array: np.ndarray) -> None:
    """Give the memory of a mapped array back to the system; the array stays readable.

    For converters of large files: after a tensor has been copied, its pages of the file need not
    stay resident. Arrays that are not mapped are left alone.
    """
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.obj if isinstance(base, memoryview) else base.base
    if not isinstance(base, mmap.mmap) or not array.size:
        return
    first, end = np.lib.array_utils.byte_bounds(array)
    origin, _ = np.lib.array_utils.byte_bounds(np.frombuffer(base, np.uint8))
    start = (first - origin) // mmap.PAGESIZE * mmap.PAGESIZE
    base.madvise(mmap.MADV_DONTNEED, start, end - origin - start)
