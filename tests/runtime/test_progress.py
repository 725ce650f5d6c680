"""Progress in a log: what is done, that something compiles, and how it ended."""

import sys

import jax
import numpy as np
import pytest

from emojax.runtime import progress as module
from emojax.runtime.progress import progress


def test_a_log_gets_plain_lines_and_the_word_compiling(capsys):
    with progress("scoring", 10, "faces") as shown:
        jax.jit(lambda x: x * 3 + 1)(np.float32(2)).block_until_ready()
        shown.advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scoring"
    assert "scoring: compiling" in lines
    assert lines[-1].startswith("scoring: 10/10 faces in ")
    assert not any("\x1b" in line for line in lines)


def test_long_work_says_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0.0)
    with progress("scoring", 300, "faces", done=100) as shown:
        shown.advance(100)
    said = capsys.readouterr().err
    assert "scoring: 200/300 faces" in said
    assert " left" in said


def test_a_failure_has_no_closing_line(capsys):
    with pytest.raises(KeyError), progress("scoring", 10, "faces"):
        raise KeyError
    assert capsys.readouterr().err == "scoring\n"


def test_a_terminal_gets_a_bar_with_a_clock_that_runs(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("inverting", 4, "faces") as shown:
        shown.advance(1)
        shown.describe("drawing")
        shown.advance(3)
    said = capsys.readouterr().err
    assert "drawing" in said
    assert "4/4" in said
    assert "0:00:0" in said


def test_logging_is_as_before_afterwards(capsys):
    import logging

    logger = logging.getLogger("jax._src.dispatch")
    before = (logger.level, list(logger.handlers), logger.propagate)
    with progress("scoring"):
        assert logger.handlers != before[1]
    assert (logger.level, list(logger.handlers), logger.propagate) == before
