"""Progress of anything that takes more than a few seconds, on stderr.

On a terminal: one line with what is being done, a bar, rate, time so far and time left, and the
word "compiling" while XLA compiles. Elsewhere: a plain line at the start, one every half minute,
and one at the end, so that a log file stays readable.
"""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

from emojax.runtime.interrupts import still_wanted

EVERY = 30.0
"""Seconds between plain lines."""

_COMPILER_LOGS = ("jax._src.interpreters.pxla", "jax._src.dispatch")
"""Loggers that name each compilation when it begins and when it ends."""


class Progress(Protocol):
    """What `progress` gives."""

    def advance(self, count: int = 1) -> None:
        """Count finished units."""

    def describe(self, doing: str) -> None:
        """Say what is being done now."""


@contextlib.contextmanager
def progress(
    doing: str, total: int | None = None, unit: str = "", *, done: int = 0, plain: bool = False
) -> Iterator[Progress]:
    """Show how far a piece of work is, from the first moment until the block ends.

    Args:
        doing: what is being done, such as "scoring".
        total: number of units; None where it is not known.
        unit: what is counted, such as "faces".
        done: units that an earlier run finished; they do not count for the rate.
        plain: plain lines on a terminal too, for processes that share one.
    """
    still_wanted()
    shown = _Bar if sys.stderr.isatty() and not plain else _Lines
    with shown(doing, total, unit, done) as inside, _compilations(inside.compiling):
        yield inside
        still_wanted()


class _Lines:
    """Plain lines."""

    def __init__(self, doing: str, total: int | None, unit: str, done: int) -> None:
        self.doing, self.total, self.unit = doing, total, unit
        self.before = self.done = done
        self.start = self.said = time.monotonic()
        self.named = False

    def __enter__(self) -> "_Lines":
        self._say(self.doing)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        seconds = time.monotonic() - self.start
        if kind is None and (seconds >= 1 or self.total):
            self._say(f"{self._counted()} in {seconds:.1f} s")

    def advance(self, count: int = 1) -> None:
        still_wanted()
        self.done += count
        if time.monotonic() - self.said >= EVERY:
            rate = (self.done - self.before) / (time.monotonic() - self.start)
            left = f", {_clock((self.total - self.done) / rate)} left" if self.total else ""
            self._say(f"{self._counted()}, {rate:.3g}/s{left}")

    def describe(self, doing: str) -> None:
        self.doing = doing
        if time.monotonic() - self.said >= EVERY:
            self._say(doing)

    def compiling(self, now: bool) -> None:
        if now and not self.named:
            self.named = True
            self._say(f"{self.doing}: compiling")

    def _counted(self) -> str:
        total = f"/{self.total:,}" if self.total else ""
        count = f": {self.done:,}{total} {self.unit}".rstrip() if self.total or self.done else ""
        return f"{self.doing}{count}"

    def _say(self, text: str) -> None:
        self.said = time.monotonic()
        print(text, file=sys.stderr, flush=True)


class _Bar:
    """One line on a terminal, drawn by rich."""

    def __init__(self, doing: str, total: int | None, unit: str, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Display

        columns = [TextColumn("{task.description}")]
        if total is not None:
            columns += [BarColumn(bar_width=24), MofNCompleteColumn()]
        columns += [TextColumn(f"{unit}{{task.fields[rate]}}"), TimeElapsedColumn()]
        columns += [TextColumn("{task.fields[left]}{task.fields[note]}")]
        self.display = Display(*columns, console=Console(stderr=True), transient=False)
        self.task = self.display.add_task(
            doing, total=total, completed=done, rate="", left="", note=""
        )
        self.total, self.before, self.done = total, done, done
        self.start = time.monotonic()

    def __enter__(self) -> "_Bar":
        self.display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.display.update(self.task, note="", left="")
        self.display.stop()

    def advance(self, count: int = 1) -> None:
        still_wanted()
        self.done += count
        rate = (self.done - self.before) / max(time.monotonic() - self.start, 1e-9)
        left = f"{_clock((self.total - self.done) / rate)} left" if self.total else ""
        self.display.update(self.task, advance=count, rate=f" {rate:.3g}/s", left=left)

    def describe(self, doing: str) -> None:
        self.display.update(self.task, description=doing)

    def compiling(self, now: bool) -> None:
        self.display.update(self.task, note=" compiling" if now else "")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class _Compiler(logging.Handler):
    """Tells a function when XLA starts on a program, and when it is done with all.

    jax has no public event for the beginning of a compilation; where a release logs it otherwise,
    the word "compiling" is not shown and nothing else changes.
    """

    def __init__(self, tell: Callable[[bool], None]) -> None:
        super().__init__(logging.DEBUG)
        self.tell, self.running, self.lock_ = tell, 0, threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        begins = record.msg.startswith("Compiling")
        if not begins and not record.msg.startswith("Finished XLA"):
            return
        with self.lock_:
            self.running = max(0, self.running + (1 if begins else -1))
            self.tell(self.running > 0)


@contextlib.contextmanager
def _compilations(tell: Callable[[bool], None]) -> Iterator[None]:
    handler = _Compiler(tell)
    loggers = [logging.getLogger(name) for name in _COMPILER_LOGS]
    before = [(each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.DEBUG)
        each.propagate = False
    try:
        yield
    finally:
        for each, (level, propagate) in zip(loggers, before, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
            each.propagate = propagate
