"""The exceptions that a user is meant to read."""

from collections.abc import Iterable

LONGEST = 300
"""Characters of a message or a note."""


class UserError(ValueError):
    """Something the user can put right.

    The message is one sentence that says what was received, what was wanted and what to do. It may
    quote files and libraries, so it is made one printable line of at most `LONGEST` characters.

    Args:
        message: the sentence.
        notes: what belongs below it, such as a list of all tensors that differ; each becomes one
            line of the same kind. Python shows them below a traceback, a command below the error.
    """

    def __init__(self, message: object, notes: Iterable[str] = ()) -> None:
        super().__init__(shortened(message, LONGEST))
        for note in notes:
            self.add_note(shortened(note, LONGEST))

    @property
    def notes(self) -> list[str]:
        """The lines below the sentence."""
        return list(getattr(self, "__notes__", ()))


class NoFaceError(UserError):
    """A photograph in which no face was found; who asked may know better what to do about it."""


def shortened(text: object, most: int) -> str:
    r"""Return a text from outside as a message quotes it: printable, on one line, and not long.

    Args:
        text: a name, a path or the message of another library.
        most: characters; of a longer text the middle is left out.

    Returns:
        The text; what a terminal would act on is written out, as \n and \x1b.
    """
    found = str(text)
    if len(found) > 2 * most:  # before anything is done with a megabyte
        found = found[:most] + found[-most:]
    found = "".join(each if each.isprintable() else repr(each)[1:-1] for each in found)
    if len(found) <= most:
        return found
    head = (most - 5) * 2 // 3
    return f"{found[:head]} ... {found[head + 5 - most :]}"
