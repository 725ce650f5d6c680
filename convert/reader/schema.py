"""Typed parts of a loaded checkpoint: converters use what these return and check nothing again."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import ml_dtypes
import numpy as np

from convert.reader.records import Record
from emojax.runtime.errors import UserError

ValueT = TypeVar("ValueT")

LONGEST_NAME = 500
"""Letters of a tensor's dotted name."""

_SMALL_FLOATS = tuple(
    np.dtype(each) for each in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
)
_PIECE = 2**22  # values that are looked at at a time


def is_real(dtype: np.dtype) -> bool:
    """Whether elements are floating-point numbers, NumPy's or ml_dtypes'."""
    return dtype.kind == "f" or dtype in _SMALL_FLOATS


def is_number(dtype: np.dtype) -> bool:
    """Whether elements are real numbers, whole numbers or truths: no complex ones, no text."""
    return is_real(dtype) or dtype.kind in "biu"


def all_finite(values: np.ndarray) -> bool:
    """Whether all values are finite in float32; other kinds than floating-point are."""
    if not is_real(values.dtype) or not values.size:
        return True
    with np.errstate(all="ignore"):
        if values.dtype != np.float32:
            pieces = np.array_split(values.reshape(-1), -(-values.size // _PIECE))
            return all(bool(np.isfinite(piece.astype(np.float32)).all()) for piece in pieces)
        # one pass where the sum is finite; else it may have overflowed
        return bool(np.isfinite(values.sum()) or np.isfinite([values.min(), values.max()]).all())


def table(found: Any, where: str) -> dict[str, np.ndarray]:
    """Return the arrays of a state dict by name; what is no array is left out.

    Args:
        found: what the file holds there.
        where: the part of the file, for the message.

    Raises:
        UserError: it is no dict, or a name is no text or far too long.
    """
    if not isinstance(found, Mapping):
        raise UserError(f"{where} is {_a(found)}, wanted a state dict: a table of arrays by name")
    for name in found:
        if not isinstance(name, str):
            raise UserError(f"{where} names a tensor by {_a(name)}, wanted text: a state dict")
        if len(name) > LONGEST_NAME:
            raise UserError(f"{where} holds a name of {len(name)} letters, wanted a state dict")
    return {
        name: np.asarray(value)
        for name, value in found.items()
        if isinstance(value, np.ndarray | np.generic)
    }


def code(found: Any, where: str, name: str = "latent_avg") -> np.ndarray | None:
    """Return mean codes as rows [n, D]; None where the file has none.

    Args:
        found: what the file holds: real numbers of any shape that ends with D.
        where: the part of the file, for the message.
        name: of the value in it.

    Raises:
        UserError: it is something else, or not finite.
    """
    if found is None:
        return None
    if not isinstance(found, np.ndarray):
        raise UserError(f"{name} of {where} is {_a(found)}, wanted an array of real numbers")
    if not is_real(found.dtype) or not found.ndim or not found.size:
        raise UserError(
            f"{name} of {where} is {found.dtype} {list(found.shape)}, wanted real numbers [D] or "
            "[L, D]"
        )
    if not all_finite(found):
        raise UserError(f"{name} of {where} holds NaN or infinity: the file is damaged")
    return found.reshape(-1, found.shape[-1])


def attributes(found: Any) -> Mapping[str, Any]:
    """Return a dict, or the attributes of an object such as a Namespace; {} for anything else."""
    if isinstance(found, Record):
        found = found.state
    return found if isinstance(found, Mapping) else {}


def option(
    options: Mapping[str, Any], name: str, kind: type[ValueT] | tuple[type, ...], default: ValueT
) -> ValueT:
    """Return a setting that was saved with a network.

    Args:
        options: see `attributes`.
        name: of the setting.
        kind: its type or types.
        default: its value where it is missing or None.

    Raises:
        UserError: it is of another type, NaN or huge.
    """
    value: Any = options.get(name)
    if value is None:
        return default
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(each.__name__ for each in kinds)
        raise UserError(f"{name} in the file is {_a(value)}, wanted {wanted}")
    if isinstance(value, int | float) and not -(2**53) <= value <= 2**53:
        raise UserError(f"{name} in the file is no number from -2⁵³ to 2⁵³")
    return cast(ValueT, value)


def _a(value: Any) -> str:
    """Name a type: "a list"; its contents may be of any size and depth."""
    name = type(value).__name__
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
