"""Damage to JSON by value: other types, absurd sizes, lost and renamed members, deep nesting."""

import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.mutations import plain
from tests.fuzz.mutations.plain import NUMBERS, TEXTS

VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: rng.choice(NUMBERS),
    lambda rng: rng.choice(NUMBERS) * rng.choice((0.5, -1e300, 1e-300)),
    lambda rng: rng.choice(TEXTS),
    lambda rng: rng.choice((None, True, False, [], {}, float("nan"), float("inf"))),
    lambda rng: [rng.choice(NUMBERS)] * rng.choice((1, 3, 100, 100_000)),
    lambda rng: {rng.choice(TEXTS): rng.choice(NUMBERS)},
    lambda rng: _nested(rng.choice((3, 50, 500))),
    lambda rng: [{} for _ in range(rng.choice((10, 1000, 200_000)))],
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a few values of a JSON text."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return plain.mutate(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = change(value, rng)
    written = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.02:
        return b"[" * rng.choice((1000, 100_000)) + written
    return written


def change(value: Any, rng: random.Random) -> Any:
    """Change one value at a random depth, in place where it is a container; return the whole."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        match rng.randrange(12):
            case 0:
                del value[key]
            case 1:
                value[rng.choice(TEXTS)] = value.pop(key)
            case 2:
                value[rng.choice(TEXTS)] = value[key]
            case 3:
                value[key] = value[rng.choice(list(value))]
            case _:
                value[key] = change(value[key], rng)
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        match rng.randrange(8):
            case 0:
                del value[place]
            case 1:
                value.insert(place, value[rng.randrange(len(value))])
            case _:
                value[place] = change(value[place], rng)
        return value
    return rng.choice(VALUES)(rng)


def _nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value
