"""Compiled programs are kept on disk, so that the second start of a command is quicker.

JAX's own persistent cache, switched on for every command (not for those who import emojax: their
programs are theirs). What XLA tuned for a GPU is kept with them. `EMOJAX_COMPILE_CACHE=off` turns
it off; a `JAX_COMPILATION_CACHE_DIR` of the user's is left as it is.
"""

import contextlib
import glob
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

SWITCH = "EMOJAX_COMPILE_CACHE"

FOLDER = "JAX_COMPILATION_CACHE_DIR"
"""JAX's variable with the folder of compiled programs."""
_UNREADABLE = re.compile(r"Error reading persistent compilation cache entry for '(\w+)'")
"""JAX's warning, with a program's name; its file's name begins with it."""


def keep_programs() -> Path | None:
    """Switch the cache on by variables that JAX reads when it is imported; call it before.

    Returns:
        The folder of the programs; None where the cache is off or the user's own.
    """
    if os.environ.get(SWITCH, "").lower() == "off" or FOLDER in os.environ:
        return None
    try:
        folder = cache_folder().expanduser() / "programs"
    except RuntimeError:  # a user without a home
        return None
    for name, value in variables(folder).items():
        os.environ.setdefault(name, value)
    return folder


@contextlib.contextmanager
def without_broken(folder: Path | None) -> Iterator[None]:
    """Delete kept programs that cannot be read, in the place of JAX's warning about them.

    A process that is stopped while it writes a program leaves a part of it, which JAX would neither
    use nor replace. After its warning it compiles the program and writes it anew.

    Args:
        folder: of the programs; None: does nothing.
    """
    if folder is None:
        yield
        return
    before = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        found = _UNREADABLE.match(str(message))
        if found is None:
            before(message, category, filename, lineno, file, line)
            return
        for entry in folder.glob(f"{glob.escape(found[1])}-*"):
            with contextlib.suppress(OSError):  # another process was quicker, or may not be written
                entry.unlink()

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def variables(folder: Path) -> dict[str, str]:
    """Return the variables with which JAX keeps all programs in a folder."""
    return {
        FOLDER: str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # many small ones make up the time
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def cache_folder() -> Path:
    """Return the user's cache folder for emojax; it may begin with `~`, for help texts to show."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "emojax")
