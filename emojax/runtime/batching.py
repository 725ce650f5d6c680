"""Rows through a compiled function in batches of one shape, so that XLA compiles once."""

from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def batches(count: int, size: int, *, multiple_of: int = 1) -> list[np.ndarray]:
    """Cut row numbers 0 ... count-1 into index arrays of one length.

    Args:
        count: number of rows, 0 or more.
        size: most rows of a batch, 1 or more.
        multiple_of: what the length must be a multiple of, such as the number of devices.

    Returns:
        Index arrays of length min(size, count), rounded up to the multiple; the last one repeats
        its last row to that length.
    """
    if count == 0:
        return []
    size = -(-min(size, count) // multiple_of) * multiple_of
    rows = np.minimum(np.arange(-(-count // size) * size), count - 1)
    return list(rows.reshape(-1, size))


def in_batches(
    run: Callable[[Any], Any],
    rows: Any,
    size: int,
    *,
    multiple_of: int = 1,
    advance: Callable[[int], object] | None = None,
) -> Any:
    """Run a function over all rows in batches; the next one is computed while one is fetched.

    Args:
        run: takes and returns arrays, or trees of them, whose first axis is the batch.
        rows: an array [N, ...], N at least 1, or a tree of them.
        size: rows of a batch; the last one is padded with copies of the last row.
        multiple_of: see `batches`.
        advance: told the number of rows whenever some are done.

    Returns:
        What `run` returns, as NumPy arrays with N rows.

    Raises:
        ValueError: there are no rows.
    """
    count = len(jax.tree.leaves(rows)[0])
    if count == 0:
        raise ValueError("there are no rows to run over: wanted one or more")
    ahead: deque[Any] = deque()
    parts = []

    def fetch() -> None:
        parts.append(jax.tree.map(np.asarray, ahead.popleft()))
        if advance:
            advance(min(length, count - (len(parts) - 1) * length))

    cut = batches(count, size, multiple_of=multiple_of)
    length = len(cut[0])
    for index in cut:
        ahead.append(run(jax.tree.map(lambda array, index=index: array[index], rows)))
        if len(ahead) > 1:
            fetch()
    while ahead:
        fetch()
    return jax.tree.map(lambda *pieces: np.concatenate(pieces)[:count], *parts)
