"""The folders that hold folders of bundles."""

import os
import sys
from pathlib import Path

CHECKPOINTS = "checkpoints"
"""Name of the folder that holds bundles."""

PACKAGE = Path(__file__).parents[1]
"""Folder of the installed package."""


def search_path() -> list[Path]:
    """Return the folders that bundles are looked for in, in this order; those that exist.

    `checkpoints` in the current folder, in `home`, in the checkout that this file is part of, and
    in the installed package.
    """
    places = [Path()]
    if user := home():
        places.append(user)
    if os.path.isfile(PACKAGE.parent / "pyproject.toml"):
        places.append(PACKAGE.parent)
    places.append(PACKAGE)
    found: dict[str, Path] = {}
    for root in places:
        folder = root / CHECKPOINTS
        if os.path.isdir(folder):
            found.setdefault(os.path.realpath(folder), folder)
    return list(found.values())


def home() -> Path | None:
    """Return the folder in which bundles are kept for use from every other folder.

    `EMOJAX_HOME` where it is set; else `emojax` in the user's data folder: `$XDG_DATA_HOME` or
    `~/.local/share` on Linux, `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` on
    Windows. None where there is no such folder, as for a user without a home.
    """
    try:
        if chosen := os.environ.get("EMOJAX_HOME"):
            return Path(chosen).expanduser()
        if sys.platform == "darwin":
            data = Path.home() / "Library" / "Application Support"
        elif sys.platform == "win32":
            data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        else:
            data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    except RuntimeError:
        return None
    return data / "emojax"
