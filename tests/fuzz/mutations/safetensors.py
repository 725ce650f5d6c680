"""Damage to `.safetensors` files: the values of their JSON header, its length, and the data."""

import json
import random

from tests.fuzz.mutations import json_text, plain
from tests.fuzz.mutations.plain import NUMBERS

DTYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "F8_E4M3",
    "I64",
    "I8",
    "U64",
    "BOOL",
    "C64",
    "F4",
    "",
    "f32",
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change the header, or the number of bytes that it claims."""
    size = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + size], data[8 + size :]
    try:
        table = json.loads(header)
    except ValueError:
        return plain.mutate(data, rng)
    match rng.randrange(6):
        case 0:
            header = json_text.mutate(header, rng)
        case 1:
            return (rng.choice(NUMBERS) % 2**64).to_bytes(8, "little") + data[8:]
        case 2:
            header = json.dumps({**table, **_many(rng)}).encode()
        case _:
            _change(table, rng)
            header = json.dumps(table).encode()
    return len(header).to_bytes(8, "little") + header + rest


def _change(table: dict, rng: random.Random) -> None:
    entry = rng.choice([value for value in table.values() if isinstance(value, dict)] or [{}])
    match rng.randrange(4):
        case 0:
            entry["dtype"] = rng.choice(DTYPES)
        case 1:
            entry["shape"] = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 2, 64, 5000)))]
        case 2:
            entry["data_offsets"] = [rng.choice(NUMBERS), rng.choice(NUMBERS)]
        case 3:
            json_text.change(entry, rng)


def _many(rng: random.Random) -> dict:
    """Thousands of empty tensors of many axes."""
    shape = rng.choice(([0], [0] * 60, [0, 2**62], [1] * 64 + [0]))
    entry = {"dtype": "U8", "shape": shape, "data_offsets": [0, 0]}
    return {f"empty{i}": entry for i in range(rng.choice((1, 100, 3000)))}
