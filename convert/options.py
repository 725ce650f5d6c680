"""The flags that all converters have, and where their results go."""

import dataclasses
from pathlib import Path

import tyro

from emojax.runtime.errors import UserError
from emojax.store import bundle


@dataclasses.dataclass(frozen=True)
class Options:
    """What to convert, and into which bundle."""

    file: tyro.conf.Positional[Path]
    """The published file."""
    name: str = ""
    """Name of the bundle; default: that of the file, without its ending."""
    checkpoints: Path | None = None
    """Folder that holds bundles; default: where the bundle is already, else ./checkpoints if there
    is such a folder, else EMOJAX_HOME or the user's data folder, where all commands find it."""

    @property
    def folder(self) -> Path:
        """Folder of the bundle that the part is written into.

        Raises:
            UserError: the name is that of the embedded bundle.
        """
        return destination(self.name or self.file.stem, self.checkpoints)

    @property
    def bundle(self) -> bundle.Bundle:
        """The bundle as it is before the conversion; a new one has no parts."""
        if self.checkpoints is not None:
            return bundle.look_up(self.folder.absolute())
        return bundle.look_up(self.name or self.file.stem)


@dataclasses.dataclass(frozen=True)
class SeveralFiles:
    """The same for several files, whose bundle has no file's name."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Published files, in any order."""
    name: str = dataclasses.field(kw_only=True)
    """Name of the bundle."""
    checkpoints: Path | None = None
    """Folder that holds bundles; default: where the bundle is already, else ./checkpoints if there
    is such a folder, else EMOJAX_HOME or the user's data folder, where all commands find it."""

    @property
    def folder(self) -> Path:
        """Folder of the bundle that the parts are written into.

        Raises:
            UserError: the name is that of the embedded bundle.
        """
        return destination(self.name, self.checkpoints)


def destination(name: str, checkpoints: Path | None = None) -> Path:
    """Return the folder that converted parts of a bundle are written into.

    Raises:
        UserError: the name is that of the embedded bundle.
    """
    if bundle.is_embedded(name):
        raise UserError(
            f"{bundle.DEFAULT} is the embedded bundle, whose networks belong together: choose "
            "another --name"
        )
    return bundle.destination(name, checkpoints)
