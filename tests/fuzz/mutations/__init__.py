"""Damage that knows the structure of what it damages. `mutate` chooses by the first bytes."""

import random
from collections.abc import Mapping

from tests.fuzz.mutations import arrays, json_text, pickles, plain, safetensors, zips


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return damaged contents of a file: mostly by its structure, sometimes by its bytes."""
    if rng.random() < 0.2:
        return plain.mutate(data, rng)
    if data[:4] == b"PK\x03\x04":
        return zips.mutate(data, rng, mutate)
    if data[:6] == b"\x93NUMPY":
        return arrays.mutate(data, rng)
    if data[:1] == b"\x80":
        return pickles.mutate(data, rng)
    if data[8:9] == b"{":
        return safetensors.mutate(data, rng)
    if data.lstrip()[:1] in (b"{", b"["):
        return json_text.mutate(data, rng)
    return plain.mutate(data, rng)


def mutate_one_of(files: Mapping[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """Damage one file of a case; now and then lose it, or put another one in its place."""
    changed = dict(files)
    name = rng.choice(sorted(changed))
    if len(changed) > 1 and rng.random() < 0.05:
        del changed[name]
    elif len(changed) > 1 and rng.random() < 0.05:
        changed[name] = changed[rng.choice(sorted(changed))]
    else:
        changed[name] = mutate(changed[name], rng)
    return changed
