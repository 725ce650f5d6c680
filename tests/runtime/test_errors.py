"""Messages that quote names out of files are one short line and cannot drive a terminal."""

import pickle

import pytest

from emojax.runtime.errors import LONGEST, UserError, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Fréchet ½ of 1024² …", "Fréchet ½ of 1024² …"),
        ("2 tensors differ:\n  missing: a", r"2 tensors differ:\n  missing: a"),
        ("\x1b[2J\x07gone\r", r"\x1b[2J\x07gone\r"),
        ("fig\u202egnp.exe", r"fig\u202egnp.exe"),
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert shortened(text, 100) == shown
    assert str(UserError(text)) == shown
    shown.encode()


@pytest.mark.parametrize("letter", ["x", "\n", "\x1b", "\U0010ffff"])
def test_a_long_message_keeps_its_beginning_and_its_end(letter):
    said = str(UserError("a.pt is damaged (" + letter * 10**6 + "): convert it again"))
    assert said.startswith("a.pt is damaged (")
    assert said.endswith("): convert it again")
    assert len(said) <= LONGEST
    assert said.isprintable()


def test_notes_are_lines_of_the_same_kind():
    error = UserError("2 tensors differ", notes=["missing: a\nb", "unknown: " + "c" * 1000])
    assert error.notes[0] == r"missing: a\nb"
    assert len(error.notes[1]) <= LONGEST
    again = pickle.loads(pickle.dumps(error))  # as it comes out of another process
    assert (str(again), again.notes) == (str(error), error.notes)


def test_it_is_a_value_error_and_takes_any_message():
    assert isinstance(UserError("x"), ValueError)
    assert str(UserError(OSError("no room"))) == "no room"
