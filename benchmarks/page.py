"""The page of `emojax web` in a real Chromium: a slider's latency, memory with many visitors.

    python -m benchmarks.page
    python -m benchmarks.page --visitors 32 --moves 40
    python -m benchmarks.page --pictures docs/

Latency is from the move in the browser until the new picture is decoded and shown there; the
server's processor time for a move stands beside it. Memory is that of its process
at its largest. Needs the extras `web` and `browser`, and Chromium.
"""

import asyncio
import contextlib
import dataclasses
import io
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.machine import describe, emit
from emojax import load
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

MOVE = """
async ([name, value]) => {
  const image = () => document.querySelector('#edit-stage .ex-after');
  const input = document.querySelector(`#edit-${name} input[type=range]`);
  const before = image().src, start = performance.now();
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, value);
  input.dispatchEvent(new Event('input', {bubbles: true}));
  while (image().src === before) await new Promise(requestAnimationFrame);
  await image().decode();
  return performance.now() - start;
}
"""
"""Moves a slider as a hand does, and returns the milliseconds until the new picture is there."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.page`."""

    visitors: int = 32
    """Visitors at once, each with a photograph and moves of its own."""
    moves: int = 40
    """Moves of a slider that are timed."""
    pictures: Path | None = None
    """A folder: write the documentation's pictures of the page there instead of measuring."""


def main(options: Options) -> None:
    """Measure, or take the pictures."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it reports every request
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (address, process):
        if options.pictures:
            take_pictures(address, options.pictures)
            return
        with visitor(address) as page:
            before = processor_seconds(process)
            spent = [page.evaluate(MOVE, ["happiness", str(step)]) for step in _steps(options)]
            worked = (processor_seconds(process) - before) / len(spent)
        single = resident(process, "VmHWM")
        started = time.perf_counter()
        moves = asyncio.run(crowd(address, options.visitors))
        seconds = time.perf_counter() - started
        emit(
            **describe(),
            benchmark="page",
            slider_ms_median=round(statistics.median(spent), 1),
            slider_ms_95=round(sorted(spent)[int(0.95 * len(spent))], 1),
            slider_ms_largest=round(max(spent), 1),
            slider_processor_ms=round(1000 * worked, 1),
            other_load=round(os.getloadavg()[0], 1),
            visitors=options.visitors,
            visitors_moves_a_second=round(moves / seconds, 1),
            memory_mb_one_visitor=single,
            memory_mb_all_visitors=resident(process, "VmHWM"),
        )


def _steps(options: Options) -> list[int]:
    """Return different values of a slider; the first ones, which warm up, are not used."""
    return [10 + (7 * step) % 90 for step in range(options.moves)]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[str, int]]:
    """Run `emojax web` and yield its address and the number of its process."""
    with (folder / "said").open("w") as said:
        page = subprocess.Popen([sys.executable, "-m", "emojax", "web", "--port", "0"], stdout=said)
        try:
            while page.poll() is None:
                if found := re.search(r"ready: (http://\S+)", (folder / "said").read_text()):
                    yield found[1], page.pid
                    return
                time.sleep(0.2)
            raise UserError("the page did not start: run 'emojax web' to see why")
        finally:
            page.send_signal(2)
            page.wait()


@contextlib.contextmanager
def visitor(address: str, **how: Any) -> Iterator[Page]:
    """Open the page in Chromium and wait for its first face."""
    browser = next((found for each in CHROMIUM if (found := shutil.which(each))), None)
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_context(**how).new_page()
        page.goto(address)
        page.wait_for_selector("#edit-stage .ex-compare")
        page.wait_for_timeout(1000)
        yield page
        opened.close()


def resident(process: int, name: str) -> int:
    """Return a line of /proc/PID/status in MB."""
    lines = Path("/proc", str(process), "status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", lines)
    return int(found[1]) // 1024 if found else 0


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has taken, which no other program's load changes."""
    fields = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def crowd(address: str, visitors: int, moves: int = 10) -> int:
    """Let visitors open the page, a photograph each, and move sliders, all at once.

    They speak to the server as their browsers would. Returns the number of answered moves; a call
    that is refused because the line is full is made again.
    """
    limits = httpx.Limits(max_connections=3 * visitors)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as client:
        events = _events((await client.get("/config")).json())
        photo = _photograph()
        return sum(
            await asyncio.gather(
                *(_visit(client, events, photo, number, moves) for number in range(visitors))
            )
        )


