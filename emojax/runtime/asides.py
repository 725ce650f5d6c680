"""Hidden files and folders that are written aside, and what killed processes left of them.

Each is locked while it is written, and a kill ends the lock. What bears this machine's name and is
not locked was left by a killed process: it is removed before a process writes into the same folder
for the first time. Where the system or the file system knows no locks, it stays.
"""

import contextlib
import hashlib
import os
import platform
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which would not rename what is open either
    fcntl = None

PART = ".part-"
"""Beginning of the names of what is being written."""

OLD = ".old-"
"""Beginning of the names of folders that hold, under its own name, a folder being replaced."""

_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
"""Part of every name: file systems that machines share may know locks of one machine alone."""

cleaned: set[str] = set()
"""Folders that this process has cleaned."""


@contextlib.contextmanager
def file(place: Path, suffix: str) -> Iterator[Path]:
    """Give an empty hidden file in a folder; it is deleted at the end if it is still there."""
    with _aside(place, PART, suffix, lambda path: path.open("xb").close()) as path:
        yield path


@contextlib.contextmanager
def folder(place: Path, kind: str = PART) -> Iterator[Path]:
    """Give an empty hidden folder in a folder; it is deleted at the end if it is still there."""
    with _aside(place, kind, "", Path.mkdir) as path:
        yield path


def clean(place: Path) -> None:
    """Remove what killed processes of this machine left in a folder, once in a process.

    A folder that was being replaced when the kill came is put back where nothing took its place.
    """
    if fcntl is None or str(place.absolute()) in cleaned:
        return
    cleaned.add(str(place.absolute()))
    for kind in (PART, OLD):
        for found in place.glob(f"{kind}{_MACHINE}-*"):
            with contextlib.suppress(OSError):  # it is locked, or another process was faster
                held = _lock(found)
                if held is not None:
                    _remove(found)
                    os.close(held)


@contextlib.contextmanager
def _aside(place: Path, kind: str, suffix: str, make: Callable[[Path], None]) -> Iterator[Path]:
    """Make something under a hidden name of its own, and keep it locked while the block runs."""
    clean(place)
    path, held, taken = place, None, True
    try:
        while taken:  # by a process that cleans, between the making and the lock
            path = place / f"{kind}{_MACHINE}-{secrets.token_hex(6)}{suffix}"
            make(path)
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                held, taken = _lock(path), False
        yield path
    finally:
        if path != place:
            _remove(path)
        if held is not None:
            os.close(held)


def _lock(path: Path) -> int | None:
    """Open and lock a file or folder; None where there are no locks.

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: another process has removed it.
    """
    if fcntl is None:
        return None
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.stat()
    except OSError as error:
        os.close(opened)
        if isinstance(error, BlockingIOError | FileNotFoundError):
            raise
        return None
    return opened


def _remove(path: Path) -> None:
    """Delete what is at a path; of an `OLD` folder, put back what has no successor."""
    with contextlib.suppress(OSError):
        if not path.is_dir():
            path.unlink()
            return
        for inner in path.iterdir() if path.name.startswith(OLD) else ():
            if not (path.parent / inner.name).exists():
                inner.rename(path.parent / inner.name)
    shutil.rmtree(path, ignore_errors=True)
