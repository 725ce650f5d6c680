"""Seconds that work takes, without the compilation of its programs."""

import math
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import jax


class Stopwatch:
    """Measures a block of code that waits for its results; JAX's compilations do not count.

        with Stopwatch() as taken:
            jax.block_until_ready(work())
        print(taken.seconds)

    Attributes:
        seconds: 0 until the block has ended.
    """

    seconds = 0.0

    def __enter__(self) -> Self:
        self._spans: list[tuple[float, float]] = []
        jax.monitoring.register_event_time_span_listener(self._compiled)
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        taken = time.perf_counter() - self._start
        jax.monitoring.unregister_event_time_span_listener(self._compiled)
        self.seconds = max(0.0, taken - covered(self._spans))

    def _compiled(self, event: str, start_time: float, end_time: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            self._spans.append((start_time, end_time))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of spans of time, some of which lie in others."""
    length, until = 0.0, -math.inf
    for start, end in sorted(spans):
        length += max(0.0, end - max(start, until))
        until = max(until, end)
    return length
