"""Videos: containers that FFmpeg reads, and moving pictures that Pillow reads."""

import importlib.util
import random
import tempfile
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from emojax.film import loops, reading
from emojax.film.reading import Video
from emojax.film.writing import chunk_writer
from tests.fuzz.family import Family, Files
from tests.fuzz.mutations import pictures as damage
from tests.fuzz.mutations import plain
from tests.fuzz.mutations.plain import NUMBERS

SIDE, FRAMES = 32, 4
MOST = 50
"""Frames of a film that are read at most; a damaged one may claim any number."""


def seeds() -> list[Files]:
    """Return films of a few frames; those of FFmpeg where PyAV is installed."""
    rng = np.random.default_rng(0)
    frames = [*rng.integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)]
    encoded = (".mp4", ".mov", ".mkv", ".nut", ".avi") if importlib.util.find_spec("av") else ()
    found: list[Files] = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix in encoded:
            file = Path(folder, f"film{suffix}")
            about = Video(file, SIDE, SIDE, Fraction(1, 12800), Fraction(25), FRAMES)
            with chunk_writer(file, about) as put:
                for index, frame in enumerate(frames):
                    put(512 * index, frame)
            found.append({"film": file.read_bytes()})
        for suffix in (".gif", ".webp"):
            file = Path(folder, f"film{suffix}")
            loops.write(file, frames)
            found.append({"film": file.read_bytes()})
    return found


def mutate(files: Files, rng: random.Random) -> Files:
    """Change sizes and other numbers of the container, or bytes anywhere; or cut it short."""
    data = files["film"]
    for _ in range(rng.choice((1, 1, 2, 4))):
        match rng.randrange(4):
            case 0 if data[:4] in (b"GIF8", b"RIFF"):
                data = damage.mutate(data, rng)
            case 0 | 1 if len(data) > 8:
                data = _renumbered(data, rng)
            case _:
                data = plain.mutate(data, rng)
    return {"film": data}


def _renumbered(data: bytes, rng: random.Random) -> bytes:
    """Change a number of a header: of one, two or four bytes, in either order."""
    place, width = rng.randrange(min(len(data), 2000)), rng.choice((1, 2, 4))
    number = rng.choice(NUMBERS) % 256**width
    order = rng.choice(("big", "little"))
    return data[:place] + number.to_bytes(width, order) + data[place + width :]


def read(folder: Path) -> object:
    """Describe the film, and decode its first frames."""
    film = reading.describe(folder / "film")
    return [frame.picture.max() for frame in islice(reading.read(film), MOST)]


FILMS = Family("films", seeds, read, mutate)
