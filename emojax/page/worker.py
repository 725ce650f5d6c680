"""One thread that runs the networks, and the bounded line before it."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from emojax.runtime.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


class Worker:
    """Runs calls one after the other, in the order in which they came.

    One call at a time has all cores, and the memory of one call bounds that of all.
    """

    def __init__(self, most_waiting: int) -> None:
        """Start the thread.

        Args:
            most_waiting: calls in the line at most, the one that runs included.
        """
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="networks")
        self._most, self._waiting = most_waiting, 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Wait for the turn of a call and return what it returns; call it from one event loop.

        Raises:
            UserError: the line is full.
        """
        if self._waiting >= self._most:
            raise UserError(
                f"{self._waiting} requests of other visitors are waiting already: try again in a "
                "moment"
            )
        with self._lock:
            self._waiting += 1
        # with what gradio keeps of the request, such as whose progress is told
        given = contextvars.copy_context()
        future = self._pool.submit(given.run, function, *args, **kwargs)
        # also where a visitor leaves and nobody waits for the result, the call keeps its place
        future.add_done_callback(self._leave)
        return await asyncio.shield(asyncio.wrap_future(future))

    def _leave(self, done: object) -> None:
        del done
        with self._lock:
            self._waiting -= 1

    def begin(self, function: Callable[[], object]) -> None:
        """Put a call into the line without waiting for it."""
        self._pool.submit(function)

    def stop(self) -> None:
        """Drop the line; a call that runs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
