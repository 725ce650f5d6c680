"""What stands before gradio: routes, the size of requests, and files named by their address.

Gradio has routes for sharing, monitoring, editing and proxies, and fetches files that a request
names by their address. None of this is reachable here. Answers carry a content security policy, so
that also a browser loads nothing from another server.
"""

import json
import re
from typing import Any

from starlette.formparsers import MultiPartException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emojax.page.disk import Disk
from emojax.page.limits import MEGABYTE, Limits
from emojax.runtime.errors import UserError

ROUTES = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.*"
    r"|/gradio_api/(app_id/?|info/?|reset/?|cancel|theme\.css|startup-events|upload|upload_progress"
    r"|heartbeat/\w+|queue/(join|data)|(run|api|call)/.*|file=.*|component_server/?)"
)
"""Paths that are answered."""

HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"media-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
        b"object-src 'none'; base-uri 'self'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]

ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
ADDRESS_ROUTE = re.compile(r"/gradio_api/file=\s*[a-z][a-z0-9+.-]*:/", re.IGNORECASE)


class Refused(Exception):
    """A request that is not passed on."""

    def __init__(self, status: int, sentence: str) -> None:
        """Keep the HTTP status and what is said."""
        super().__init__(sentence)
        self.status = status


class Guard:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApp, limits: Limits, disk: Disk) -> None:
        """Stand before `app`."""
        self.app, self.limits, self.disk = app, limits, disk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no websockets
            return
        try:
            receive = await self._checked(scope, receive)
        except Refused as refused:
            answer = PlainTextResponse(str(refused), refused.status, {"connection": "close"})
            await answer(scope, receive, send)
            return

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        await self.app(scope, receive, answered)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """Return how the request's body is read on.

        Raises:
            Refused: it is not passed on.
        """
        path = scope["path"]
        if not ROUTES.fullmatch(path) or ADDRESS_ROUTE.match(path):
            raise Refused(404, "there is nothing here")
        if scope["method"] in ("GET", "HEAD"):
            return receive
        if scope["method"] != "POST":
            raise Refused(405, "the page is asked with GET and POST only")
        is_upload = path == "/gradio_api/upload"
        # a form has some bytes of its own round the file
        most = self.limits.upload + MEGABYTE // 16 if is_upload else self.limits.message
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most:
            raise Refused(413, _too_large(most))
        if is_upload:
            try:
                self.disk.make_room()
            except UserError as error:
                raise Refused(507, str(error)) from error
            return _bounded(receive, most)
        body = await _read(receive, most)
        if _names_an_address(body):
            raise Refused(400, "files are uploaded, not fetched from an address: upload the file")
        return _again(body, receive)


async def _read(receive: Receive, most: int) -> bytes:
    """Return the whole body.

    Raises:
        Refused: it is longer than `most`.
    """
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > most:
            raise Refused(413, _too_large(most))
        if not message.get("more_body"):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a body that was read as if it came now, then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _bounded(receive: Receive, most: int) -> Receive:
    """Return the body of an upload, read no further than `most` bytes.

    Raises:
        MultiPartException: it is longer; gradio answers 413 and deletes what it has written.
    """
    count = 0

    async def counted() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > most:
            raise MultiPartException(f"more than the maximum allowed size: {_too_large(most)}")
        return message

    return counted


def _names_an_address(body: bytes) -> bool:
    """Whether a JSON body has a file that lies on another server."""
    try:
        return _has_address(json.loads(body or b"null"))
    except (ValueError, RecursionError):
        return False  # not JSON: gradio refuses it


def _has_address(value: Any) -> bool:
    if isinstance(value, dict):
        path, url = value.get("path"), value.get("url")
        if isinstance(path, str) and ADDRESS.match(path):
            return True
        # the browser names its own uploads by path and address
        if not path and isinstance(url, str) and ADDRESS.match(url):
            return True
        return any(map(_has_address, value.values()))
    return isinstance(value, list) and any(map(_has_address, value))


def _too_large(most: int) -> str:
    return f"this is more than {most / MEGABYTE:.0f} MB, the most that the page takes: send less"
