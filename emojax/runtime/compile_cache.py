"""Compiled programs are kept on disk, so that the second start of a command is quicker.

JAX's own persistent cache, switched on for every command (not for those who import emojax: their
programs are theirs). What XLA tuned for a GPU is kept with them. `EMOJAX_COMPILE_CACHE=off` turns
it off; a `JAX_COMPILATION_CACHE_DIR` of the user's is left as it is.
"""

import os
from pathlib import Path

SWITCH = "EMOJAX_COMPILE_CACHE"

FOLDER = "JAX_COMPILATION_CACHE_DIR"
"""JAX's variable with the folder of compiled programs."""


def keep_programs() -> None:
    """Switch the cache on by variables that JAX reads when it is imported; call it before."""
    if os.environ.get(SWITCH, "").lower() == "off" or FOLDER in os.environ:
        return
    try:
        folder = cache_folder().expanduser()
    except RuntimeError:  # a user without a home
        return
    for name, value in variables(folder / "programs").items():
        os.environ.setdefault(name, value)


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
