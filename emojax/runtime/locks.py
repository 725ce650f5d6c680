"""One process at a time in a folder whose files two processes would spoil for each other."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FILE = ".lock"
"""Name of the file that is locked; it stays, empty."""


@contextlib.contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes out of a folder while the block runs; a kill ends that too.

    The block may remove the folder. Where the system or the file system knows no locks, nothing is
    kept out.

    Args:
        folder: made when missing.
        doing: what is done there, for the message: "training".

    Raises:
        UserError: another process does it there now, or the folder cannot be written.
    """
    file = None
    while file is None:
        make_folder(folder)
        file = _held(folder, doing)
    with file:
        yield


def _held(folder: Path, doing: str) -> IO[str] | None:
    """Return the open file of the lock; None: another process has removed it with the folder."""
    try:
        with writing(folder):
            file = open(folder / FILE, "w")  # noqa: SIM115 - closed by the caller
    except UserError:
        if folder.is_dir():
            raise
        return None
    if fcntl is None:
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), os.stat(folder / FILE)):
            return file
    except BlockingIOError as error:
        file.close()
        raise UserError(
            f"another process is {doing} in {folder}: wait for it, or choose another folder"
        ) from error
    except FileNotFoundError:
        pass
    except OSError:  # a file system without locks
        return file
    file.close()
    return None
