"""Open a page in the browser: photographs, sliders and faces.

    emojax web
    emojax web --bundle ffhq --inverter hyperstyle
    emojax web --host 0.0.0.0 --port 8000 --upload-limit 16

Prints the address when the networks are warm; Ctrl-C stops it. It answers this machine alone unless
--host says otherwise, loads nothing from other servers and sends nothing to them. What visitors
upload is kept for an hour at most, and deleted when the page stops.
"""

import dataclasses
import importlib.util

import tyro

from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.flags import PipelineFlags, at_least, check_inverts
from emojax.runtime.progress import progress
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR, INVERTER_PARTS

MOST = 4096
"""Megabytes that a limit may be set to."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax web`."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0: every address of this machine, for others to visit."""
    port: int = 7860
    """Port to listen on; 0: any that is free."""
    upload_limit: int = 32
    """Megabytes of one photograph at most."""
    memory_limit: int = 256
    """Megabytes of faces kept for all visitors; those least recently used are forgotten first."""
    waiting_limit: int = 64
    """Requests that wait for the networks at most; more are refused."""
    common: tyro.conf.OmitArgPrefixes[PipelineFlags] = dataclasses.field(
        default_factory=PipelineFlags
    )


def main(options: Options) -> None:
    """Serve the page until it is stopped."""
    check(options)
    from emojax.page.limits import MEGABYTE, Limits
    from emojax.page.server import listen, serve

    limits = Limits(
        upload=options.upload_limit * MEGABYTE,
        memory=options.memory_limit * MEGABYTE,
        waiting=options.waiting_limit,
    )
    place = listen(options.host, options.port)
    host, port = place.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    with place, progress("starting", unit="steps") as shown:

        def doing(what: str) -> None:
            shown.advance()
            shown.describe(f"warming up: {what}")

        def ready() -> None:
            print(f"ready: {address} (Ctrl-C stops it)", flush=True)

        serve(options.common, limits, place, doing=doing, ready=ready)


def check(options: Options) -> None:
    """Refuse what could not be served, before anything slow.

    Raises:
        UserError: a flag out of range, a part of the bundle or gradio is missing.
    """
    options.common.check()
    for name in ("upload_limit", "memory_limit", "waiting_limit"):
        value, flag = getattr(options, name), f"--{name.replace('_', '-')}"
        at_least(flag, value, 1)
        if value > MOST:
            raise UserError(f"{flag} is {value}, wanted {MOST} or less")
    if not 0 <= options.port <= 65_535:
        raise UserError(f"--port is {options.port}, wanted 0 to 65535")
    place = bundle.find(options.common.bundle)
    check_inverts(options.common.inverter, "the page edits")
    place.check(GENERATOR, *INVERTER_PARTS[options.common.inverter], EMOTION)
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs gradio: run 'pip install \"emojax[web]\"'")


if __name__ == "__main__":
    cli(main)
