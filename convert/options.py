"""The flags that all converters have."""

import dataclasses
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class Options:
    """What to convert, and into which bundle."""

    file: tyro.conf.Positional[Path]
    """The published file."""
    name: str = ""
    """Name of the bundle; default: the file's own."""
    output: Path = Path("checkpoints")
    """Folder that holds the bundles."""

    @property
    def folder(self) -> Path:
        """Folder of the bundle."""
        return self.output / (self.name or self.file.stem)