def _photograph() -> bytes:
    """Return the bundle's sample as a photograph of 800 x 800 pixels."""
    stream = io.BytesIO()
    with Image.open(load("demo").sample_photo("target")) as picture:
        picture.resize((800, 800), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def _events(config: dict[str, Any]) -> dict[str, int]:
    """Return the numbers of the page's events: opening a photograph, and moving a slider."""
    named = {each["props"].get("elem_id"): each["id"] for each in config["components"]}
    found = {}
    for event in config["dependencies"]:
        for target, kind in event["targets"]:
            for name in ("edit-photo", "edit-happiness"):
                if (target, kind) == (named[name], "input"):
                    found[name] = event["id"]
    return found


async def _visit(
    client: httpx.AsyncClient, events: dict[str, int], photo: bytes, number: int, moves: int
) -> int:
    """Open a photograph and move a slider; returns the number of answered moves."""
    files = {"files": (f"visitor{number}.jpg", photo)}
    (path,) = (await client.post("/gradio_api/upload", files=files)).json()
    given = {"path": path, "meta": {"_type": "gradio.FileData"}}
    who = {"session_hash": f"visitor{number}"}
    join = {"fn_index": events["edit-photo"], "data": [given], **who}
    while (await client.post("/gradio_api/queue/join", json=join)).status_code != 200:
        await asyncio.sleep(0.2)
    said = await client.get("/gradio_api/queue/data", params=who)
    if '"success":true' not in said.text:
        raise UserError(f"a photograph was not opened: {said.text[-300:]}")
    answered = 0
    while answered < moves:
        values = ["The face as drawn", "per cent of the usable range", 1, 10, *[0] * 8]
        values[8] = answered + 1
        body = {"fn_index": events["edit-happiness"], "data": values, **who}
        done = await client.post("/gradio_api/run/predict", json=body)
        answered += done.status_code == 200
        if done.status_code != 200:
            await asyncio.sleep(0.2)
    return answered


def take_pictures(address: str, folder: Path) -> None:
    """Write what the documentation shows: page.png, page-transfer.png, page-phone.png."""
    with visitor(address, viewport={"width": 1280, "height": 900}) as page:
        page.evaluate(MOVE, ["happiness", "90"])
        page.wait_for_timeout(500)
        _shoot(page, folder / "page.png")
        page.get_by_role("tab", name="Transfer").click()
        choices = page.locator(".ex-choices:visible button")
        choices.nth(0).click()
        page.wait_for_selector("#transfer-source img")
        choices.nth(3).click()
        page.wait_for_selector("#transfer-stage .ex-compare")
        page.wait_for_timeout(500)
        _shoot(page, folder / "page-transfer.png")
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    with visitor(address, **phone) as page:
        page.evaluate(MOVE, ["surprise", "90"])
        page.locator("#edit-to-neutral").scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        _shoot(page, folder / "page-phone.png", whole=False)


def _shoot(page: Page, file: Path, *, whole: bool = True) -> None:
    """Write a screenshot with 256 colours, dithered so that faces show no steps."""
    page.screenshot(path=file, full_page=whole)
    with Image.open(file) as picture:
        colours = picture.convert("RGB")
        palette = colours.quantize(256)
        few = colours.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        few.save(file, optimize=True)


if __name__ == "__main__":
    cli(main)
