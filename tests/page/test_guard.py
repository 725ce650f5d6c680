"""What the page refuses, asked of the real server: it answers with a sentence and lives on."""

import asyncio
import concurrent.futures
import contextlib
import http.client
import socket
import struct
import urllib.parse
import zlib

import pytest

httpx = pytest.importorskip("httpx", reason="the page needs the extra web")
pytest.importorskip("gradio", reason="the page needs the extra web")

UPLOAD = "/gradio_api/upload"


@pytest.fixture
def web(address):
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client
        # whatever was asked, the server lives
        assert client.get("/").status_code == 200


def picture(pixels=b"\0\0\0", size=(1, 1)):
    """Return a PNG of any stated size with the given data."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def upload(web, data, name="me.png"):
    return web.post(UPLOAD, files={"files": (name, data)})


def ask(web, endpoint, *values):
    """Call an endpoint as Gradio's client does; return its last event."""
    started = web.post(f"/gradio_api/call/{endpoint}", json={"data": list(values)})
    if started.status_code != 200:
        return started.status_code, started.text
    said = web.get(f"/gradio_api/call/{endpoint}/{started.json()['event_id']}").text
    return 200, said


def file(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "/proc/self/environ",
        "file:///etc/passwd",
        "http://example.com/a.png",
        "pyproject.toml",
        "/tmp/../etc/passwd",
        "%00/etc/passwd",
    ],
)
def test_files_outside_the_upload_folder_are_not_served(web, path):
    for quoted in (path, urllib.parse.quote(path, safe="")):
        answer = web.get(f"/gradio_api/file={quoted}", follow_redirects=False)
        assert answer.status_code in (400, 403, 404), answer.text
        assert "root:" not in answer.text


def test_paths_in_requests_do_not_reach_outside_the_upload_folder(web, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture())
    for path in ("/etc/passwd", str(secret), "../../etc/passwd", f"/proc/self/root{secret}"):
        _, said = ask(web, "emotions", file(path), 1)
        assert "event: error" in said
        assert "root:" not in said


def test_nothing_is_fetched_from_an_address(web):
    for path in ("http://127.0.0.1:9/a.png", " https://example.com/a.png", "ftp://x/y.png"):
        status, said = ask(web, "emotions", file(path), 1)
        assert status == 400
        assert "uploaded, not fetched" in said


def test_a_name_does_not_choose_the_folder_of_an_upload(web):
    answer = upload(web, picture(), name="../../../../tmp/evil.png")
    assert answer.status_code == 200
    (path,) = answer.json()
    assert "emojax-web-" in path
    assert ".." not in path


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/gradio_api/vibe-edit/", "POST"),
        ("/gradio_api/process_recording", "POST"),
        ("/gradio_api/proxy=http://example.com/", "GET"),
        ("/monitoring", "GET"),
        ("/gradio_api/runs", "GET"),
        ("/login", "POST"),
        ("/gradio_api/stream/a/b/c/playlist.m3u8", "GET"),
        ("/docs", "GET"),
    ],
)
def test_routes_that_the_page_does_not_need_are_closed(web, path, method):
    assert web.request(method, path).status_code == 404
    assert web.put("/").status_code == 405


def test_it_listens_on_loopback_alone(address):
    place = urllib.parse.urlsplit(address)
    assert place.hostname == "127.0.0.1"
    with contextlib.closing(socket.socket()) as line:  # also a listener on every address has this
        assert line.connect_ex(("127.0.0.2", place.port)) != 0


def test_files_are_checked_by_content(web):
    (path,) = upload(web, b"<html>no picture</html>", name="me.png").json()
    status, said = ask(web, "emotions", file(path), 1)
    assert status == 200
    assert "event: error" in said
    assert "not a picture" in said


def test_a_decompression_bomb_is_refused(web):
    (path,) = upload(web, picture(b"\0" * 1_000_000, size=(50_000, 50_000))).json()
    _, said = ask(web, "emotions", file(path), 1)
    assert "event: error" in said
    assert "pixels" in said


def test_a_stated_length_beyond_the_limit_is_refused_at_once(address):
    host = urllib.parse.urlsplit(address).netloc
    for path, length in ((UPLOAD, 2 << 30), ("/gradio_api/queue/join", 2 << 20)):
        with contextlib.closing(http.client.HTTPConnection(host, timeout=30)) as line:
            line.putrequest("POST", path)
            line.putheader("Content-Length", str(length))
            line.putheader("Content-Type", "multipart/form-data; boundary=x")
            line.endheaders()
            answer = line.getresponse()
            assert answer.status == 413
            assert b"the most that the page takes" in answer.read()


def test_a_body_without_a_length_is_cut_at_the_limit(web):
    def endless(count):
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(count):
            yield bytes(1 << 20)

    head = {"Content-Type": "multipart/form-data; boundary=x"}
    with contextlib.suppress(httpx.TransportError):  # the server hangs up while it is sent
        answer = web.post(UPLOAD, content=endless(200), headers=head)
        assert answer.status_code in (400, 413)
    with contextlib.suppress(httpx.TransportError):
        answer = web.post("/gradio_api/queue/join", content=endless(5))
        assert answer.status_code == 413


def test_a_thousand_jobs_at_once_are_refused_but_for_a_line(web, address):
    """Each job draws a face; most are refused with a sentence, none brings the server down."""

    async def crowd():
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=0)
        patient = httpx.Timeout(120, pool=None)  # a slow machine takes its time for a thousand
        async with httpx.AsyncClient(base_url=address, timeout=patient, limits=limits) as client:

            async def job(seed):
                body = {"data": [seed, 0.7]}
                answer = await client.post("/gradio_api/call/sample", json=body)
                return answer.status_code, answer.text

            return await asyncio.gather(*map(job, range(1000)))

    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # the browser has a loop in this one
        answers = thread.submit(asyncio.run, crowd()).result()
    refused = [text for status, text in answers if status != 200]
    assert all(status in (200, 429, 503) for status, _ in answers)
    assert len(refused) > 500
    assert all("ueue" in text or "waiting" in text for text in refused)
    status, said = 0, ""
    for _ in range(60):
        status, said = ask(web, "sample", 1, 0.7)
        if status == 200 and "event: complete" in said:
            break
    assert "event: complete" in said
