"""Typed records out of JSON objects: the fields of a dataclass, each of its annotated type."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from emojax.runtime.errors import shortened
from emojax.store.reader.contents import Malformed

RecordT = TypeVar("RecordT")

_MOST = 2**53
"""Largest whole number where no other bound is given: the largest that JSON keeps everywhere."""
_LONGEST_LIST = 10_000
_LONGEST_TEXT = 1000


def record(
    made: type[RecordT], stored: Mapping[str, Any], most: Mapping[str, float] = {}
) -> RecordT:
    """Return a dataclass filled from a JSON object.

    Args:
        made: the dataclass; annotated with bool, int, float, str, None, `Literal`, `Any`, unions of
            them, and tuples, lists and dicts of them.
        stored: the object.
        most: by the name of a field, the largest size of its numbers; "" for all others.

    Raises:
        Malformed: a field is missing, unknown, of another type, or out of bounds.
        ValueError: what the dataclass itself raises.
    """
    hints = typing.get_type_hints(made)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, made))}
    if unknown := sorted(map(str, stored.keys() - fields.keys())):
        raise Malformed(f"it has an unknown field '{shortened(unknown[0], 40)}'")
    found = {}
    for name, field in fields.items():
        if name in stored:
            bound = most.get(name, most.get("", _MOST))
            found[name] = _value(stored[name], hints[name], name, bound)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise Malformed(f"it has no {name!r}")
    return made(**found)


def _value(stored: Any, hint: Any, name: str, most: float) -> Any:
    """Return a value as its annotation wants it: lists as tuples where it says so."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return stored
    if _is_plain(stored, hint, most):
        return float(stored) if hint is float else stored
    if origin in (typing.Union, types.UnionType):
        return _first(stored, inner, name, most)
    if origin is typing.Literal:
        if any(type(stored) is type(each) and stored == each for each in inner):
            return stored
    elif origin in (tuple, list) and isinstance(stored, list) and len(stored) <= _LONGEST_LIST:
        return origin(_value(each, inner[0], name, most) for each in stored)
    elif origin is dict and isinstance(stored, dict):
        return {key: _value(each, inner[1], name, most) for key, each in stored.items()}
    wanted = getattr(hint, "__name__", "") if origin is None else str(hint).replace("typing.", "")
    raise Malformed(f"{name} is {_shown(stored)}, wanted {_WORDS.get(wanted, wanted)}")


def _first(stored: Any, hints: tuple[Any, ...], name: str, most: float) -> Any:
    """Return a value as the first of several annotations that takes it."""
    for hint in hints:
        try:
            return _value(stored, hint, name, most)
        except Malformed:
            continue
    wanted = " or ".join(_WORDS.get(getattr(each, "__name__", ""), str(each)) for each in hints)
    raise Malformed(f"{name} is {_shown(stored)}, wanted {wanted}")


def _is_plain(stored: Any, hint: Any, most: float) -> bool:
    if hint is bool or isinstance(stored, bool):
        return hint is bool and isinstance(stored, bool)
    if hint is int:
        return isinstance(stored, int) and abs(stored) <= most
    if hint is float:
        number = isinstance(stored, int | float) and abs(stored) <= most
        return number and math.isfinite(stored)
    if hint is str:
        return isinstance(stored, str) and len(stored) <= _LONGEST_TEXT
    return hint is type(None) and stored is None


def _shown(stored: Any) -> str:
    if isinstance(stored, list | dict):
        return f"{'a list' if isinstance(stored, list) else 'an object'} of {len(stored)}"
    return shortened(repr(stored) if not isinstance(stored, int) else _digits(stored), 40)


def _digits(number: int) -> str:
    """Return a whole number; Python refuses to print one of thousands of digits."""
    return str(number) if abs(number) < 10**40 else "a number of more than 40 digits"


_WORDS = {
    "int": "a whole number within bounds",
    "float": "a number within bounds",
    "str": "a text",
    "bool": "true or false",
    "NoneType": "null",
}
"""What messages call types."""
