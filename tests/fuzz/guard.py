"""Limits under which one file is read: time, memory, and nothing but reading."""

import contextlib
import resource
import signal
import sys
import time
from pathlib import Path

DEADLINE = 5.0
"""Seconds of CPU time a case, so that a busy machine fails nothing."""

STUCK = 300
"""Seconds after which the process is killed: a case waits, or does not return to Python. So many
because a busy machine gives a process little of its time."""

MEMORY = 2**28
"""Bytes that reading may take beyond three times the files."""

ADDRESS_SPACE = 2**31
"""Bytes of address space a case, so that a fault harms no machine."""

FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.", "pty."),
    *("exec", "import", "code.", "ctypes.", "pickle.", "socket.", "marshal."),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink"),
)
"""Beginnings of the audit events that no reader has any business with."""


class Stopped(BaseException):
    """A limit was passed; no reader can catch it by accident."""


class Guard:
    """While entered: a deadline, and an audit hook that stops what a reader must not do.

    Audit hooks cannot be removed, so there is one guard a process.

    Attributes:
        seconds: CPU time of the last block.
        peak: memory in bytes that the last block took at most, beyond what was there before.
    """

    def __init__(self):
        self._armed = False
        self.seconds, self.peak = 0.0, 0
        signal.signal(signal.SIGPROF, self._expire)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        sys.addaudithook(self._watch)

    def __enter__(self) -> None:
        _limit_address_space(ADDRESS_SPACE)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._before, self._start = _memory("VmRSS"), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, DEADLINE)
        signal.alarm(STUCK)
        self._armed = True

    def __exit__(self, *_) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        self.seconds = time.process_time() - self._start
        self.peak = max(0, _memory("VmHWM") - self._before)
        _limit_address_space(None)

    def _watch(self, event: str, arguments: tuple) -> None:
        if not self._armed:
            return
        writes = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        if writes or event.startswith(FORBIDDEN):
            raise Stopped(f"ran {event}{arguments!r:.100}")

    def _expire(self, *_) -> None:
        raise Stopped(f"took longer than {DEADLINE} s of CPU time")


def _memory(name: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _limit_address_space(more: int | None) -> None:
    """Allow `more` bytes beyond what is mapped now; None: as much as the hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = hard
    if more is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        soft = pages * resource.getpagesize() + more
    with contextlib.suppress(ValueError):  # a hard limit below ours
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
