"""Messages that quote names out of files cannot drive the terminal they are printed on."""

import pytest

from emojax.runtime.errors import UserError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Fréchet ½ of 1024² …", "Fréchet ½ of 1024² …"),
        ("2 tensors differ:\n  missing: a", "2 tensors differ:\n  missing: a"),
        ("\x1b[2J\x07gone\r", r"\x1b[2J\x07gone\r"),
        ("fig\u202egnp.exe", r"fig\u202egnp.exe"),
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert printable(text) == shown
    assert str(UserError(text)) == shown
    shown.encode()


def test_it_is_a_value_error_and_takes_any_message():
    assert isinstance(UserError("x"), ValueError)
    assert str(UserError(OSError("no room"))) == "no room"
