"""What one pass over weights finds: their hash, a fast checksum, and values that are no numbers.

The hash, SHA-256, names a table: results and other networks refer to it. The checksum is what is
compared whenever a table is loaded. It costs a twentieth of the load, where SHA-256 costs a
quarter: every eight bytes are multiplied by an odd number that depends on their place, and added up
in 64 bits. One changed word is always seen; several are missed once in about 2**60 cases. It is no
protection against someone who writes both the weights and the checksum.
"""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

_PIECE = 2**18
"""Bytes looked at together, which stay in the processor's cache."""

_STEP = 0x9E3779B97F4A7C15
"""Odd multiplier from one piece to the next; 2**64 over the golden ratio."""

_EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80}
"""Bits of the exponent of types that processors compute slowly with; all set: infinity or NaN."""


class Scan(NamedTuple):
    """What one pass over an array finds.

    Attributes:
        checksum: of its bytes.
        finite: whether it holds neither NaN nor infinity; true of arrays of other kinds.
    """

    checksum: int
    finite: bool


class Inspected(NamedTuple):
    """What one pass over a table finds.

    Attributes:
        sha256: see `fingerprint`.
        checksum: see `combined`.
        not_finite: names of the arrays with NaN or infinity.
    """

    sha256: str
    checksum: str
    not_finite: list[str]


def fingerprint(arrays: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a table's names, shapes, dtypes and values, in order of name."""
    return inspect(arrays).sha256


def inspect(arrays: Mapping[str, Any]) -> Inspected:
    """Return hash and checksum of a table; computes each array once."""
    digest, lines, not_finite = hashlib.sha256(), {}, []
    for name in sorted(arrays):
        values = np.asarray(arrays[name])
        array = np.ascontiguousarray(values)  # of a single value: [1]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
        found = scan(array)
        lines[name] = line(name, values, found.checksum)
        if not found.finite:
            not_finite.append(name)
    return Inspected(digest.hexdigest(), combined(lines), not_finite)


def scan(array: np.ndarray) -> Scan:
    """Return the checksum of an array, and whether all its numbers are finite."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    total, finite = 0, True
    for start in range(0, data.size, _PIECE):
        piece = data[start : start + _PIECE]
        if piece.size % 8:
            piece = np.pad(piece, (0, -piece.size % 8))
        words = piece.view("<u8")
        found = int(np.einsum("i,i->", words, _multipliers()[: words.size]))
        total = (total * _STEP + found) % 2**64
        finite = finite and _is_finite(piece.view(array.dtype))
    return Scan(total, finite)


def _is_finite(piece: np.ndarray) -> bool:
    """Whether a piece of an array holds neither NaN nor infinity, in the least time."""
    if mask := _EXPONENTS.get(piece.dtype.name):
        bits = piece.view(np.uint16)
        return bool((bits & np.uint16(mask)).max() < mask)
    if piece.dtype.kind not in "fc":
        return True
    with np.errstate(all="ignore"):  # a sum is finite only if every value is; this one is fastest
        return bool(np.isfinite(np.einsum("i->", piece))) or bool(np.isfinite(piece).all())


def line(name: str, array: np.ndarray, checksum: int) -> str:
    """Return what a table's checksum is made of, for one array."""
    return f"{name} {array.dtype.str} {array.shape} {checksum:016x}\n"


def combined(lines: Mapping[str, str]) -> str:
    """Return the checksum of a table: the SHA-256 of its arrays' lines, in order of name."""
    return hashlib.sha256("".join(lines[name] for name in sorted(lines)).encode()).hexdigest()


@functools.cache
def _multipliers() -> np.ndarray:
    """Return an odd number for every word of a piece, by Steele's SplitMix64."""
    state = np.arange(1, _PIECE // 8 + 1, dtype=np.uint64) * np.uint64(_STEP)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))) | np.uint64(1)
