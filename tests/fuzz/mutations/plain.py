"""Damage by bytes, and the numbers and texts that parsers trip over."""

import random

LONG = b"9" * 5000

NUMBERS = (
    *(0, 1, 2, 7, 8, 63, 64, 65, 127, 128, 255, 256, 1000, 65_535, 65_536, 10**5, 10**6, 10**9),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 10**13, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    *(-1, -2, -(2**31), -(2**63), 10**40),
)

TEXTS = (
    *(
        "",
        " ",
        "\n",
        "\x1b[2J",
        "a\nerror: all is well",
        "\u202egnp",
        "../../etc/passwd",
        "/dev/zero",
    ),
    *("0", "-1", "1e999", "nan", "inf", "None", "true", "x" * 300, "é" * 3000, "😀" + "x" * 3000),
    *("<f4", ">i4", "|O", "<U0", "|V8", "float32", "__class__", "\x00", "9" * 5000),
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat or overwrite bytes at random places."""
    changed = bytearray(data)
    # structure stands at the beginning of most files; raw numbers, where little can go wrong, later
    reach = len(data) if rng.random() < 0.4 else min(len(data), 4096)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place = rng.randrange(max(reach, 1))
        match rng.randrange(7):
            case 0 | 1 if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case 2 if place < len(changed):
                changed[place] = rng.choice(
                    b"(.0123NRQbceghijloqrstu}])\x81\x85\x88\x8a\x8b\x8d\x93\x00\xff"
                )
            case 3:
                del changed[place : place + rng.choice((1, 1, 2, 8, 64))]
            case 4:
                changed[place:place] = changed[place : place + rng.choice((1, 2, 8, 64))]
            case 5:
                width = rng.choice((2, 4, 8))
                number = rng.choice(NUMBERS) % 256**width
                changed[place : place + width] = number.to_bytes(
                    width, rng.choice(("little", "big"))
                )
            case 6 if rng.random() < 0.2:
                del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)
