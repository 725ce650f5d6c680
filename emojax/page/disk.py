"""The folder with what visitors uploaded and what they take away: bounded, and emptied by age."""

import contextlib
import os
import threading
import time
from pathlib import Path

from emojax.runtime.errors import UserError

HOUR = 3600.0


class Disk:
    """One folder of the page's own.

    Attributes:
        folder: where the files lie.
        most: bytes of all files together.
    """

    def __init__(self, folder: Path, most: int) -> None:
        """Take a folder that exists."""
        self.folder, self.most = folder, most

    def make_room(self, *, age: float = HOUR) -> None:
        """Delete files older than an age, in seconds.

        Raises:
            UserError: younger ones fill the folder.
        """
        total, now = 0, time.time()
        for folder, _, names in os.walk(self.folder):
            for name in names:
                total += _size_or_delete(Path(folder, name), now - age)
        if total >= self.most:
            raise UserError(
                f"the files of all visitors fill the {self.most >> 20} MB kept for them: try again "
                "in an hour"
            )

    def keep_young(self) -> None:
        """Delete old files from now on, every ten minutes, while the process runs."""

        def sweep() -> None:
            while True:
                time.sleep(HOUR / 6)
                with contextlib.suppress(UserError):
                    self.make_room(age=HOUR * 5 / 6)

        threading.Thread(target=sweep, name="old files", daemon=True).start()


def _size_or_delete(file: Path, before: float) -> int:
    """Return the size of a file; 0 of one last changed before a time, which is deleted."""
    try:
        found = file.stat()
        if found.st_mtime >= before:
            return found.st_size
        file.unlink()
    except OSError:  # another request deleted it
        pass
    return 0
