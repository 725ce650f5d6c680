"""Several stages of the recipe at the same time, each in a process on its own share of the cores.

Networks this small hardly use a second core: two stages, a core each, are done 1.4 times as soon as
one after the other on both.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess

from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError


def run_all(
    names: Sequence[str],
    needs: Mapping[str, Sequence[str]],
    work: Callable[[str, int], None],
    count: int,
) -> None:
    """Do work for every name, `count` at a time, each after what it needs.

    Of those that may start, the one that most others wait for goes first. When one fails, or this
    process ends, all end.

    Args:
        names: of the stages.
        needs: what each waits for, by name; those that are not among `names` are done.
        work: called in a new process with a name and the number of its place, 0 to count - 1; must
            be picklable. A `UserError` it raises is printed there as a command would.
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
                    running[place] = name, _start(work, name, place, shares[place])
            connection.wait([process.sentinel for _, process in running.values()])
            for place, (name, process) in list(running.items()):
                if process.exitcode is None:
                    continue
                del running[place]
                if process.exitcode:
                    raise UserError(
                        f"{name} ended with code {process.exitcode}, wanted 0: see what it said "
                        "above; the same command goes on from the last checkpoints"
                    )
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _shares(count: int) -> list[set[int] | None]:
    """Split the cores this process may use; None where the system does not pin processes."""
    if not hasattr(os, "sched_setaffinity"):
        return [None] * count
    cores = sorted(os.sched_getaffinity(0))
    count = min(count, len(cores))
    return [set(cores[place::count]) for place in range(count)]


def _next(
    waiting: Sequence[str], undone: set[str], needs: Mapping[str, Sequence[str]]
) -> str | None:
    """Return which may start now and has the longest chain of others behind it."""

    def chain(name: str) -> int:
        behind = (other for other, needed in needs.items() if name in needed)
        return 1 + max(map(chain, behind), default=0)

    ready = [name for name in waiting if undone.isdisjoint(needs.get(name, ()))]
    return max(ready, key=chain, default=None)


def _start(
    work: Callable[[str, int], None], name: str, place: int, share: set[int] | None
) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=_do, args=(work, name, place))
    if share is None:
        process.start()
        return process
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, share)  # inherited, and jax counts the cores it finds as it starts
    try:
        process.start()
    finally:
        os.sched_setaffinity(0, mine)
    return process


def _do(work: Callable[[str, int], None], name: str, place: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    raise SystemExit(run_command(lambda: work(name, place)))


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its children, and two runs would share a folder."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
