"""Damage to pickles by opcode: arguments, order, names, shapes and sizes, repetition."""

import io
import pickletools
import random
import struct

from tests.fuzz.mutations import plain
from tests.fuzz.mutations.plain import NUMBERS, TEXTS

NAMES = (
    *("os system", "builtins eval", "builtins getattr", "builtins list", "builtins set"),
    *("builtins dict", "builtins bytes", "builtins bytearray", "builtins complex", "numpy dtype"),
    *("numpy.core.multiarray _reconstruct", "numpy.core.multiarray scalar", "_codecs encode"),
    *("numpy._core.numeric _frombuffer", "torch._utils _rebuild_tensor_v2", "torch Size"),
    *("torch._utils _rebuild_parameter", "torch._utils _rebuild_tensor_v3", "torch LongStorage"),
    *("torch.storage _load_from_bytes", "torch._tensor _rebuild_from_type_v2", "copyreg x"),
    *(
        "collections OrderedDict",
        "collections Counter",
        "dnnlib.util EasyDict",
        "copyreg _reconstructor",
    ),
    *("torch_utils.persistence _reconstruct_persistent_obj", "a.b C", "x" * 2000 + " y"),
    *(
        "torch.jit._pickle restore_type_tag",
        "torch.jit._pickle build_intlist",
        "torch UntypedStorage",
    ),
)

OPCODES = b"(.0123NRQbdeghijlopqrstu}])\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98"


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a few opcodes of the first pickle; what follows it stays."""
    pieces, end = _split(data)
    if len(pieces) < 3:
        return plain.mutate(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        _change(pieces, rng)
    return b"".join(pieces) + data[end:]


def _split(data: bytes) -> tuple[list[bytes], int]:
    """Return the bytes of each opcode, and where the pickle ends."""
    places, stream = [], io.BytesIO(data)
    try:
        for _, _, place in pickletools.genops(stream):
            places.append(place)
            if len(places) > 50_000:
                break
    except ValueError:
        pass
    end = stream.tell()
    return [data[a:b] for a, b in zip(places, [*places[1:], end], strict=True)], end


def _change(pieces: list[bytes], rng: random.Random) -> None:
    place = rng.randrange(len(pieces))
    other = rng.randrange(len(pieces))
    match rng.randrange(11):
        case 0:
            del pieces[place]
            pieces.append(b".") if not pieces else None
        case 1:
            pieces.insert(place, pieces[other])
        case 2:
            pieces[place], pieces[other] = pieces[other], pieces[place]
        case 3:
            pieces.insert(
                place, bytes([rng.choice(OPCODES)]) + rng.randbytes(rng.choice((0, 1, 2)))
            )
        case 4:
            pieces[place] = bytes([rng.choice(OPCODES)]) + pieces[place][1:]
        case 6:  # some opcodes, such as those of a tensor, again and again
            run = pieces[place : place + rng.choice((1, 3, 30))]
            pieces[place:place] = run * rng.choice((1, 10, 1000))
        case 5:
            pieces.insert(place, rng.choice(_GLUTS)(rng))
        case _:
            pieces[place] = _argument(pieces[place], rng)


def _argument(piece: bytes, rng: random.Random) -> bytes:
    """Give an opcode that has an argument another one of its kind, or of another."""
    code = piece[:1]
    if code in b"KMJ\x8a\x8bIL":
        return number(rng.choice(NUMBERS))
    if code in b"X\x8c\x8dUTSV":
        return text(rng.choice(TEXTS)) if rng.random() < 0.8 else number(rng.choice(NUMBERS))
    if code == b"c":
        module, _, name = rng.choice(NAMES).partition(" ")
        return f"c{module}\n{name}\n".encode()
    if code in b"CB\x8e":
        return b"B" + struct.pack("<I", 16) + rng.randbytes(16)
    if code in b"hjqr\x94":
        return b"h" + bytes([rng.randrange(256)])
    return rng.choice((b"N", b"]", b"}", b")", b"\x88", b"(", b"t", b"K\x01", number(2**40)))


def number(value: int) -> bytes:
    """Push an integer of any size."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def text(value: str) -> bytes:
    """Push a text."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def _sets(rng: random.Random) -> bytes:
    return b"\x8f" * rng.choice((100, 10_000, 300_000))


def _containers(rng: random.Random) -> bytes:
    return rng.choice((b"]", b"}", b")", b"N", b"(")) * rng.choice((100, 10_000, 1_000_000))


def _doubled_names(rng: random.Random) -> bytes:
    """Join two long texts to a name, again and again."""
    long = text("x" * rng.choice((10, 1000, 100_000)))
    return long + b"q\xfc0" + b"h\xfch\xfc\x93" * rng.choice((1, 100, 2000))


def _repeated_calls(rng: random.Random) -> bytes:
    size = rng.choice((10, 1000, 100_000))
    calls = rng.choice((b"cbuiltins\nlist\n", b"cbuiltins\nset\n", b"ctorch\nSize\n"))
    items = b"(" + b"K\x05" * size + b"l"
    return items + b"q\xfe0" + calls + b"q\xfd0" + b"h\xfdh\xfe\x85R" * rng.choice((1, 50, 1000))


def _tuple_keys(rng: random.Random) -> bytes:
    """Keys whose hashes are equal: -1 and -2 have the same."""
    count = rng.choice((10, 500, 5000))
    keys = []
    for i in range(count):
        signs = [number(-1 - ((i >> bit) & 1)) for bit in range(14)]
        keys.append(b"(" + b"".join(signs) + b"tN")
    return b"}(" + b"".join(keys) + b"u"


def _merged_state(rng: random.Random) -> bytes:
    """An instance whose state is merged again and again out of two dicts."""
    items = b"".join(text(f"{i}") + b"N" for i in range(rng.choice((5, 500, 20_000))))
    state = b"}(" + items + b"u" + b"q\xfe0"
    made = b"ca\nB\n)\x81"
    return state + made + b"h\xfe}\x86b" * rng.choice((1, 50, 2000))


def _wide_text(rng: random.Random) -> bytes:
    return text("😀" + "x" * rng.choice((100, 100_000, 1_000_000))) * rng.choice((1, 4))


def _nested(rng: random.Random) -> bytes:
    return rng.choice((b"]", b"N\x85", b"2\x86")) * rng.choice((10, 1000, 20_000))


_GLUTS = (
    *(_sets, _containers, _doubled_names, _repeated_calls, _tuple_keys, _merged_state, _wide_text),
    _nested,
)
