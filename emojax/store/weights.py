"""Weights as flat tables {dotted.name: array}: from and to models, from and to Orbax checkpoints.

A model's table is its NNX state with the path joined by dots (`synthesis.convs.3.weight`). Names,
shapes and kinds of number are compared by path; what is missing, left over or different is an
error, and all of it is reported at once.

The values are read and written by tensorstore, by the folder layout of Orbax (`_METADATA`, one
zarr array for each name, in an OCDBT database or in folders). Orbax does not promise that layout:
it is the same from 0.11.40 to 0.12.8, `pyproject.toml` allows no release above 0.12, and the tests
of this folder pass with the oldest and the newest of them. Raise the bound only when they pass with
the new release too.
"""

import contextlib
import dataclasses
import functools
import math
import mmap
import shutil
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import numpy as np
import tensorstore
from flax import nnx

from emojax.runtime import interrupts
from emojax.runtime.errors import UserError, shortened
from emojax.store import metadata
from emojax.store.fingerprint import combined, line, scan
from emojax.store.reader.contents import Malformed, contents, shown, sizes
from emojax.store.reader.json_text import parse_object

Model = TypeVar("Model", bound=nnx.Module)

PIECE = 2**22
"""Bytes of an array that are compressed as one piece."""

PENDING = 2**26
"""Bytes that are being written at a time."""

_CLAIMED = 2**28
"""Bytes that the arrays of a checkpoint may take beyond three times its files."""

COMPRESSOR = {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 2}
"""zstd after a shuffle of bits: weights take 0.88 of their size; with Orbax's own zstd, 0.93."""


class Array(Protocol):
    """An array of NumPy or JAX, or one that `np.asarray` reads from disk or computes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of an element."""
        ...

    def __array__(self, dtype: Any = None, /, *, copy: bool | None = None) -> np.ndarray:
        """Return the values."""
        ...


Arrays = Mapping[str, Array]
Shaped = jax.Array | jax.ShapeDtypeStruct


class OneKey:
    """Stand-in for `nnx.Rngs` where only shapes matter; with real ones the time is quadratic."""

    def params(self) -> jax.Array:
        """Return the same key for every parameter."""
        return jax.random.key(0)


def abstract(build: Callable[..., Model], config: object) -> Model:
    """Return `build(config, rngs=...)` with shapes and dtypes in place of arrays."""
    return nnx.eval_shape(lambda: build(config, rngs=OneKey()))


@functools.lru_cache(maxsize=8)  # a converter asks twice or more, and building takes 0.2 s
def shapes(build: Callable[..., nnx.Module], config: object) -> Mapping[str, Shaped]:
    """Return the variables of `build(config, rngs=...)` by dotted name, as shapes and dtypes."""
    return types.MappingProxyType(flatten(abstract(build, config)))


def flatten(model: nnx.Module) -> dict[str, Shaped]:
    """Return the model's variables by dotted name."""
    flat = nnx.to_flat_state(nnx.state(model))
    return {".".join(map(str, path)): variable.get_value() for path, variable in flat}


def problems(expected: Mapping[str, Shaped], arrays: Arrays) -> list[str]:
    """List how `arrays` differs from the `expected` names, shapes and kinds of number.

    Returns:
        One line for each missing, unknown, misshapen or mistyped name, sorted within each kind;
        empty when all is well. Floating-point widths may differ (float16 storage), kinds may not.
    """
    missing = [f"missing: {name}" for name in sorted(expected.keys() - arrays.keys())]
    unknown = [f"unknown: {name}" for name in sorted(arrays.keys() - expected.keys())]
    both = sorted(expected.keys() & arrays.keys())
    misshapen = [
        f"misshapen: {name} is {list(arrays[name].shape)}, wanted {list(expected[name].shape)}"
        for name in both
        if tuple(arrays[name].shape) != tuple(expected[name].shape)
    ]
    mistyped = [
        f"mistyped: {name} is {arrays[name].dtype}, wanted {expected[name].dtype}"
        for name in both
        if _is_float(arrays[name].dtype) != _is_float(expected[name].dtype)
    ]
    return missing + unknown + misshapen + mistyped


