"""Ctrl-C while a command is still importing: one word, not the imports' traceback."""

import sys
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
