"""Why a download does not go on."""


class Problem(Exception):
    """Nothing more can be done from here; the message is the reason, to stand in a sentence."""


class Hitch(Problem):
    """A connection that may work a moment later.

    Attributes:
        wait: seconds that the server asks for; None where it does not say.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class LocalProblem(Problem):
    """Something on this machine, which another way of downloading would not put right."""


class Stopped(Exception):
    """The command is being ended."""
