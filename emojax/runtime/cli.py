"""How every command starts and ends."""

import inspect
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import tyro

from emojax.runtime.errors import run_command


def cli(main: Callable[[Any], None]) -> NoReturn:
    """Read the command line into `main`'s options, run it, and exit with its code.

    Args:
        main: takes one dataclass, whose fields are the flags; its module's docstring is the help.
    """
    module = sys.modules[main.__module__]
    (options,) = inspect.signature(main).parameters.values()
    prog = f"python -m {module.__spec__.name}"
    sys.exit(
        run_command(
            lambda: main(tyro.cli(options.annotation, prog=prog, description=module.__doc__))
        )
    )
