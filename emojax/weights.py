"""Weights on their way between flat `{dotted.name: array}` tables, models and disk.

A model's table is its NNX state with the path joined by dots (`synthesis.convs.3.weight`). Every
step is strict and goes by path: a name missing, left over or of another shape is an error, and all
of them are reported at once.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from emojax.errors import UserError

Model = TypeVar("Model", bound=nnx.Module)
Arrays = Mapping[str, np.ndarray | jax.Array]


class OneKey:
    """Stands in for `nnx.Rngs` where only shapes matter: real ones make that quadratic."""

    def params(self) -> jax.Array:
        """Return the same key for every parameter."""
        return jax.random.key(0)


def abstract(build: Callable[..., Model], config: object) -> Model:
    """Return `build(config, rngs=...)` with shapes and dtypes in place of arrays."""
    return nnx.eval_shape(lambda: build(config, rngs=OneKey()))


def flatten(model: nnx.Module) -> dict[str, jax.Array | jax.ShapeDtypeStruct]:
    """Return the model's variables by dotted name."""
    flat = nnx.to_flat_state(nnx.state(model))
    return {".".join(map(str, path)): variable.get_value() for path, variable in flat}


def problems(expected: Mapping[str, jax.ShapeDtypeStruct], arrays: Arrays) -> list[str]:
    """Say how `arrays` departs from the `expected` names, shapes and kinds of number.

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


def load(model: Model, arrays: Arrays, *, what: str = "weights") -> Model:
    """Return the abstract `model` filled with `arrays`, cast to the model's own dtypes.

    Args:
        model: an abstract model (see `abstract`).
        arrays: one array a variable, by dotted name.
        what: what the arrays are, for the message.

    Raises:
        UserError: names every variable that is missing, unknown, misshapen or mistyped.
    """
    expected = flatten(model)
    if found := problems(expected, arrays):
        raise UserError(f"{what} do not fit the model; {report(found)}")
    graph, state = nnx.split(model)
    flat = nnx.to_flat_state(state)
    filled = [
        (path, variable.replace(jax.numpy.asarray(arrays[name], expected[name].dtype)))
        for path, variable in flat
        for name in [".".join(map(str, path))]
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))


def report(found: list[str], limit: int = 60) -> str:
    """Return the lines of `problems` under a count, cut after `limit` lines."""
    more = [f"... and {len(found) - limit} more"] if len(found) > limit else []
    return "\n  ".join([f"{len(found)} tensors differ:", *found[:limit], *more])


def count(arrays: Arrays) -> int:
    """Return the number of values in the table."""
    return sum(int(np.prod(array.shape)) for array in arrays.values())


def fingerprint(arrays: Arrays) -> str:
    """Return the SHA-256 of a table's names, shapes, dtypes and values, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def write(folder: Path, arrays: Arrays) -> None:
    """Write a table as an Orbax checkpoint into a folder that does not exist yet.

    Orbax writes beside the folder and renames, so a kill leaves no half-written checkpoint.
    """
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), dict(arrays))


def read(folder: Path) -> dict[str, np.ndarray]:
    """Read a table that `write` wrote, as NumPy arrays of the stored dtypes.

    Raises:
        UserError: the folder is not there or is damaged.
    """
    if not folder.is_dir():
        raise UserError(f"no checkpoint at {folder}: give the folder that a convert command wrote")
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            names = checkpointer.metadata(folder.absolute()).item_metadata.tree
            as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
            return checkpointer.restore(folder.absolute(), restore_args=as_numpy)
    except (
        OSError,
        ValueError,
        KeyError,
        AttributeError,
    ) as error:  # no metadata: an AttributeError
        raise UserError(f"{folder} is damaged ({error}): convert the file again") from error


def _is_float(dtype: np.dtype) -> bool:
    return jax.numpy.issubdtype(dtype, np.floating)
