"""What the fuzz command knows of a loader: sound files, how to damage them, how to read them."""

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.fuzz.mutations import mutate_one_of

Files = Mapping[str, bytes]
"""Contents by path relative to the folder of a case; a loader of one file has one entry."""


@dataclasses.dataclass(frozen=True)
class Family:
    """A loader and the files that it is tried on.

    Attributes:
        name: for the command line and reports.
        seeds: function that returns sound files, the beginning of every case.
        read: reads the files in a folder, and touches all that it got from them; it may raise
            `UserError` and nothing else.
        mutate: damages a copy of a seed; by default one file of it, by what it holds: a zip
            archive, pickle, array, JSON, safetensors or picture, else by its bytes.
        weight: share of the cases.
        at_least: share of the cases that must be read without an error, so that the damage is not
            so great that nothing behind the first check is reached.
        warm_up: whether each seed is read once before the first case, so that what the loader
            imports and keeps counts for none.
    """

    name: str
    seeds: Callable[[], Sequence[Files]]
    read: Callable[[Path], object]
    mutate: Callable[[Files, random.Random], Files] = mutate_one_of
    weight: int = 1
    at_least: float = 0.02
    warm_up: bool = True

    def case(self, seed: int, number: int, files: Sequence[Files]) -> Files:
        """Return the files of a case, the same on every machine.

        Args:
            seed: of the whole run.
            number: of the case.
            files: what `seeds` returned.
        """
        rng = random.Random(f"{seed}/{self.name}/{number}")
        return self.mutate(rng.choice(files), rng)


def write(files: Files, folder: Path) -> int:
    """Write the files of a case into an empty folder; return their size in bytes."""
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return sum(map(len, files.values()))
