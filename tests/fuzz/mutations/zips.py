"""Damage to zip archives: records written anew with right checksums, and headers that lie."""

import io
import itertools
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable

from tests.fuzz.mutations import plain
from tests.fuzz.mutations.plain import NUMBERS

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)

DATE = (1980, 1, 1, 0, 0, 0)
"""Of every record, so that the same seed gives the same bytes at any time."""

CENTRAL = ((4, 2), (6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4))
"""Offset and width of fields of a central header: versions, flags, method, CRC, sizes, place."""
LOCAL = ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))
END = ((8, 2), (10, 2), (12, 4), (16, 4), (20, 2))


def mutate(
    data: bytes, rng: random.Random, inner: Callable[[bytes, random.Random], bytes]
) -> bytes:
    """Damage a record, the list of records, or a header.

    Args:
        data: the archive.
        rng: chooses.
        inner: damages the contents of a record.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return plain.mutate(data, rng)
    if not records or rng.random() < 0.2:
        return _lying(data, rng)
    return _rewritten(records, rng, inner)


def _rewritten(
    records: dict[str, bytes], rng: random.Random, inner: Callable[[bytes, random.Random], bytes]
) -> bytes:
    chosen = rng.choice([name for name in records if name.endswith(".pkl")] or list(records))
    match rng.randrange(12):
        case 0:
            chosen = rng.choice(list(records))
            records[chosen] = plain.mutate(records[chosen], rng)
        case 1:
            del records[rng.choice(list(records))]
        case 2:
            records["x" * rng.choice((1, 200, 60_000))] = b""
        case 3:
            records[rng.choice(list(records))] = bytes(rng.choice((0, 10**6, 3 * 10**7)))
        case 4:
            records |= {f"{chosen}{i}": b"" for i in range(rng.choice((5, 2000)))}
        case 5:
            records[f"{chosen.rpartition('/')[0]}/byteorder"] = rng.choice((b"big", b"little", b""))
            records[chosen] = inner(records[chosen], rng)
        case _:
            records[chosen] = inner(records[chosen], rng)
    method = rng.choice(METHODS) if rng.random() < 0.3 else zipfile.ZIP_STORED
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two records of one name
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, record in records.items():
                archive.writestr(zipfile.ZipInfo(name, DATE), record, method)
            if rng.random() < 0.03:
                archive.writestr(zipfile.ZipInfo(chosen, DATE), b"again")
    return _lying(stream.getvalue(), rng) if rng.random() < 0.05 else stream.getvalue()


def _lying(data: bytes, rng: random.Random) -> bytes:
    """Change one field of a header."""
    changed = bytearray(data)
    mark, fields = rng.choice(
        ((b"PK\x01\x02", CENTRAL), (b"PK\x03\x04", LOCAL), (b"PK\x05\x06", END))
    )
    places = [found.start() for found in itertools.islice(re.finditer(mark, data), 2000)]
    if not places:
        return plain.mutate(data, rng)
    place = rng.choice(places)
    offset, width = rng.choice(fields)
    (old,) = struct.unpack_from("<I", changed.ljust(place + offset + 4, b"\0"), place + offset)
    new = rng.choice((*NUMBERS, 8, 12, 14, 93, 95, old + 1, old - 1, 2 * old)) % 256**width
    changed[place + offset : place + offset + width] = new.to_bytes(width, "little")
    return bytes(changed)
