"""Training of several stages at the same time, each in a process on its own share of the cores.

Networks this small hardly use a second core: two stages on a core each take 1/1.4 of the time of
one after the other, each with all its operations on both.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess

from emojax.runtime.cli import leave, run_command
from emojax.runtime.errors import UserError


def run_all(
    names: Sequence[str],
    needs: Mapping[str, Sequence[str]],
    work: Callable[[str], None],
    count: int,
) -> None:
    """Call `work` for every name in a new process, `count` at a time, each after what it needs.

    Among the stages that may start, the one with the longest chain of dependants starts first. One
    beside which none may start has all cores. When one fails, or this process ends, all are ended.

    Args:
        names: of the stages.
        needs: what each waits for, by name; what is not among `names` counts as done.
        work: called with a name; must be picklable. A `UserError` in it is printed as a command's.
        count: how many at a time, at most one a core.

    Raises:
        UserError: one failed; names it.
    """
    shares = _shares(count)
    waiting = list(names)
    running: dict[int, tuple[str, BaseProcess]] = {}
    try:
        while waiting or running:
            for place in range(len(shares)):
                undone = {*waiting, *(name for name, _ in running.values())}
                name = None if place in running else _next(waiting, undone, needs)
                if name:
                    waiting.remove(name)
                    alone = not running and _next(waiting, undone, needs) is None
                    running[place] = name, _start(work, name, None if alone else shares[place])
            connection.wait([process.sentinel for _, process in running.values()])
            for place, (name, process) in list(running.items()):
                if process.exitcode is not None:
                    del running[place]
                    _check(name, process.exitcode)
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def run_apart(
    names: Sequence[str], needs: Mapping[str, Sequence[str]], work: Callable[[str], None]
) -> None:
    """Call `work` for every name in a new process, all at the same time, on all cores.

    When one fails, those that need it are ended and the others go on.

    Args:
        names: of the stages.
        needs: what each waits for by itself, by name.
        work: as for `run_all`.

    Raises:
        UserError: some failed, once the others have ended; names the first.
    """
    running = {name: _start(work, name, None) for name in names}
    failed: dict[str, int] = {}
    try:
        while running:
            connection.wait([process.sentinel for process in running.values()])
            for name, process in list(running.items()):
                if process.exitcode is None:
                    continue
                del running[name]
                if process.exitcode:
                    failed.setdefault(name, process.exitcode)
                    for other in running:
                        if name in needs.get(other, ()):
                            running[other].terminate()
    finally:
        for process in running.values():
            process.terminate()
            process.join()
    for name, code in failed.items():
        _check(name, code)


def _check(name: str, code: int) -> None:
    if code:
        raise UserError(
            f"{name} ended with code {code}, wanted 0: see its message above; the same command "
            "resumes from the last checkpoints"
        )


def _shares(count: int) -> list[set[int] | None]:
    """Split the cores of this process; None where the system cannot pin processes to cores."""
    if not hasattr(os, "sched_setaffinity"):
        return [None] * count
    cores = sorted(os.sched_getaffinity(0))
    count = min(count, len(cores))
    return [set(cores[place::count]) for place in range(count)]


def _next(
    waiting: Sequence[str], undone: set[str], needs: Mapping[str, Sequence[str]]
) -> str | None:
    """Return the stage that may start now and has the longest chain of dependants."""

    def chain(name: str) -> int:
        behind = (other for other, needed in needs.items() if name in needed)
        return 1 + max(map(chain, behind), default=0)

    ready = [name for name in waiting if undone.isdisjoint(needs.get(name, ()))]
    return max(ready, key=chain, default=None)


def _start(work: Callable[[str], None], name: str, share: set[int] | None) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=_do, args=(work, name))
    if share is None:
        process.start()
        return process
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, share)  # inherited by the child, where jax counts its cores
    try:
        process.start()
    finally:
        os.sched_setaffinity(0, mine)
    return process


def _do(work: Callable[[str], None], name: str) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    leave(run_command(lambda: work(name)))


def _end_with(parent: int) -> None:
    """End this process when its parent ends, also by a kill: two runs must not share a folder."""
    connection.wait([parent])
    os._exit(1)
