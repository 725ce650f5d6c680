"""Progress of several transfers, in a log and on a terminal."""

import sys

import pytest

from emojax.runtime import byte_progress
from emojax.runtime.byte_progress import as_text, board


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1_234_567, "1.23 MB"),
        (4.61e9, "4.61 GB"),
    ],
)
def test_sizes(count, text):
    assert as_text(count) == text


def test_a_log_gets_a_line_at_both_ends_of_a_file(capsys):
    with board(["a.pt", "b.pt"]) as shown:
        a, b = shown.file("a.pt"), shown.file("b.pt")
        a.at(0, 2000)
        b.at(500, 1000)
        a.at(1000, 2000)
        b.note("waiting")
        b.note("")
        a.at(2000, 2000)
        a.end("whole")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["a.pt: 2 kB", "b.pt: 500 bytes of 1 kB", "b.pt: waiting"]
    assert lines[3].startswith("a.pt: whole, 2 kB in ")
    assert len(lines) == 4


def test_a_long_transfer_says_how_far_all_files_are(capsys, monkeypatch):
    monkeypatch.setattr(byte_progress, "EVERY", 0.0)
    with board(["a.pt", "b.pt"]) as shown:
        shown.file("b.pt").at(3000, None)
        shown.file("a.pt").at(2000, 5000)
    assert "5 kB have arrived, " in capsys.readouterr().err


def test_a_terminal_gets_a_bar_a_file(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with board(["a.pt", "b.pt"]) as shown:
        line = shown.file("a.pt")
        line.at(1_500_000, 2_000_000)
        line.note("checking")
        line.at(2_000_000, 2_000_000)
        line.end("whole")
    said = capsys.readouterr().err
    assert "2.0/2.0 MB" in said
    assert "whole" in said
    assert "b.pt" in said
