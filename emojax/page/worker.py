"""One thread that runs the networks, and the bounded lines before it."""

import asyncio
import contextvars
import functools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, ParamSpec, TypeVar

from emojax.runtime.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


class _Call(NamedTuple):
    """A call in a line.

    Attributes:
        future: gets what it returns.
        work: makes the call.
    """

    future: Future[Any]
    work: Callable[[], Any]

    def __call__(self) -> None:
        """Make the call."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.work())
        except BaseException as error:  # whoever waits for the result gets it
            self.future.set_exception(error)


class Worker:
    """Runs calls one after the other, in the order in which they came.

    One call at a time has all cores, and the memory of one call bounds that of all. Calls that take
    minutes have a line of their own, behind the others; they let those pass by `give_way`.
    """

    def __init__(self, most_waiting: int) -> None:
        """Start the thread.

        Args:
            most_waiting: calls in both lines at most, the one that runs included.
        """
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="networks")
        self._most, self._waiting = most_waiting, 0
        self._lock = threading.Lock()
        self._short: deque[_Call] = deque()
        self._long: deque[_Call] = deque()

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Wait for the turn of a call and return what it returns; call it from one event loop.

        Raises:
            UserError: the line is full.
        """
        return await self._entered(self._short, functools.partial(function, *args, **kwargs))

    async def run_long(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call that takes minutes and calls `give_way` now and then; see `run`.

        Raises:
            UserError: the line is full.
        """
        return await self._entered(self._long, functools.partial(function, *args, **kwargs))

    def give_way(self) -> None:
        """Make the short calls that wait; a long call calls it, in the worker's thread."""
        for _ in range(len(self._short)):  # not those that come meanwhile: the long one goes on too
            self._short.popleft()()

    async def _entered(self, line: deque[_Call], work: Callable[[], R]) -> R:
        if self._waiting >= self._most:
            raise UserError(
                f"{self._waiting} requests of other visitors are waiting already: try again in a "
                "moment"
            )
        with self._lock:
            self._waiting += 1
        # with what gradio keeps of the request, such as whose progress is told
        given = contextvars.copy_context()
        future: Future[R] = Future()
        # also where a visitor leaves and nobody waits for the result, the call keeps its place
        future.add_done_callback(self._leave)
        line.append(_Call(future, functools.partial(given.run, work)))
        self._pool.submit(self._next)
        return await asyncio.shield(asyncio.wrap_future(future))

    def _next(self) -> None:
        """Make the next call, unless `give_way` has made it already."""
        for line in (self._short, self._long):
            if line:
                line.popleft()()
                return

    def _leave(self, done: object) -> None:
        del done
        with self._lock:
            self._waiting -= 1

    def begin(self, function: Callable[[], object]) -> None:
        """Put a call into the line without waiting for it."""
        self._pool.submit(function)

    def stop(self) -> None:
        """Drop both lines; a call that runs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for call in (*self._short, *self._long):
            call.future.cancel()
