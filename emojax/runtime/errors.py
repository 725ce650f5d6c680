"""The one exception a user is meant to read, and how a command ends with it."""

import logging
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right.

    The message is one sentence that says what was received, what was wanted and what to do.
    """


def run_command(command: Callable[[], None]) -> int:
    """Run the body of a command line and return its exit code.

    Args:
        command: the work, already bound to its options.

    Returns:
        0 when it finished; 2 after a `UserError`, whose sentence goes to stderr; 130 after Ctrl-C;
        141 when whoever read the output stopped reading, as `head` does.
        Anything else is a fault of ours and keeps its traceback.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("jax").setLevel(logging.WARNING)  # it reports every device it did not find
    try:
        command()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the interpreter flushes once more on its way out, and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0
