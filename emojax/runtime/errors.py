"""The one exception that a user is meant to read."""


class UserError(ValueError):
    """Something the user can put right.

    The message is one sentence that says what was received, what was wanted and what to do.
    """
