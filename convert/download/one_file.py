"""One file from its address to the disk: resumed where it was cut, checked before it is believed.

    NAME.part         the bytes so far
    NAME.part.json    of which answer they are: address, size, validator
    NAME              the whole file, checked

An interrupted run loses at most the bytes of one write. Bytes of another file, as after a change on
the server, are never joined: the server is asked with If-Range, and sizes are compared.
"""

import dataclasses
import errno
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import requests

from convert.download import web_pages
from convert.download.addresses import host
from convert.download.connection import Session, answer
from convert.download.problems import Hitch, LocalProblem, Problem, Stopped
from emojax.runtime.files import sha256, write_json

CHUNK = 2**16
"""Bytes of one write, and the most that a cut can cost."""

LONGEST_PAGE = 2**16
"""Bytes that are read of a web page."""

LONGEST_PAUSE = 30.0
"""Seconds between two attempts, where the server does not ask for more."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A file to download.

    Attributes:
        name: that it gets on the disk.
        address: where its bytes are.
        most: bytes beyond which it cannot be the file.
        size: its bytes, where they are published.
        sha256: its hash in lower case, or the published beginning of it; "": none is published.
    """

    name: str
    address: str
    most: int
    size: int | None = None
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Patience:
    """How often a connection is tried again.

    Attributes:
        retries: attempts in a row that may bring nothing new.
        wait: seconds before the first of them; doubled each time.
    """

    retries: int = 5
    wait: float = 1.0


class Shown(Protocol):
    """Where progress is told."""

    def at(self, done: int, total: int | None) -> None:
        """Say how many bytes are there, of how many."""

    def note(self, text: str) -> None:
        """Say what is waited for; "" for nothing."""


def fetch(
    wanted: Wanted,
    folder: Path,
    session: Session,
    shown: Shown,
    stop: threading.Event,
    patience: Patience,
) -> Path:
    """Download a file into a folder, or finish what an earlier run began; return its path.

    Raises:
        Problem: it cannot be had, or is another file than the published one.
        Stopped: `stop` was set; what has arrived stays.
    """
    whole = folder / wanted.name
    if whole.is_file():  # of an earlier run, which may have wanted another file of that name
        if not _difference(whole, wanted):
            return whole
        whole.unlink()
    partial = _Partial(folder, wanted)
    failures, best = 0, partial.size
    while True:
        try:
            _transfer(wanted.address, partial, session, shown, stop)
            break
        except Hitch as hitch:
            failures = 1 if partial.size > best else failures + 1
            best = max(best, partial.size)
            if failures > patience.retries:
                times = f", {failures} times in a row" if failures > 1 else ""
                raise Problem(f"{hitch}{times}") from hitch
            pause = hitch.wait
            if pause is None:
                pause = min(patience.wait * 2 ** (failures - 1), LONGEST_PAUSE)
            shown.note(f"{hitch}, trying again")
            if stop.wait(pause):
                raise Stopped from hitch
            shown.note("")
    shown.note("checking")
    partial.check()
    partial.file.replace(whole)
    partial.notes.unlink(missing_ok=True)
    shown.note("")
    return whole


