"""Several files at the same time, each told of on its own line."""

import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from convert.download.connection import Session
from convert.download.one_file import Patience, Wanted, fetch
from convert.download.problems import Problem, Stopped
from emojax.runtime.byte_progress import Board, board


def fetch_all(
    wanted: Sequence[Wanted], folder: Path, *, jobs: int, patience: Patience
) -> dict[str, Path | Problem]:
    """Download files, and return by name where each is, or why it is not there.

    A file that fails does not keep the others. When the block is interrupted, what has arrived
    stays on the disk for the next run.

    Args:
        wanted: the files.
        folder: to put them into.
        jobs: files at a time.
        patience: see `fetch`.
    """
    waiting: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
    for each in wanted:
        waiting.put(each)
    found: dict[str, Path | Problem] = {}
    faults: list[Exception] = []
    stop = threading.Event()
    with board(each.name for each in wanted) as shown:
        work = (waiting, folder, patience, shown, stop, found, faults)
        # daemons, so that a thread that waits for a server does not keep the process
        threads = [
            threading.Thread(target=_work, args=work, daemon=True)
            for _ in range(min(jobs, len(wanted)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # so that Ctrl-C is noticed
        finally:
            stop.set()
    if faults:
        raise faults[0]
    return found


def _work(
    waiting: "queue.SimpleQueue[Wanted]",
    folder: Path,
    patience: Patience,
    shown: Board,
    stop: threading.Event,
    found: dict[str, Path | Problem],
    faults: list[Exception],
) -> None:
    """Download what waits, one after the other."""
    with Session() as session:
        while not stop.is_set():
            try:
                wanted = waiting.get_nowait()
            except queue.Empty:
                return
            line = shown.file(wanted.name)
            try:
                found[wanted.name] = fetch(wanted, folder, session, line, stop, patience)
                line.end("whole")
            except Problem as problem:
                found[wanted.name] = problem
                line.end("not whole")
            except Stopped:
                return
            except Exception as fault:  # ours: it is raised again where the user sees it
                faults.append(fault)
                stop.set()
