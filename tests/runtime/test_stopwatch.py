"""Seconds without compilations."""

import time

import jax
import pytest

from emojax.runtime.stopwatch import Stopwatch, covered


def test_compilation_does_not_count():
    @jax.jit
    def slow_to_trace(x):
        time.sleep(0.4)
        return x + 1

    with Stopwatch() as taken:
        jax.block_until_ready(slow_to_trace(1.0))
        time.sleep(0.05)
    assert 0.05 <= taken.seconds < 0.3
    with Stopwatch() as again:
        time.sleep(0.05)
    assert again.seconds >= 0.05
    assert taken.seconds < 0.3  # what came later is not its own


def test_spans_in_others_count_once():
    spans = [(3.0, 4.0), (0.0, 1.0), (3.2, 3.4), (0.5, 2.0)]
    assert covered(spans) == pytest.approx(3.0)
    assert covered([]) == 0
