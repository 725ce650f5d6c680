"""One process at a time in a folder whose files two processes would spoil for each other."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from emojax.runtime.errors import UserError
from emojax.runtime.files import writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FILE = ".lock"
"""Name of the file that is locked; it stays, empty."""


@contextlib.contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes out of a folder while the block runs; a kill ends that too.

    Where the system or the file system knows no locks, nothing is kept out.

    Args:
        folder: an existing one.
        doing: what is done there, for the message: "training".

    Raises:
        UserError: another process does it there now, or the folder cannot be written.
    """
    if fcntl is None:
        yield
        return
    with writing(folder):
        file = open(folder / FILE, "w")  # noqa: SIM115 - closed below
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is {doing} in {folder}: wait for it, or choose another folder"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
