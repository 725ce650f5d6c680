"""JSON from outside: bounded in size and in what it becomes in memory."""

import json
from typing import Any

from emojax.store.reader.contents import Malformed

MOST = 2**25
"""Bytes of the largest JSON text that is read."""
_LARGEST = 2**27
"""Bytes that its values may take in memory, beside three times the text."""


def parse(text: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        Malformed: it is no JSON, is nested too deeply, or holds more values than an honest file.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    # a list takes 88 bytes with its place in another, a number 32, a pair of a dict 240
    values = 90 * (data.count(b"[") + data.count(b"{")) + 32 * data.count(b",")
    values += 240 * data.count(b":")
    if len(data) > MOST or values > _LARGEST + 3 * len(data):
        raise Malformed(f"its {len(data):,} bytes of JSON hold more values than are read")
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError as error:
        raise Malformed("its JSON is nested too deeply") from error
    except ValueError as error:  # not JSON, not UTF-8, or a number of thousands of digits
        raise Malformed(f"no readable JSON, {error}") from error


def parse_object(text: bytes | str) -> dict[str, Any]:
    """Return the value of a JSON text that must be an object.

    Raises:
        Malformed: see `parse`, or the value is something else.
    """
    found = parse(text)
    if not isinstance(found, dict):
        raise Malformed(f"its JSON is {_named(found)}, not an object")
    return found


def _named(value: object) -> str:
    names = {list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "a number")


def _refuse(name: str) -> None:
    raise Malformed(f"its JSON holds {name}, which is no number")
