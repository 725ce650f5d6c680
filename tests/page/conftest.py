"""The page in a process of its own, and a real Chromium to visit it with."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import emojax
from emojax.runtime.files import make_folder

ROOT = Path(emojax.__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
READY = 240
"""Seconds within which the page must be ready; compiling takes most of them on a busy machine."""


@contextlib.contextmanager
def served(folder, *flags):
    """Run `emojax web` and yield its address; it is stopped as Ctrl-C stops it."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "",  # one device, as for a user
        "TMPDIR": str(make_folder(folder / "temporary")),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # small networks compile longer than they run
    }
    with (folder / "said").open("w+") as said, (folder / "errors").open("w+") as errors:
        page = subprocess.Popen(
            [sys.executable, "-m", "emojax", "web", "--port", "0", *flags],
            cwd=folder,
            env=environment,
            stdout=said,
            stderr=errors,
        )
        try:
            yield _address(page, folder)
        finally:
            page.send_signal(signal.SIGINT)
            try:
                page.wait(60)
            finally:
                page.kill()
        assert (page.returncode, "stopped" in (folder / "errors").read_text()) == (130, True)
        left = [each.name for each in (folder / "temporary").glob("emojax-web-*")]
        assert left == []  # what visitors uploaded is deleted


def _address(page, folder):
    end = time.monotonic() + READY
    while time.monotonic() < end and page.poll() is None:
        if found := re.search(r"ready: (http://\S+)", (folder / "said").read_text()):
            return found[1]
        time.sleep(0.2)
    raise AssertionError(f"the page is not ready: {(folder / 'errors').read_text()[-2000:]}")


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    pytest.importorskip("gradio", reason="the page needs the extra web")
    with served(tmp_path_factory.mktemp("page")) as found:
        yield found


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as started:
        flags = ["--no-sandbox", "--use-fake-device-for-media-stream"]  # a webcam of its own
        browser = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """Return a function that opens the page, and check afterwards what the browser reports."""
    problems, contexts = [], []

    def opened(**how):
        context = chromium.new_context(**how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda each: each.type == "error" and problems.append(each.text))
        page.on("pageerror", lambda each: problems.append(str(each)))
        page.on("request", lambda each: problems.extend(_foreign(each.url, address)))
        page.goto(address)
        page.wait_for_selector("#edit-stage .ex-compare")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []  # no console error, and no request leaves the machine


def _foreign(url, address):
    return [] if url.startswith((address, "data:", "blob:")) else [url]
