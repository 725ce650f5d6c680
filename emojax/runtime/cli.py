"""How every command starts and ends: flags, log messages, exit codes."""

import contextlib
import dataclasses
import errno
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from emojax.runtime.compile_cache import keep_programs, without_broken
from emojax.runtime.errors import UserError
from emojax.runtime.interrupts import Terminated, never_lost, terminated

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
"""Set before jax starts, unless the user has set it: XLA's notes on slow compilations are for its
developers and would stand in the middle of a progress bar."""

STOPPED = (130, 143)
"""Exit codes after Ctrl-C and SIGTERM."""
REFUSALS = {errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""What a disk answers that is full, over its quota or may not be written."""


def cli(main: Callable[[Any], None]) -> NoReturn:
    """Read the command line into `main`'s options, run it, and exit with its code.

    Args:
        main: takes one dataclass, whose fields are the flags; its module's docstring is the help.
    """
    leave(run_command(lambda: call(main, sys.argv[1:])))


def leave(code: int) -> NoReturn:
    """End the process with a command's exit code.

    After Ctrl-C or SIGTERM it ends at once, without exit handlers: XLA may still compile in a
    thread of its own, and would crash when jax's handler takes the devices from it.
    """
    if code in STOPPED:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
                stream.flush()
        os._exit(code)
    sys.exit(code)


def call(main: Callable[[Any], None], arguments: Sequence[str], prog: str | None = None) -> None:
    """Parse arguments into `main`'s options and call it.

    Args:
        main: see `cli`.
        arguments: the command line without the program's name.
        prog: what the help calls the command; default: `python -m MODULE`.
    """
    import tyro

    module = sys.modules[main.__module__]
    (options,) = inspect.signature(main).parameters.values()
    name = module.__spec__.name if module.__spec__ else module.__name__
    given = tyro.cli(
        options.annotation,
        args=arguments,
        prog=prog or f"python -m {name}",
        description=module.__doc__,
    )
    _refuse_addresses(given)
    main(given)


def _refuse_addresses(options: Any) -> None:
    """Refuse an address of an object store where a path is wanted; it would become a folder here.

    Raises:
        UserError: a flag that takes a path is given one.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            _refuse_addresses(value)
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, Path) and re.match(r"(s3|gs):/", str(each)):
                flag = field.name.replace("_", "-")
                raise UserError(
                    f"--{flag} is {each}, an address in an object store: wanted a path on this "
                    "machine"
                )


def run_command(command: Callable[[], None]) -> int:
    """Run the body of a command line and return its exit code.

    Args:
        command: the work, already bound to its options.

    Returns:
        0 when it finished; 2 after a `UserError`, whose sentence goes to stderr, and when a disk is
        full or may not be written; 130 after Ctrl-C; 143 after SIGTERM; 141 when whoever read the
        output stopped reading, as `head` does.
        Anything else is a fault of ours and keeps its traceback.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    programs = keep_programs()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("jax").setLevel(logging.WARNING)  # it reports every device it did not find
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax's, with tracebacks; it raises too
    try:
        with terminated(), never_lost(), without_broken(programs):
            command()
            sys.stdout.flush()
    except UserError as error:
        _say(f"error: {error}", *error.notes)
        return 2
    except Terminated:
        _say("stopped")
        return 143
    except KeyboardInterrupt:
        _say("stopped")
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        place = f" {error.filename}" if error.filename else ""
        _say(f"error: cannot write{place} ({error.strerror}): make room or choose another folder")
        _drop_output()
        return 2
    return 0


def warn(sentences: Sequence[str], most: int = 3) -> None:
    """Print warnings to stderr, the first few of many.

    Args:
        sentences: what may be wrong with the results.
        most: of how many each is printed.
    """
    for sentence in sentences[:most]:
        logging.warning("warning: %s", sentence)
    if len(sentences) > most:
        logging.warning("warning: the same of %s more", len(sentences) - most)


def _say(*lines: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it, or it goes to the disk that is full
        print(*lines, sep="\n  ", file=sys.stderr)


def _drop_output() -> None:
    """Leave nothing to write: the interpreter flushes once more on its way out, and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
