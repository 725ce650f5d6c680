"""The one exception that a user is meant to read."""


class UserError(ValueError):
    """Something the user can put right.

    The message is one sentence that says what was received, what was wanted and what to do. It may
    quote names out of files, so characters that a terminal would act on are escaped.
    """

    def __init__(self, message: object) -> None:
        """Keep the message, printable."""
        super().__init__(printable(str(message)))


def printable(text: str) -> str:
    r"""Return a text whose control characters are written out, as \x1b; line breaks stay."""
    return "".join(
        each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text
    )
