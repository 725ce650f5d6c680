"""A local S3 server (moto's) on loopback that can be told to fail, and to lose its answers."""

import contextlib
import http.client
import random
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "faces"

REFUSED, LOST = "refused", "lost"


class Quiet(WSGIRequestHandler):
    """Says nothing of its requests."""

    def log(self, *args):
        pass


class ObjectServer:
    """One server with one bucket.

    Attributes:
        failing: share of writes that fail: half are refused, half are done and the answer is lost.
        failed: number of writes that failed, by kind.
        puts: number of writes asked for.
    """

    def __init__(self):
        self.failing, self.failed, self.puts = 0.0, {REFUSED: 0, LOST: 0}, 0
        self._rng, self._lock = random.Random(0), threading.Lock()
        self._backend = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def environment(self):
        """What a process needs to reach the server, and no other."""
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        return {**keys, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": self.url}

    def use(self, monkeypatch, failing=0.0):
        """Let this process reach the server, and a share of the writes fail, for one test."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(self, "failing", failing)

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ, start_response):
        kind = self._fate() if environ["REQUEST_METHOD"] == "PUT" else None
        if kind is None:
            return self._backend(environ, start_response)
        if kind == LOST:
            list(self._backend(environ, lambda *_: lambda data: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("503 Slow Down", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return []

    def _fate(self):
        with self._lock:
            self.puts += 1
            if self._rng.random() >= self.failing:
                return None
            kind = self._rng.choice([REFUSED, LOST])
            self.failed[kind] += 1
            return kind


@contextlib.contextmanager
def serving():
    """Run a server with an empty bucket; yields it."""
    server = ObjectServer()
    try:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        connection.request("PUT", f"/{BUCKET}")
        assert connection.getresponse().status == 200
        connection.close()
        yield server
    finally:
        server.close()