def load(
    model: Model, arrays: Arrays, *, what: str = "weights", checksum: str | None = None
) -> Model:
    """Return the abstract `model` filled with `arrays`, cast to the model's own dtypes.

    Args:
        model: an abstract model (see `abstract`).
        arrays: one array a variable, by dotted name.
        what: what the arrays are, for the message.
        checksum: what they must have, see `emojax.store.fingerprint.combined`; None: any.

    Raises:
        UserError: names every variable that is missing, unknown, misshapen or mistyped, or the
            first that holds NaN or infinity, or the checksum is another.
    """
    graph, state = nnx.split(model)
    variables = {".".join(map(str, path)): (path, var) for path, var in nnx.to_flat_state(state)}
    expected = {name: variable.get_value() for name, (_, variable) in variables.items()}
    if found := problems(expected, arrays):
        raise mismatch(f"{what} do not fit the model", found)
    # an array is in memory twice while it is copied: the largest first, while memory is emptiest
    order = sorted(variables, key=lambda name: -math.prod(expected[name].shape))
    filled, lines = {}, {}
    for name in order:
        path, variable = variables[name]
        values = arrays[name]
        if not isinstance(values, jax.Array):
            values = np.asarray(values)
            found = scan(values)
            lines[name] = line(name, values, found.checksum)
            if not found.finite:
                raise UserError(
                    f"{what} cannot be used: its {shortened(name, 60)} holds NaN or infinity; "
                    f"{metadata.AGAIN}"
                )
        filled[path] = variable.replace(jax.numpy.asarray(values, expected[name].dtype))
    if checksum and combined(lines) != checksum:
        raise UserError(f"{what} has other weights than its {metadata.FILE} says: {metadata.AGAIN}")
    return nnx.merge(graph, nnx.from_flat_state(filled))


def mismatch(what: str, found: list[str], limit: int = 60) -> UserError:
    """Return the error for the lines of `problems`.

    The sentence has their number and the first of them; all, up to a limit, are notes below it.

    Args:
        what: what is wrong, the beginning of the sentence.
        found: the lines, one or more.
        limit: how many of them to list.
    """
    first = f"{what}; {len(found)} tensors differ: {shortened(found[0], 100)}"
    if len(found) == 1:
        return UserError(first)
    more = [f"... and {len(found) - limit} more"] if len(found) > limit else []
    return UserError(f"{first}, ...", [*found[:limit], *more])


def count(arrays: Arrays) -> int:
    """Return the number of values in the table."""
    return sum(math.prod(array.shape) for array in arrays.values())


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """An array of a checkpoint on disk; `np.asarray` reads it.

    Attributes:
        folder: the checkpoint.
        store: the open array.
    """

    folder: Path
    store: tensorstore.TensorStore

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return self.store.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of an element on disk."""
        return self.store.dtype.numpy_dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read the values; a new array every time.

        Raises:
            UserError: a file is damaged.
        """
        with _damage(self.folder):
            array = _room(self.shape, self.dtype)
            tensorstore.array(array).write(self.store).result()  # store.read() holds more memory
        return array if dtype is None else array.astype(dtype, copy=False)


def read(folder: Path) -> dict[str, Stored]:
    """Open an Orbax checkpoint of named arrays; each is read when it is used.

    Not by Orbax's own `restore`: after a damaged file it leaves other reads running, whose errors
    Python prints as tracebacks below our message.

    Raises:
        UserError: the folder is not there or is damaged.
    """
    if not folder.is_dir():
        raise UserError(f"no checkpoint at {folder}: give the folder that a convert command wrote")
    with _damage(folder):
        size = sum(sizes(folder).values())
        layout = _layout(folder)
        paths = [entry["key_metadata"] for entry in layout["tree_metadata"].values()]
        names = [".".join(str(step["key"]) for step in path) for path in paths]
        context, place = _context(), folder.resolve()
        opening = [
            tensorstore.open(_spec(place, name, layout), read=True, open=True, context=context)
            for name in names
        ]
        found = {
            name: Stored(folder, each.result()) for name, each in zip(names, opening, strict=True)
        }
        claimed = sum(map(_claimed, found.values()))
        if claimed > 3 * size + _CLAIMED:
            raise Malformed(f"it has {size:,} bytes and claims {claimed:,} bytes of arrays")
        return found


