"""Ctrl-C at any moment of a command: it ends, with one word and no traceback."""

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import TracebackType


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


@contextlib.contextmanager
def never_lost() -> Iterator[None]:
    """Raise a Ctrl-C again that came while a callback ran in which exceptions are only reported.

    jax has such a callback at every garbage collection; Python would print the exception there and
    go on.
    """
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # a moment later: raised right here, it would be lost in this hook
            again = threading.Timer(0.02, _interrupt)
            again.daemon = True
            again.start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt() -> None:
    """Send the main thread SIGINT, which also ends a system call that it waits in."""
    main = threading.main_thread().ident
    if main is None or not hasattr(signal, "pthread_kill"):  # Windows
        _thread.interrupt_main()
    else:
        signal.pthread_kill(main, signal.SIGINT)
