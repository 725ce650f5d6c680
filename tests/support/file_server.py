"""A server on the loopback that plays those of the published files: also as they fail.

    with FileServer(folder) as server:
        server.plan["psp.pt"] = [cut(1000), status(503), confirmation]
        ...server.url + "psp.pt"...

Each request for a file takes the next entry of its plan; when the plan is used up the file is
served, with ranges, an ETag and a date. What was asked for is in `server.asked`, the number of
connections that were cut in `server.cuts`.
"""

import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PIECE = 2**16

CONFIRMATION = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head>
<body><p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="{action}" method="get">
<input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="{name}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="0f1e"></form>
</body></html>"""

QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p>Sorry, you can't view or download this file at this time.</p><p>Too many users have viewed or
downloaded this file recently. Please try accessing the file again later.</p></body></html>"""

SIGN_IN = """<html><head><title>Sign in</title></head><body>
<a href="https://accounts.google.com/ServiceLogin?continue=">Sign in</a></body></html>"""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing of clients that hang up."""


class FileServer:
    """Serves the files of a folder, each by its name.

    Args:
        folder: with the files.
        certificate: PEM file with certificate and key, to speak https.
    """

    def __init__(self, folder, certificate=None):
        self.folder, self.plan, self.asked, self.lock = Path(folder), {}, [], threading.Lock()
        self.cuts = 0
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def next_step(self, name):
        with self.lock:
            plan = self.plan.get(name)
            if callable(plan):
                return plan
            return plan.pop(0) if plan else serve()


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            parts = urlsplit(self.path)
            name, query = parts.path.strip("/"), parse_qs(parts.query)
            with server.lock:
                server.asked.append((self.path, self.headers.get("Range")))
            with suppress(ConnectionError):
                if name == "download" and query.get("confirm") == ["t"] and "uuid" in query:
                    serve()(self, server.folder / query["id"][0])
                else:
                    server.next_step(name)(self, server.folder / name)

        def log_message(self, *_):
            pass

        def head(self, code, length, **headers):
            self.send_response(code)
            self.send_header("Content-Length", str(length))
            for title, value in headers.items():
                self.send_header(title.replace("_", "-"), value)
            self.end_headers()

        def hang_up(self):
            """Cut the connection as a network does."""
            self.wfile.flush()
            self.close_connection = True
            server.cuts += 1
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    return Handler


def serve(*, ranges=True, etag='"one"', limit=None, length=True, flip=None, **more):
    """Send a file, or the range of it that is asked for.

    Args:
        ranges: whether ranges are known to the server.
        etag: of the file; None: the server has none.
        limit: bytes after which the connection is cut.
        length: whether the size is stated.
        flip: place of a byte to change.
        **more: further headers.
    """

    def send(handler, file):
        if not file.is_file():
            handler.send_error(404)
            return
        size, start = file.stat().st_size, 0
        asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
        if ranges and asked and condition in (None, etag):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        headers = {"Content_Type": "application/octet-stream", **more}
        headers |= {"ETag": etag} if etag else {}
        if start >= size > 0:
            handler.head(416, 0, Content_Range=f"bytes */{size}")
            return
        if start:
            headers["Content_Range"] = f"bytes {start}-{size - 1}/{size}"
        if length:
            handler.head(206 if start else 200, size - start, **headers)
        else:
            headers |= {"Connection": "close"}
            handler.send_response(206 if start else 200)
            for title, value in headers.items():
                handler.send_header(title.replace("_", "-"), value)
            handler.end_headers()
            handler.close_connection = True
        _send_bytes(handler, file, start, size if limit is None else min(size, start + limit), flip)
        if limit is not None and start + limit < size:
            handler.hang_up()

    return send


def _send_bytes(handler, file, start, end, flip):
    with file.open("rb") as stream:
        stream.seek(start)
        while start < end:
            piece = bytearray(stream.read(min(PIECE, end - start)))
            if flip is not None and start <= flip < start + len(piece):
                piece[flip - start] ^= 1
            handler.wfile.write(piece)
            start += len(piece)


def cut(after):
    """Send some bytes of what is asked for, then cut the connection."""
    return serve(limit=after)


def status(code, **headers):
    """Refuse with a status."""
    return lambda handler, _: handler.head(code, 0, **headers)


def redirect(target, code=302):
    """Send somewhere else."""
    return status(code, Location=target)


def page(text, code=200, content_type="text/html; charset=utf-8"):
    """Send a web page in the place of the file."""

    def send(handler, _):
        body = text.encode()
        handler.head(code, len(body), Content_Type=content_type)
        handler.wfile.write(body)

    return send


def confirmation(handler, file):
    """Ask for a confirmation, as Google Drive does before a large file."""
    page(CONFIRMATION.format(action="/download", name=file.name))(handler, file)


def changed(old_size):
    """Answer as a server on which the file was replaced: nothing after what the old one had."""
    return lambda handler, file: handler.head(416, 0, Content_Range=f"bytes */{old_size}")


def raw(answer):
    """Send bytes that need not be HTTP, then cut the connection."""

    def send(handler, _):
        handler.wfile.write(answer)
        handler.hang_up()

    return send