def _room(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array to fill, in pages of its own where it is large.

    JAX on a CPU takes such an array as it is, and copies one that does not begin at a multiple of
    64 bytes. The system hands out all its pages at once, which costs less than one at a time.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < 2**20 or not hasattr(mmap, "MAP_POPULATE"):
        return np.empty(shape, dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    return np.frombuffer(mmap.mmap(-1, size, flags), dtype).reshape(shape)


def _layout(folder: Path) -> dict[str, Any]:
    """Return Orbax's description of a checkpoint."""
    return parse_object(contents(folder / "_METADATA", 2**25))


def _claimed(stored: Stored) -> int:
    """Return the bytes that an array takes once it is read, or a piece of it if that is more."""
    pieces = stored.store.chunk_layout.read_chunk.shape or stored.shape
    whole = (max(size, piece or 0) for size, piece in zip(stored.shape, pieces, strict=True))
    return math.prod(whole) * stored.dtype.itemsize


def write(folder: Path, arrays: Arrays) -> None:
    """Write a table as an Orbax checkpoint into a folder that does not exist yet.

    Orbax makes the layout with a placeholder for every array; the values are then written here,
    piece by piece, since Orbax would hold one more copy of the table. An interrupted call leaves
    placeholders behind: write aside and rename, as `bundle.save` does.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    from emojax.store import one_writer  # late: Orbax takes a while, and reading does without

    size = sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays.values())
    try:
        room = shutil.disk_usage(folder.parent).free
        if room < size:
            raise OSError(f"it takes {size / 1e6:,.0f} MB and {room / 1e6:,.0f} MB are free")
        # Orbax starts threads: interrupted between two, it leaves what cannot be closed
        with interrupts.held(), one_writer.checkpointer() as checkpointer:
            checkpointer.save(folder.resolve(), dict.fromkeys(arrays, np.zeros((), np.int8)))
        # for stores that cannot rename; it names the temporary folder this is written in
        (folder / "commit_success.txt").unlink(missing_ok=True)
        _fill(folder, arrays)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot write {folder} ({_brief(error)}): make room or choose another folder"
        ) from error


def _fill(folder: Path, arrays: Arrays) -> None:
    """Put values in the place of the placeholders."""
    layout, context, place = _layout(folder), _context(), folder.resolve()
    opening = {
        name: tensorstore.open(
            {
                **_spec(place, name, layout),
                "metadata": {"compressor": COMPRESSOR},
                "store_data_equal_to_fill_value": True,
            },
            create=True,
            delete_existing=True,
            shape=array.shape,
            dtype=array.dtype,
            chunk_layout=tensorstore.ChunkLayout(chunk_shape=_chunk(array)),
            context=context,
        )
        for name, array in arrays.items()
    }
    writing, size = [], 0
    for name, array in arrays.items():
        store, values = opening[name].result(), np.asarray(array)
        for piece in _pieces(values):
            writing.append(store[piece].write(values[piece]))
            size += values[piece].nbytes
            if size >= PENDING:  # waiting for each piece would make a file of each
                _finish(writing)
                writing, size = [], 0
    _finish(writing)


def _finish(writing: list[tensorstore.WriteFutures]) -> None:
    for each in writing:
        each.result()


def _chunk(array: Array) -> tuple[int, ...]:
    """Shape of a piece: as many rows as `PIECE` takes."""
    if not array.shape:
        return ()
    row = math.prod(array.shape[1:]) * array.dtype.itemsize
    return (max(1, min(array.shape[0], PIECE // max(1, row))), *array.shape[1:])


def _pieces(array: np.ndarray) -> list[tuple[slice, ...]]:
    if not array.shape:
        return [()]
    rows, size = _chunk(array)[0], len(array)
    return [(slice(i, min(i + rows, size)),) for i in range(0, size, rows)]


def _spec(folder: Path, name: str, layout: Mapping[str, Any]) -> dict[str, Any]:
    """Say where an array of an Orbax checkpoint is, whose `_METADATA` is `layout`.

    The folder is a resolved one: tensorstore takes no path that holds "..".
    """
    files = {"driver": "file", "path": f"{folder}/"}
    if layout["use_ocdbt"]:
        kvstore = {"driver": "ocdbt", "base": files, "path": f"{name}/"}
    else:
        kvstore = {**files, "path": f"{folder}/{name}/"}
    return {
        "driver": "zarr3" if layout.get("use_zarr3") else "zarr",
        "kvstore": kvstore,
        "fill_missing_data_reads": False,  # a lost piece is damage, not zeros
    }


def _context() -> tensorstore.Context:
    """Return a context whose cache has room for the index of the database, not for values."""
    return tensorstore.Context({"cache_pool": {"total_bytes_limit": 2**24}})


# what tensorstore and the reading of JSON raise, for each of many kinds of damage
_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError)


@contextlib.contextmanager
def _damage(folder: Path) -> Iterator[None]:
    """Turn what readers raise over damaged files into one sentence."""
    try:
        yield
    except _DAMAGE as error:
        raise UserError(
            f"{shown(folder)} is damaged ({_brief(error)}): {metadata.AGAIN}"
        ) from error


def _brief(error: Exception) -> str:
    """Return an error's message on one line, a long one without its middle."""
    return shortened(" ".join(str(error).split()), 120)


def _is_float(dtype: np.dtype) -> bool:
    return jax.numpy.issubdtype(dtype, np.floating)
