"""Files from outside: only regular ones, of a bounded size; what is wrong becomes one sentence."""

import contextlib
import dataclasses
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from emojax.runtime.errors import UserError, shortened

_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags under which opening a named pipe returns at once, with or without a writer."""


class Malformed(ValueError):
    """The reason why the bytes of a file are refused; `reading` puts it into a sentence."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file, for its size and for messages.

    Attributes:
        name: what it is, with an article: "an inversion".
        advice: what was wanted or what to do: "wanted a .npz of emojax invert".
        most: bytes of the largest that is read.
    """

    name: str
    advice: str
    most: int = 2**28


@contextlib.contextmanager
def opened(file: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a regular file for reading; a named pipe or a device is refused at once.

    Raises:
        Malformed: it is something else than a file.
        OSError: it is missing or cannot be read.
    """
    descriptor = os.open(file, _OPEN)
    with open(descriptor, "rb", closefd=True) as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Malformed("it is a pipe or a device, not a file")
        yield stream


def contents(file: str | os.PathLike, most: int) -> bytes:
    """Return the bytes of a regular file.

    Args:
        file: its path.
        most: bytes of the largest that is read.

    Raises:
        Malformed: it is no file, or larger.
        OSError: it is missing or cannot be read.
    """
    with opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise Malformed(f"it has {size:,} bytes, more than {most:,}")
        return stream.read(size)


@contextlib.contextmanager
def reading(file: str | os.PathLike, kind: Kind) -> Iterator[bytes]:
    """Give the bytes of a file, and turn what is found wrong with them into one sentence.

    Args:
        file: its path.
        kind: what it should be.

    Yields:
        Its contents.

    Raises:
        UserError: it is missing, too large or no file, or the block raised `Malformed` or another
            `ValueError`.
    """
    with explained(file, kind):
        yield contents(file, kind.most)


@contextlib.contextmanager
def explained(file: object, kind: Kind) -> Iterator[None]:
    """Turn what is found wrong with a file while the block reads it into one sentence.

    Args:
        file: as messages name it.
        kind: what it should be.

    Raises:
        UserError: see `reading`.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"no file {shown(file)}: {kind.advice}") from error
    except UserError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(
            f"{shown(file)} is not {kind.name} ({shortened(reason, 140)}): {kind.advice}"
        ) from error


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every file under a folder, by its path there with slashes.

    Raises:
        Malformed: there is something else than files and folders, such as a named pipe.
        OSError: it cannot be read.
    """
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            if not file.is_file():
                raise Malformed(f"{shortened(name, 60)} in it is no file")
            found[file.relative_to(folder).as_posix()] = file.stat().st_size
    return found


def shown(file: object) -> str:
    """Return a path as messages show it: printable, on one line, a long one without its middle."""
    return shortened(file, 160)
