"""One file: resumed after every kind of cut, and never believed before it is checked."""

import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import threading

import pytest
import requests

from convert.download import connection, one_file
from convert.download.one_file import Patience, Wanted
from convert.download.problems import LocalProblem, Problem, Stopped
from tests.convert.download.one_served_file import BYTES, HASH, NAME, SIZE, Silent, fetch
from tests.support import file_server
from tests.support.file_server import FileServer, cut, page, redirect, serve, status


def test_a_whole_file(server, tmp_path):
    path = fetch(server, tmp_path, size=SIZE)
    assert path.read_bytes() == BYTES
    assert os.listdir(tmp_path) == [NAME]
    assert fetch(server, tmp_path) == path
    assert len(server.asked) == 1  # what is there is not asked for again


def test_another_file_of_that_name_is_not_taken(server, tmp_path):
    for other in (bytes(SIZE), bytes(10)):
        (tmp_path / NAME).write_bytes(other)
        assert fetch(server, tmp_path, size=SIZE).read_bytes() == BYTES


@pytest.mark.parametrize("etag", ['"one"', None, 'W/"weak"'])
def test_ten_cuts_at_random(server, tmp_path, etag):
    places = random.Random(1).sample(range(one_file.CHUNK, SIZE // 10), 10)
    server.plan[NAME] = [serve(limit=place, etag=etag) for place in places] + [serve(etag=etag)]
    assert fetch(server, tmp_path).read_bytes() == BYTES
    starts = [0] + [int(asked.removeprefix("bytes=")[:-1]) for _, asked in server.asked[1:]]
    assert len(starts) == 11
    for before, after, sent in zip(starts, starts[1:], places, strict=False):
        assert sent - one_file.CHUNK < after - before <= sent


def test_a_server_without_ranges_begins_again(server, tmp_path):
    plan = [serve(limit=2_000_000, ranges=False), serve(limit=2_500_000, ranges=False)]
    server.plan[NAME] = [*plan, serve(ranges=False)]
    assert fetch(server, tmp_path).read_bytes() == BYTES


def test_a_server_without_ranges_that_always_cuts_is_given_up(server, tmp_path):
    server.plan[NAME] = serve(limit=one_file.CHUNK, ranges=False)
    with pytest.raises(Problem, match=r"cut after 65,536 of 3,000,000 bytes, 4 times in a row"):
        fetch(server, tmp_path)
    assert len(server.asked) == 4


def test_an_unknown_size(server, tmp_path):
    server.plan[NAME] = [serve(length=False)]
    assert fetch(server, tmp_path).read_bytes() == BYTES


def test_a_later_run_goes_on(server, tmp_path):
    server.plan[NAME] = [cut(3 * one_file.CHUNK), status(404)]
    with pytest.raises(Problem, match=r"not at its address any more \(404\)"):
        fetch(server, tmp_path)
    assert (tmp_path / f"{NAME}.part").read_bytes() == BYTES[: 3 * one_file.CHUNK]
    server.asked.clear()
    assert fetch(server, tmp_path).read_bytes() == BYTES
    assert server.asked == [(f"/{NAME}", f"bytes={3 * one_file.CHUNK}-")]


def test_a_file_that_changed_is_not_joined(server, tmp_path):
    server.plan[NAME] = [
        serve(limit=2 * one_file.CHUNK, etag='"old"', flip=10),
        serve(etag='"new"'),
    ]
    assert fetch(server, tmp_path).read_bytes() == BYTES
    server.plan[NAME] = [cut(2 * one_file.CHUNK), file_server.changed(500)]
    (tmp_path / NAME).unlink()
    assert fetch(server, tmp_path).read_bytes() == BYTES


def test_bytes_of_another_address_are_not_joined(server, tmp_path):
    server.plan[NAME] = [cut(2 * one_file.CHUNK), status(404)]
    with pytest.raises(Problem):
        fetch(server, tmp_path, url=server.url + "/")
    server.asked.clear()
    assert fetch(server, tmp_path).read_bytes() == BYTES
    assert server.asked == [(f"/{NAME}", None)]


@pytest.mark.parametrize("notes", ["", "{}", "[1]", '{"address": 1, "total": "x", "validator": 0}'])
def test_damaged_notes_begin_again(server, tmp_path, notes):
    (tmp_path / f"{NAME}.part").write_bytes(b"PK\x03\x04other")
    (tmp_path / f"{NAME}.part.json").write_text(notes)
    assert fetch(server, tmp_path).read_bytes() == BYTES


def test_faults_that_pass_are_waited_for(server, tmp_path):
    shown = Silent()
    server.plan[NAME] = [status(503, Retry_After="0"), status(429), status(500), serve()]
    assert fetch(server, tmp_path, shown=shown).read_bytes() == BYTES
    assert "127.0.0.1 answers 503, trying again" in shown.notes


class Clock(threading.Event):
    """An event that nobody waits for."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    def wait(self, timeout=None):
        self.pauses.append(timeout)
        return False


def test_pauses_double_unless_the_server_asks_for_another(server, tmp_path):
    clock = Clock()
    server.plan[NAME] = [
        status(500),
        status(502),
        status(504),
        status(503, Retry_After="7"),
        cut(4 * one_file.CHUNK),
        status(503, Retry_After="1000000"),
        status(503, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
    ]
    file = Wanted(NAME, server.url + NAME, 2 * SIZE)
    with connection.Session() as session:
        one_file.fetch(file, tmp_path, session, Silent(), clock, Patience(5, 0.5))
    assert clock.pauses == [0.5, 1.0, 2.0, 7.0, 0.5, connection.LONGEST_WAIT, 2.0]


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ([status(404)], r"it is not at its address any more \(404\)"),
        ([status(403)], r"the server refuses it \(403\)"),
        ([status(401)], r"asks for a password \(401\)"),
        ([status(418)], "127.0.0.1 answers 418"),
        ([status(500)] * 4, "127.0.0.1 answers 500, 4 times in a row"),
        ([page(file_server.QUOTA)], "Google Drive's quota for this file is used up"),
        ([page(file_server.SIGN_IN)], "the server asks to sign in"),
        ([page("<html><title>Hotel\nWi-Fi</title>")], r"a web page \('Hotel Wi-Fi'\) in the place"),
        ([page("<!DOCTYPE html>", content_type="application/zip")], "sent a web page in the place"),
        ([file_server.confirmation] * 2, "sent a web page"),
        ([page("not a checkpoint", content_type="text/plain")], "begins with b'not a checkpoint'"),
        ([page("", content_type="text/plain")], "begins with b''"),
        ([serve(flip=7)], f"published one with {HASH[:16]}: it was damaged or replaced on its way"),
        ([serve(Content_Encoding="gzip")], "compresses the file"),
        ([redirect("loop")] * 12, "redirects more than 10 times"),
        ([redirect("http://[/x")], r"leads to 'http://\[/x', which is no address"),
        ([redirect("ftp://127.0.0.1/psp.pt")], "redirects to ftp://127.0.0.1/psp.pt, which is not"),
    ],
)
def test_failures_have_their_sentence(server, tmp_path, plan, sentence):
    server.plan[NAME] = plan
    server.plan["loop"] = redirect("loop")
    if plan == [file_server.confirmation] * 2:
        server.plan[NAME] = [page(file_server.CONFIRMATION.replace('name="confirm"', 'name="no"'))]
    with pytest.raises(Problem, match=sentence):
        fetch(server, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_a_page_does_not_cost_what_has_arrived(server, tmp_path):
    server.plan[NAME] = [cut(3 * one_file.CHUNK), page(file_server.QUOTA)]
    with pytest.raises(Problem, match="quota"):
        fetch(server, tmp_path)
    assert (tmp_path / f"{NAME}.part").stat().st_size == 3 * one_file.CHUNK


def test_drives_confirmation_is_followed_also_when_resuming(server, tmp_path):
    server.plan[NAME] = file_server.confirmation
    stop, shown = threading.Event(), Silent()
    shown.at = lambda done, total: stop.set() if done > 0 else None
    with pytest.raises(Stopped):
        fetch(server, tmp_path, stop=stop, shown=shown)
    kept = (tmp_path / f"{NAME}.part").stat().st_size
    assert 0 < kept < SIZE
    assert fetch(server, tmp_path).read_bytes() == BYTES
    query = f"/download?id={NAME}&export=download&confirm=t&uuid=0f1e"
    assert server.asked[-1] == (query, f"bytes={kept}-")


def test_a_form_may_not_lead_elsewhere(server, tmp_path):
    text = file_server.CONFIRMATION.format(action="https://evil.invalid/download", name=NAME)
    server.plan[NAME] = [page(text)]
    with pytest.raises(Problem, match=r"sent a form that leads to evil\.invalid"):
        fetch(server, tmp_path)


def test_sizes_that_cannot_be(server, tmp_path):
    with pytest.raises(Problem, match="the server has 3,000,000 bytes, published are 2,999,999"):
        fetch(server, tmp_path, size=SIZE - 1)
    with pytest.raises(Problem, match="the server has 3,000,000 bytes, wanted 1,000 at most"):
        fetch(server, tmp_path, most=1000)
    server.plan[NAME] = [serve(length=False)]
    with pytest.raises(Problem, match="the server sends more than"):
        fetch(server, tmp_path, most=1000)
    server.plan[NAME] = [serve(length=False)]
    with pytest.raises(Problem, match="it has 3,000,000 bytes, published are 2,999,999"):
        fetch(server, tmp_path, size=SIZE - 1)


def test_redirects_are_followed(server, tmp_path):
    server.plan[NAME] = [redirect("one", 301)]
    server.plan["one"] = [redirect(f"{server.url}{NAME}", 308)]
    assert fetch(server, tmp_path).read_bytes() == BYTES


def test_the_body_of_a_redirect_is_not_read(server, tmp_path):
    server.plan[NAME] = [lambda handler, _: handler.head(302, 10**12, Location="one")]
    server.plan["one"] = [redirect(NAME)]
    assert fetch(server, tmp_path).read_bytes() == BYTES


def test_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(Problem, match=r"127\.0\.0\.1 refuses the connection, 2 times in a row"):
        fetch(None, tmp_path, url=url, retries=1)


def test_a_machine_without_a_network():
    error = requests.ConnectionError("NameResolutionError(...): Failed to resolve 'drive'")
    said = connection._unreachable("https://drive.google.com/x", error)
    assert said == "drive.google.com is not found: is there a network connection?"


def test_a_disk_that_takes_no_more(server, tmp_path):
    """In a process that may write 1,000,000 bytes to a file."""
    code = (
        "import resource, sys, pathlib; from tests.convert.download import one_served_file as t;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); "
        "t.fetch(None, pathlib.Path(sys.argv[2]), url=sys.argv[1])"
    )
    line = [sys.executable, "-c", code, server.url, str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True)
    said = done.stderr.splitlines()[-1]
    assert "LocalProblem: the disk of " in said
    assert "takes no more" in said
    assert "make room for 2,000,000 more bytes" in said
    assert issubclass(LocalProblem, Problem)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1_000_000
    assert fetch(server, tmp_path).read_bytes() == BYTES  # and goes on


@pytest.fixture
def certificate(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("makes a certificate with openssl")
    key, file = tmp_path / "key.pem", tmp_path / "certificate.pem"
    line = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tests"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)]
    subprocess.run([*line.split(), *names], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return file


def test_https_is_not_left_for_http(server, certificate, tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    with FileServer(server.folder, certificate) as safe:
        with pytest.raises(Problem, match=r"the certificate of 127\.0\.0\.1 is not valid"):
            fetch(safe, tmp_path / "files")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        safe.plan[NAME] = [redirect(server.url + NAME)]
        with pytest.raises(Problem, match=r"redirects to http://127\.0\.0\.1:.*, which is not"):
            fetch(safe, tmp_path / "files")
        assert fetch(safe, tmp_path / "files").read_bytes() == BYTES
        (tmp_path / "files" / NAME).unlink()
        server.plan[NAME] = [redirect(safe.url + NAME)]
        assert fetch(server, tmp_path / "files").read_bytes() == BYTES
