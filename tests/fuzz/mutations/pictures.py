"""Damage to picture files by their structure: chunks, segments, tags and claimed sizes."""

import random
import struct
import zlib

EXTREME = (0, 1, 2, 7, 255, 256, 4095, 65_535, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return damaged contents of a picture file, by its format where that is known."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data, rng)
    if data[:2] == b"\xff\xd8":
        return _jpeg(data, rng)
    if data[:4] == b"RIFF":
        return _riff(data, rng)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(data, rng)
    return _number(data, rng, 0, min(len(data), 64))


def _number(data: bytes, rng: random.Random, start: int, end: int) -> bytes:
    """Overwrite one number of 1, 2 or 4 bytes between two places with an extreme or random one."""
    width = rng.choice((1, 2, 4))
    if end - start < width:
        return data
    at = rng.randrange(start, end - width + 1)
    value = rng.choice(EXTREME) if rng.random() < 0.5 else rng.getrandbits(32)
    order = rng.choice(("little", "big"))
    return data[:at] + (value % 256**width).to_bytes(width, order) + data[at + width :]


def _png(data: bytes, rng: random.Random) -> bytes:
    """Change, repeat, lose or exchange chunks, mostly with right checksums."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    which = rng.randrange(len(chunks))
    kind, body = chunks[which]
    what = rng.randrange(6)
    if what < 3:
        chunks[which] = (kind, _number(body, rng, 0, min(len(body), 24)))
    elif what == 3:
        chunks[which] = (rng.choice((b"tRNS", b"PLTE", b"eXIf", b"iCCP", b"acTL", b"fdAT")), body)
    elif what == 4:
        chunks.insert(rng.randrange(len(chunks) + 1), (kind, body))
    else:
        del chunks[which]
    if kind == b"IDAT" and rng.random() < 0.5:
        chunks[which % max(len(chunks), 1) : which + 1] = [(kind, zlib.compress(bytes(200_000)))]
    right = rng.random() < 0.9
    return data[:8] + b"".join(_chunk(*each, right=right) for each in chunks)


def _chunk(kind: bytes, body: bytes, *, right: bool) -> bytes:
    check = zlib.crc32(kind + body) if right else 0
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def _jpeg(data: bytes, rng: random.Random) -> bytes:
    """Change a number in a header segment, or exchange a segment's marker."""
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((at, min(at + 2 + length, len(data))))
        at += 2 + length
    if not segments or rng.random() < 0.1:
        return _number(data, rng, 0, len(data))
    start, end = rng.choice(segments)
    what = rng.randrange(5)
    if what == 0:
        return data[: start + 1] + bytes([rng.randrange(0xC0, 0xFF)]) + data[start + 2 :]
    if what == 1:
        return data[:start] + data[end:]
    if what == 2:
        return data[:end] + data[start:end] + data[end:]
    return _number(data, rng, start + 2, end)


def _riff(data: bytes, rng: random.Random) -> bytes:
    """Change a number in the header of a chunk, or behind it."""
    places, at = [], 12
    while at + 8 <= len(data):
        places.append(at)
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    start = rng.choice(places or [0])
    return _number(data, rng, start, min(start + 24, len(data)))


def _tiff(data: bytes, rng: random.Random) -> bytes:
    """Change tag, type, count or value of an entry of the first directory."""
    order = "little" if data[:2] == b"II" else "big"
    at = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[at : at + 2], order)
    if not count or rng.random() < 0.1:
        return _number(data, rng, 0, len(data))
    start = at + 2 + 12 * rng.randrange(count)
    offset, width = rng.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 4)))
    known = (254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 317, 320, 322, 323, 325, 338, 339)
    value = rng.choice(known) if offset == 0 else rng.choice((*EXTREME, rng.getrandbits(32)))
    start += offset
    return data[:start] + (value % 256**width).to_bytes(width, order) + data[start + width :]
