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


def shortened(text: object, most: int) -> str:
    r"""Return a text from outside as a message quotes it: printable, on one line, and not long.

    Args:
        text: a name, a path or the message of another library.
        most: characters; of a longer text the middle is left out.

    Returns:
        The text; line breaks of it are written out, as \n.
    """
    found = str(text)
    if len(found) > 2 * most:  # before anything is done with a megabyte
        found = found[:most] + found[-most:]
    found = printable(found).replace("\n", r"\n")
    if len(found) <= most:
        return found
    head = (most - 5) * 2 // 3
    return f"{found[:head]} ... {found[head + 5 - most :]}"
