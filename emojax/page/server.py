"""The server of the page: it listens, warms the networks up, and says when it is ready."""

import os
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from emojax.page.limits import Limits
from emojax.runtime.errors import UserError
from emojax.runtime.flags import PipelineFlags

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SOON = 1
"""Seconds that visitors' open connections get when the server is stopped."""
_SERVER: dict[str, Any] = {
    "log_level": "error",
    "ws": "none",
    "lifespan": "on",
    "server_header": False,
    "timeout_graceful_shutdown": SOON,
    "timeout_keep_alive": 60,
    "limit_concurrency": 1000,
}


def listen(host: str, port: int) -> socket.socket:
    """Take a port, before anything slow.

    Args:
        host: name or address to listen on.
        port: 0: any that is free.

    Raises:
        UserError: the port is taken, or the address is none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        taken = socket.socket(family, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
        taken.listen(128)
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(
            f"cannot listen on {host} port {port} ({error}): give another --port, or 0 for any"
        ) from error
    return taken


def serve(
    flags: PipelineFlags,
    limits: Limits,
    place: socket.socket,
    *,
    doing: Callable[[str], object],
    ready: Callable[[], object],
) -> None:
    """Open a bundle and answer visitors until the process is interrupted.

    Visitors who come while the networks are warmed up wait for that.

    Args:
        flags: which networks.
        limits: what visitors may ask for.
        place: see `listen`.
        doing: told what is being done, step by step.
        ready: called once, when the networks are warm.

    Raises:
        UserError: see `emojax.load`.
    """
    signal.signal(signal.SIGTERM, _end)  # so that the folder is deleted then too
    with tempfile.TemporaryDirectory(prefix="emojax-web-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = os.environ["GRADIO_TEMP_DIR"] = folder
        _serve(flags, limits, place, Path(folder), doing, ready)


def _end(number: int, frame: object) -> NoReturn:
    """End the process in order when it is asked to end."""
    del frame
    raise SystemExit(128 + number)


def _serve(
    flags: PipelineFlags,
    limits: Limits,
    place: socket.socket,
    folder: Path,
    doing: Callable[[str], object],
    ready: Callable[[], object],
) -> None:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    doing("reading the networks")
    import uvicorn

    from emojax.page.application import application
    from emojax.page.disk import Disk
    from emojax.page.networks import Networks
    from emojax.page.site import Site
    from emojax.page.visits import Visits
    from emojax.page.worker import Worker

    networks = Networks(flags)
    site = Site(networks, Worker(limits.waiting), Visits(limits.memory), limits)
    disk = Disk(folder, limits.disk)
    disk.keep_young()

    def warm() -> None:
        for step in networks.warm():
            doing(step)
        ready()

    site.worker.begin(warm)
    config = uvicorn.Config(application(site, disk), **_SERVER)
    try:
        uvicorn.Server(config).run(sockets=[place])
    finally:
        site.worker.stop()
