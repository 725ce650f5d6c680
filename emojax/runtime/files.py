"""Files that are either whole or not there, and the folders they lie in."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emojax.runtime import asides
from emojax.runtime.errors import UserError


def sha256(file: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes, read piece by piece."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(file: Path, report: Mapping[str, Any]) -> None:
    """Write a report as indented JSON, aside and then renamed.

    Raises:
        UserError: it cannot be written.
    """
    with replacing(file) as aside:
        aside.write_bytes(json_bytes(report))


def json_bytes(report: Mapping[str, Any]) -> bytes:
    """Return a report as indented JSON."""
    return (json.dumps(report, indent=2) + "\n").encode()


def make_folder(path: str | os.PathLike) -> Path:
    """Make a folder, and those above it, where they are missing; return its path.

    Raises:
        UserError: it cannot be made, or is a file.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make folder {path} ({error}): choose another name") from error
    return Path(path)


@contextlib.contextmanager
def writing(folder: str | os.PathLike) -> Iterator[None]:
    """Turn what the system says against writing into a folder into one sentence.

    Raises:
        UserError: a file of it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write into {folder} ({error.strerror or error}): make room there or choose "
            "another folder"
        ) from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a path to write to, and put the file in the place of `path` when the block ends well.

    The path lies in the same folder, hidden, with the same suffix. When the block raises or is
    interrupted the file is deleted, and what was at `path` before is untouched.

    Args:
        path: the file wanted; its folder exists. It gets the permissions of any new file.

    Yields:
        Where to write: an empty file. It has a short name of its own, since one that contains the
        wanted name could be too long for the disk.

    Raises:
        UserError: `path` is something else than a file, or writing failed.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a rename would do away with /dev/null
            raise UserError(f"cannot write {path}: it exists and is no file, choose another name")
        with asides.file(path.parent, path.suffix) as aside:
            yield aside
            os.replace(aside, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): make room or choose another folder"
        ) from error


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Give a new folder to fill, and put it in the place of `path` when the block ends well.

    The new folder lies hidden beside the old one, which is deleted last; when the block raises or
    is interrupted, the new one is deleted.

    Args:
        path: the folder wanted; the one above it exists.

    Yields:
        The new folder, empty.

    Raises:
        UserError: writing failed.
    """
    path = Path(path)
    try:
        with asides.folder(path.parent) as aside:
            yield aside
            if not path.exists():
                aside.rename(path)
                return
            with asides.folder(path.parent, asides.OLD) as old:
                path.rename(old / path.name)
                aside.rename(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): make room or choose another folder"
        ) from error
