"""Damage to `.npy` files: what their header claims, its form and version, and the data."""

import random
import re

from tests.fuzz.mutations import plain
from tests.fuzz.mutations.plain import NUMBERS

DESCRIPTIONS = (
    *("'<f4'", "'>f8'", "'|O'", "'<U0'", "'|S0'", "'<U1000000000'", "'|V8'", "'<M8[s]'", "'<c8'"),
    *("'|b1'", "'<f2'", "[('a', '<f4')]", "'f4', 'f4'", "3", "None", "'" + "x" * 3000 + "'"),
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change the header of an array, or cut or lengthen its data."""
    width = 2 if data[6] == 1 else 4
    first = 8 + width
    end = first + int.from_bytes(data[8:first], "little")
    header, rest, version = data[first:end].decode("latin-1"), data[end:], data[6:8]
    match rng.randrange(7):
        case 0 | 1:
            header = re.sub(r"'shape': \([^)]*\)", f"'shape': {_shape(rng)}", header)
        case 2 | 3:
            changed = f"'descr': {rng.choice(DESCRIPTIONS)}"
            header = re.sub(r"'descr': '[^']*'", lambda _: changed, header)
        case 4:
            header = plain.mutate(header.encode("latin-1"), rng).decode("latin-1")
        case 5:
            header = header.replace("False", rng.choice(("True", "1", "None", "[]", "(" * 9000)))
        case 6:
            rest = rest[: rng.randrange(len(rest) + 1)] + rng.randbytes(rng.choice((0, 1, 64)))
    if rng.random() < 0.05:
        version = bytes([rng.randrange(5), rng.randrange(3)])
    written = header.encode("latin-1")
    length = rng.choice(NUMBERS) if rng.random() < 0.05 else len(written)
    width = 2 if version[:1] == b"\x01" else 4
    return b"\x93NUMPY" + version + (length % 256**width).to_bytes(width, "little") + written + rest


def _shape(rng: random.Random) -> str:
    sizes = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 1, 2, 3, 40, 3000)))]
    return "(" + ", ".join(map(str, sizes)) + ("," if len(sizes) == 1 else "") + ")"
