"""Inversions, directions, statistics, score tables, blocks, settings and other small files."""

import tempfile
from pathlib import Path

from tests.fuzz.family import Family, Files
from tests.support.file_loaders import LOADERS


def seeds() -> list[Files]:
    """One sound folder of every kind; the first folder of a path is the kind's name."""
    found = []
    for kind, loader in LOADERS.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            loader.write(place)
            files = [file for file in sorted(place.rglob("*")) if file.is_file()]
            named = {each.relative_to(place).as_posix(): each for each in files}
            found.append({f"{kind}/{name}": each.read_bytes() for name, each in named.items()})
    return found


def read(folder: Path) -> object:
    """Load the kind whose folder is there."""
    kinds = [kind for kind in LOADERS if (folder / kind).is_dir()]
    return [LOADERS[kind].load(folder / kind) for kind in kinds]


RECORDS = Family("records", seeds, read, weight=2)
