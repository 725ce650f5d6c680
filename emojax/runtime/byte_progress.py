"""Progress of files that are transferred at the same time, in bytes, on stderr.

On a terminal: a bar a file, with size, rate and time left. Elsewhere: a plain line at the beginning
and the end of each file, and every half minute one for all of them.
"""

import sys
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from emojax.runtime.progress import EVERY


class FileProgress(Protocol):
    """What a file tells of itself, from any thread."""

    def at(self, done: int, total: int | None) -> None:
        """Say how many bytes are there, of how many."""

    def note(self, text: str) -> None:
        """Say what is waited for; "" for nothing."""

    def end(self, text: str) -> None:
        """Say how it ended."""


class Board(AbstractContextManager, Protocol):
    """All files."""

    def file(self, name: str) -> FileProgress:
        """Return where one file tells of itself."""
        ...


def board(names: Iterable[str]) -> Board:
    """Return a context in which the progress of the files named is shown."""
    return _Bars(names) if sys.stderr.isatty() else _Lines()


class _Bars:
    """A line a file on a terminal, drawn by rich."""

    def __init__(self, names: Iterable[str]) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.table import Column

        one_line = Column(no_wrap=True)  # a terminal of 80 columns shortens names and notes
        shortened = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.display = Progress(
            TextColumn("{task.description}", table_column=shortened),
            BarColumn(bar_width=12),
            DownloadColumn(table_column=one_line),
            TransferSpeedColumn(table_column=one_line),
            TimeRemainingColumn(compact=True, table_column=one_line),
            TextColumn("{task.fields[note]}", table_column=shortened),
            console=Console(stderr=True),
            expand=True,
        )
        self.tasks = {
            name: self.display.add_task(name, total=None, start=False, note="") for name in names
        }

    def __enter__(self) -> "_Bars":
        self.display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.display.stop()

    def file(self, name: str) -> "_Bar":
        self.display.start_task(self.tasks[name])
        return _Bar(self, name)


class _Bar:
    def __init__(self, bars: _Bars, name: str) -> None:
        self.display, self.task = bars.display, bars.tasks[name]

    def at(self, done: int, total: int | None) -> None:
        self.display.update(self.task, completed=done, total=total)

    def note(self, text: str) -> None:
        self.display.update(self.task, note=text)

    def end(self, text: str) -> None:
        self.display.update(self.task, note=text)
        self.display.stop_task(self.task)


class _Lines:
    """Plain lines."""

    def __init__(self) -> None:
        self.lock, self.said = threading.Lock(), time.monotonic()
        self.files: dict[str, _Line] = {}

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def file(self, name: str) -> "_Line":
        with self.lock:
            return self.files.setdefault(name, _Line(self, name))

    def tell(self) -> None:
        """Print how far all files are, if half a minute has passed."""
        with self.lock:
            if time.monotonic() - self.said < EVERY:
                return
            self.said = time.monotonic()
            done = sum(each.done for each in self.files.values())
            fresh = sum(each.done - each.before for each in self.files.values())
            start = min(each.start for each in self.files.values())
        rate = fresh / max(self.said - start, 1e-9)
        say(f"{as_text(done)} have arrived, {as_text(rate)}/s")


class _Line:
    def __init__(self, lines: _Lines, name: str) -> None:
        self.lines, self.name, self.start = lines, name, time.monotonic()
        self.done = self.before = 0
        self.begun = False

    def at(self, done: int, total: int | None) -> None:
        if not self.begun and total is not None:
            self.begun, self.before = True, done
            say(f"{self.name}: {f'{as_text(done)} of ' if done else ''}{as_text(total)}")
        self.done = done
        self.lines.tell()

    def note(self, text: str) -> None:
        if text:
            say(f"{self.name}: {text}")

    def end(self, text: str) -> None:
        say(f"{self.name}: {text}, {as_text(self.done)} in {time.monotonic() - self.start:.1f} s")


def say(text: str) -> None:
    """Print a line to stderr at once."""
    print(text, file=sys.stderr, flush=True)


def as_text(count: float) -> str:
    """Return a number of bytes as people write it, such as "1.20 GB"."""
    for unit, size in {"GB": 1e9, "MB": 1e6, "kB": 1e3}.items():
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"