class _Partial:
    """The bytes of a file that have arrived, and what is known of the whole."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self.wanted = wanted
        self.file = folder / f"{wanted.name}.part"
        self.notes = folder / f"{wanted.name}.part.json"
        self.total: int | None = None
        self.validator: str | None = None
        self._recall()

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.file.stat().st_size if self.file.is_file() else 0

    @property
    def complete(self) -> bool:
        """Whether all bytes are there, as far as their number is known."""
        return self.total is not None and self.size == self.total

    def _recall(self) -> None:
        """Take up what an earlier run has left, or forget it where it is of another address."""
        try:
            noted = json.loads(self.notes.read_text())
            total, validator = noted["total"], noted["validator"]
            known = isinstance(total, int | None) and isinstance(validator, str | None)
            if known and noted["address"] == self.wanted.address:
                self.total, self.validator = total, validator
                if total is None or self.size <= total:
                    return
        except (OSError, ValueError, LookupError, TypeError):
            pass
        self.forget()

    def forget(self) -> None:
        """Delete what has arrived."""
        self.file.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
        self.total = self.validator = None

    def note(self, total: int | None, validator: str | None) -> None:
        """Keep what an answer says of the whole."""
        self.total, self.validator = total, validator
        noted = {"address": self.wanted.address, "total": total, "validator": validator}
        write_json(self.notes, noted)

    def check(self) -> None:
        """Hold the whole against what is published of it.

        Raises:
            Problem: it is another file; nothing of it is kept.
        """
        if reason := _difference(self.file, self.wanted):
            self.forget()
            raise Problem(f"{reason}: it was damaged or replaced on its way, and is deleted")


def _difference(file: Path, wanted: Wanted) -> str:
    """Return in what a file differs from what is published of it; "" where it does not."""
    size = file.stat().st_size
    if wanted.size not in (None, size):
        return f"it has {size:,} bytes, published are {wanted.size:,}"
    if wanted.sha256 and not (digest := sha256(file)).startswith(wanted.sha256):
        return f"its SHA-256 begins with {digest[:16]}, the published one with {wanted.sha256[:16]}"
    return ""


def _transfer(
    address: str,
    partial: _Partial,
    session: Session,
    shown: Shown,
    stop: threading.Event,
    *,
    confirmed: bool = False,
) -> None:
    """Ask once for what is missing of a file, and write what comes.

    Raises:
        Problem: see `fetch`.
        Hitch: not all of it came.
        Stopped: see `fetch`.
    """
    shown.at(partial.size, partial.total)
    if partial.complete:
        return
    start = partial.size
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and partial.validator:
        headers["If-Range"] = partial.validator
    with answer(session, address, headers) as found:
        if found.status_code == 416:
            _settle_no_more(found, partial)
            return
        chunks = found.iter_content(CHUNK)
        first = next(chunks, b"")
        if web_pages.is_page(found.headers.get("Content-Type", ""), first):
            target = None if confirmed else _confirmation(first, chunks, found.url)
        else:
            _begin(found, first, partial)
            _write(first, chunks, partial, shown, stop)
            return
    if target is None:
        raise Problem("the server asks again for a confirmation in the place of the file")
    _transfer(target, partial, session, shown, stop, confirmed=True)


def _confirmation(first: bytes, chunks: Iterator[bytes], address: str) -> str:
    """Return the address behind a page's form.

    Raises:
        Problem: it has none that can be followed; says what the page says.
    """
    page = first
    while len(page) < LONGEST_PAGE and (more := next(chunks, b"")):
        page += more
    text = page.decode(errors="replace")
    target = web_pages.confirmed_address(text, address)
    if target is None:
        raise Problem(web_pages.meaning(text))
    scheme, theirs = urlsplit(target).scheme, host(target)
    trusted = theirs == host(address) or theirs.endswith((".google.com", ".googleusercontent.com"))
    if not trusted or scheme not in ("https", urlsplit(address).scheme):
        raise Problem(f"the server sent a form that leads to {theirs}")
    return target


def _settle_no_more(found: requests.Response, partial: _Partial) -> None:
    """Treat an answer that nothing follows the bytes which are there.

    Raises:
        Hitch: they are not the whole file; they are deleted.
    """
    whole = re.fullmatch(r"bytes \*/(\d+)", found.headers.get("Content-Range", ""))
    if whole and int(whole[1]) == partial.size:
        partial.note(partial.size, partial.validator)
        return
    partial.forget()
    raise Hitch("the file has changed on the server")


def _begin(found: requests.Response, first: bytes, partial: _Partial) -> None:
    """Compare an answer with what is there and what is published, and keep what it says.

    Raises:
        Problem: it is another file than the published one.
        Hitch: what is there belongs to another file, and is deleted.
    """
    wanted, total = partial.wanted, _whole_size(found)
    if found.status_code == 206:
        if _first_byte(found) != partial.size or partial.total not in (None, total):
            partial.forget()
            raise Hitch("the file has changed on the server")
    elif not _like_a_checkpoint(first):
        raise Problem(f"it begins with {first[:16]!r}, which no checkpoint does")
    if wanted.size is not None and total not in (None, wanted.size):
        partial.forget()
        raise Problem(f"the server has {total:,} bytes, published are {wanted.size:,}")
    if total is not None and total > wanted.most:
        raise Problem(f"the server has {total:,} bytes, wanted {wanted.most:,} at most")
    if found.status_code == 200:  # from the beginning, whatever was asked for
        partial.forget()
    tag = found.headers.get("ETag", "")
    weak = not tag or tag.startswith("W/")
    partial.note(total, found.headers.get("Last-Modified") if weak else tag)


def _write(
    first: bytes, chunks: Iterator[bytes], partial: _Partial, shown: Shown, stop: threading.Event
) -> None:
    """Append what comes.

    Raises:
        Hitch: the connection ends before the file does.
        Problem: more comes than there can be, or the disk does not take it.
        Stopped: `stop` was set.
    """
    done, total = partial.size, partial.total
    cut: Exception | None = None
    try:
        with partial.file.open("ab") as file:
            for chunk in _with_first(first, chunks):
                if stop.is_set():
                    raise Stopped
                file.write(chunk)  # at once, being longer than the buffer
                done += len(chunk)
                shown.at(done, total)
                if done > (partial.wanted.most if total is None else total):
                    partial.forget()
                    raise Problem(f"the server sends more than there can be: {done:,} bytes so far")
    except requests.RequestException as error:  # an OSError too
        cut = error
    except OSError as error:
        raise _disk_problem(error, partial) from error
    if cut or (total is not None and done < total):
        whole = "" if total is None else f" of {total:,}"
        raise Hitch(f"the connection was cut after {done:,}{whole} bytes") from cut


def _with_first(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from chunks


def _disk_problem(error: OSError, partial: _Partial) -> LocalProblem:
    folder = partial.file.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        left = f"{partial.total - partial.size:,} more bytes" if partial.total else "more bytes"
        return LocalProblem(
            f"the disk of {folder} takes no more ({error.strerror}): make room for {left}"
        )
    return LocalProblem(f"{partial.file} cannot be written ({error})")


def _whole_size(found: requests.Response) -> int | None:
    """Return the size of the whole file, as an answer states it."""
    stated = found.headers.get("Content-Length", "")
    if found.status_code == 206:
        stated = found.headers.get("Content-Range", "").rpartition("/")[2]
    return int(stated) if stated.isdecimal() else None


def _first_byte(found: requests.Response) -> int | None:
    """Return where the bytes of a partial answer begin."""
    stated = re.match(r"bytes (\d+)-\d+/", found.headers.get("Content-Range", ""))
    return int(stated[1]) if stated else None


def _like_a_checkpoint(first: bytes) -> bool:
    """Whether bytes begin a zip archive, a pickle, or a .safetensors file."""
    return first.startswith(b"PK\x03\x04") or first[:1] == b"\x80" or first[8:9] == b"{"
