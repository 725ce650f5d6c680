"""Ctrl-C and SIGTERM at any moment of a command: it ends, with one word and no traceback."""

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType


def quiet_start() -> None:
    """Print "stopped" for a Ctrl-C that comes before a command's own handling is in place.

    Called when emojax is imported. Does something only where Python was started to run a command
    of this package, as `python -m emojax.COMMAND`: whoever imports emojax keeps the hook they have.
    """
    line = sys.orig_argv
    module = line[line.index("-m") + 1 : line.index("-m") + 2] if "-m" in line else []
    if not module or module[0].partition(".")[0] not in ("emojax", "convert"):
        return
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("stopped", file=sys.stderr)
        else:
            before(kind, error, trace)

    sys.excepthook = hook


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM; passes wherever a Ctrl-C does."""


_raised: list[type[KeyboardInterrupt]] = []
"""What `terminated` has raised and the command has not ended with."""


def still_wanted() -> None:
    """Raise a Ctrl-C or `Terminated` again if the command goes on after it.

    Libraries that call Python from C may take the exception for a failure of what they called.
    Progress calls this between pieces of work; clean-up after the exception reports no progress.
    """
    if _raised and threading.current_thread() is threading.main_thread():
        raise _raised[-1]


@contextlib.contextmanager
def terminated() -> Iterator[None]:
    """Raise `Terminated` in the main thread when SIGTERM comes; elsewhere does nothing.

    SIGTERM, and SIGINT where it is Python's own, wait while a module of C or C++ starts: an
    exception in there ends in an abort. What was raised leaves the block as itself, also where a
    library that calls Python from C raised another error for it, as jax does while it compares
    pytrees.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        if _starts_extension(frame):
            _soon(signal.Signals(number))
        else:
            _raised.append(Terminated if number == signal.SIGTERM else KeyboardInterrupt)
            raise _raised[-1]

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, handler)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, handler)
    try:
        yield
    except Exception as error:
        if _raised:
            raise _raised[-1] from error
        raise
    finally:
        _raised.clear()
        for number, each in before.items():
            signal.signal(number, each)


def _starts_extension(frame: FrameType | None) -> bool:
    """Whether Python runs on behalf of a module of C or C++ that is being imported."""
    while frame is not None:
        code = frame.f_code
        if code.co_qualname.startswith("ExtensionFileLoader.") and "importlib" in code.co_filename:
            return True
        frame = frame.f_back
    return False


def _soon(kind: signal.Signals) -> None:
    """Send the main thread a signal a moment later."""
    again = threading.Timer(0.02, _interrupt, [kind])
    again.daemon = True
    again.start()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the block ends; outside the main thread does nothing.

    For short calls of libraries that start threads and cannot be interrupted between two of them.
    The first signal is sent again, to the handler of before, when the block has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def never_lost() -> Iterator[None]:
    """Raise a Ctrl-C or `Terminated` again that came in a callback whose exceptions are reported.

    jax has such a callback at every garbage collection; Python would print the exception there and
    go on.
    """
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # a moment later: raised right here, it would be lost in this hook
            _soon(signal.SIGTERM if issubclass(unraisable.exc_type, Terminated) else signal.SIGINT)
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt(kind: signal.Signals) -> None:
    """Send the main thread a signal, which also ends a system call that it waits in."""
    main = threading.main_thread().ident
    if main is None or not hasattr(signal, "pthread_kill"):  # Windows
        _thread.interrupt_main(kind)
    else:
        signal.pthread_kill(main, kind)
