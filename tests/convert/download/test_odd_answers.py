"""Odd and hostile answers, alone and mixed: they end in the file or in a sentence."""

import contextlib
import gc
import random
import warnings

import pytest

from convert.download.problems import Problem
from tests.convert.download.one_served_file import BYTES, NAME, SIZE, fetch
from tests.support import file_server
from tests.support.file_server import cut, page, raw, redirect, serve, status


def ok(*headers, body=b"PK\x03\x04" + bytes(100)):
    return raw(b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"", body]))


ODD = [
    raw(b""),
    raw(b"\x00\xff garbage\r\n\r\n"),
    raw(b"HTTP/1.1 200 OK\r\nContent-"),
    raw(b"HTTP/1.1 999 \xff\r\n\r\n"),
    raw(b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://\r\n\r\n"),
    raw(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999999/\r\n\r\n"),
    raw(b"HTTP/1.1 302 Found\r\nLocation: //[\r\n\r\n"),
    raw(b"HTTP/1.1 302 Found\r\nLocation: http://\r\n\r\n"),
    ok(b"Content-Length: -5"),
    ok(b"Content-Length: 12, 13"),
    ok(b"Content-Length: many"),
    ok(b"Content-Length: 99999999999999999999"),
    ok(b"Transfer-Encoding: chunked", body=b"zz\r\nPK\x03\x04"),
    ok(b"Transfer-Encoding: chunked", body=b"5\r\nPK\x03\x04"),
    ok(b"Content-Encoding: gzip"),
    ok(b"ETag: \xff\xfe\r\n next", b"Content-Length: 200"),
    ok(b"Last-Modified: \x01", b"Content-Length: 200"),
    ok(*[b"X-%d: y" % i for i in range(300)]),
    ok(b"X: " + b"y" * 100_000),
    raw(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 9-1/x\r\n\r\nPK"),
    raw(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes */*\r\n\r\nPK"),
    raw(b"HTTP/1.1 416 No\r\nContent-Range: bytes */x\r\n\r\n"),
    page('<form action="http://["><input name="confirm" value="t">'),
    page("<form action='javascript:x'><input name='confirm'>"),
    page("<title>" + "x" * 10_000),
    page("\x00<!DOCTYPE html>" + "<" * 50_000),
]


@pytest.fixture
def forgotten_sockets():
    """urllib3 leaves the connection of an answer with a malformed header to the collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.mark.usefixtures("forgotten_sockets")
@pytest.mark.parametrize("index", range(len(ODD)))
def test_odd_answers_end_in_a_sentence_or_are_tried_again(server, tmp_path, index):
    server.plan[NAME] = ODD[index]
    with pytest.raises(Problem) as caught:
        fetch(server, tmp_path, retries=1)
    assert 10 < len(str(caught.value)) < 500
    server.plan[NAME] = [serve(ranges=index % 2 == 0), serve()]
    (tmp_path / f"{NAME}.part").unlink(missing_ok=True)
    assert fetch(server, tmp_path).read_bytes() == BYTES


@pytest.mark.usefixtures("forgotten_sockets")
@pytest.mark.parametrize("seed", range(30))
def test_any_mix_of_answers_ends_in_the_file_or_in_a_sentence(server, tmp_path, seed):
    drawn = random.Random(seed)
    more = [
        lambda: cut(drawn.randrange(SIZE)),
        lambda: serve(limit=drawn.randrange(SIZE), ranges=False),
        lambda: serve(limit=drawn.randrange(SIZE), etag=None),
        lambda: serve(limit=drawn.randrange(SIZE), etag='"two"', flip=drawn.randrange(4, SIZE)),
        lambda: serve(length=False, limit=drawn.randrange(SIZE)),
        lambda: file_server.confirmation,
        lambda: status(drawn.choice([500, 503, 429])),
        lambda: redirect(NAME),
        lambda: drawn.choice(ODD),
    ]
    for _ in range(4):
        server.plan[NAME] = [drawn.choice(more)() for _ in range(drawn.randrange(6))]
        with contextlib.suppress(Problem):
            fetch(server, tmp_path)
            break
        assert not (tmp_path / NAME).exists()
    server.plan.clear()
    fetch(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == BYTES
