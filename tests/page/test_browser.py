"""The page driven in Chromium as a visitor would: no console error, no request to elsewhere."""

import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from emojax.faces import images
from tests.page.conftest import ROOT
from tests.support.pictures import packaged

pytestmark = pytest.mark.browser
SAMPLES = ROOT / "checkpoints" / "demo" / "samples"
COPY_AN_EXAMPLE = """
async () => {
  const canvas = document.createElement('canvas'), image = new Image();
  image.src = document.querySelector('#edit-examples img').src;
  await image.decode();
  canvas.width = canvas.height = 400;
  canvas.getContext('2d').drawImage(image, 0, 0, 400, 400);
  const blob = await new Promise(done => canvas.toBlob(done, 'image/png'));
  await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
}
"""


def drawn(page, stage):
    return page.eval_on_selector(f"#{stage}-stage .ex-after", "image => image.src")


def per_cent(page, place, name, column=1):
    """Return what the bars of a tab say of an emotion."""
    row = page.locator(f"#{place}-bars .ex-row", has_text=name)
    return int(row.locator(".ex-numbers span").nth(column).inner_text())


def move(page, name, value):
    before = drawn(page, "edit")
    page.locator(f"#edit-{name} input[type=range]").fill(str(value))
    page.wait_for_function(
        "before => document.querySelector('#edit-stage .ex-after').src !== before", arg=before
    )


def settle(page, place, name, test):
    """Wait until the bars say what is expected: the last of several moves may still be drawn."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if test(per_cent(page, place, name)):
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} is {per_cent(page, place, name)} %")


def downloaded(page, name):
    """Return what a list of files gives when each is clicked, by name."""
    page.wait_for_selector(f"#{name} a[download]")
    links, files = page.locator(f"#{name} a[download]"), {}
    for number in range(links.count()):
        with page.expect_download() as waiting:
            links.nth(number).click()
        files[waiting.value.suggested_filename] = waiting.value.path()
    return files


def test_a_slider_changes_the_face_and_what_is_seen_in_it(visit):
    page = visit()
    assert per_cent(page, "edit", "happiness") < 20
    move(page, "happiness", 100)
    settle(page, "edit", "happiness", lambda seen: seen > 50)
    page.get_by_role("button", name="Show me the command").locator("visible=true").click()
    said = page.locator("#edit-command code").inner_text()
    assert said == "emojax edit source.png --emotion happiness --k=3.75"
    assert "pipe.edit(me, happiness=3.75)" in page.locator("#edit-python code").inner_text()
    page.locator("#edit-to-start").click()
    settle(page, "edit", "happiness", lambda seen: seen < 20)
    page.locator("#edit-happiness input[type=range]").focus()
    page.keyboard.press("ArrowRight")  # everything is reachable by keyboard
    page.wait_for_function(
        "document.querySelector('#edit-command code')?.innerText.includes('--k=')"
    )


def test_neutral_takes_the_expression_away(visit):
    page = visit()
    page.locator("#edit-examples button").nth(1).click()
    settle(page, "edit", "happiness", lambda seen: seen > 50)
    page.locator("#edit-to-neutral").click()
    settle(page, "edit", "happiness", lambda seen: seen < 50)
    assert float(page.locator("#edit-neutral input[type=range]").input_value()) > 0


def test_an_unusable_photograph_gets_a_sentence(visit, tmp_path):
    page = visit()
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    images.write(tmp_path / "noise.png", noise)
    (tmp_path / "text.png").write_text("no picture")
    for name, sentence in (("noise.png", "no face"), ("text.png", "not a picture")):
        page.locator("#edit-photo input[type=file]").set_input_files(tmp_path / name)
        page.wait_for_function(
            "s => document.querySelector('#edit-note').innerText.toLowerCase().includes(s)",
            arg=sentence,
        )
        page.get_by_label("Remove Image").locator("visible=true").click()
        page.wait_for_selector("#edit-note .ex-note", state="detached")


def test_downloads_reproduce_what_is_shown(visit, tmp_path):
    page = visit()
    move(page, "surprise", 60)
    page.locator("#edit-downloads").click()
    files = downloaded(page, "edit-files")
    assert set(files) == {"face.png", "photograph.png", "codes.npz", "edit.json"}
    told = json.loads(files["edit.json"].read_text())
    assert told["k"] == {"surprise": pytest.approx(0.6 * 8.57)}
    assert told["command"] == "emojax edit source.png --emotion surprise --k=5.142"
    with Image.open(files["face.png"]) as picture:
        assert picture.size == (128, 128)


def test_a_transfer_brings_the_expression(visit):
    page = visit()
    page.get_by_role("tab", name="Transfer").click()
    choices = page.locator(".ex-choices:visible button")
    choices.nth(0).click()
    page.wait_for_selector("#transfer-source img")
    choices.nth(3).click()
    page.wait_for_selector("#transfer-stage .ex-compare")
    assert per_cent(page, "transfer", "happiness") > 50
    alpha = page.locator("#transfer-alpha input[type=range]")
    alpha.fill("0")
    settle(page, "transfer", "happiness", lambda seen: seen < 50)
    page.get_by_role("button", name="The way there").click()
    page.locator("#transfer-path").click()
    page.wait_for_selector("#transfer-film img")
    assert page.locator("#transfer-strip img").count() == 6
    assert {"path.png", "path.webp"} <= set(downloaded(page, "transfer-path-files"))
    alpha.fill("0.5")
    page.locator("#transfer-downloads").click()
    files = downloaded(page, "transfer-files")
    assert set(files) == {"face.png", "photograph.png", "codes.npz", "transfer.json"}
    told = json.loads(files["transfer.json"].read_text())
    assert (told["alpha"], told["normaliser"]) == (0.5, "reinvert")
    assert set(told["predictions"]) == {"source", "target", "result"}
    page.locator("#transfer-normaliser").get_by_label("subspace:").click()
    page.get_by_role("button", name="Show me the command").locator("visible=true").click()
    page.wait_for_function(
        "document.querySelector('#transfer-command code')?.innerText.includes('subspace')"
    )


def test_a_photograph_comes_from_webcam_and_clipboard(visit):
    page = visit(permissions=["camera", "clipboard-read", "clipboard-write"])
    photo = page.locator("#edit-photo")
    photo.get_by_label("Remove Image").click()
    photo.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").locator("visible=true").click()
    page.wait_for_function(
        "[...document.querySelectorAll('#edit-photo video')].some(v => v.currentTime > 0.2)"
    )
    photo.get_by_label("capture photo").click()  # Chromium's own film, which shows no face
    page.wait_for_selector("#edit-note .ex-problem")
    assert "no face was found" in page.locator("#edit-note").inner_text().lower()
    photo.get_by_label("Remove Image").click()
    page.wait_for_selector("#edit-note .ex-note", state="detached")
    page.evaluate(COPY_AN_EXAMPLE)
    photo.get_by_label("Paste from clipboard").click()
    page.wait_for_selector("#edit-stage .ex-compare")
    assert page.locator("#edit-note .ex-problem").count() == 0
    assert page.locator("#edit-bars .ex-row").count() == 8


def open_tab(page, name):
    """Open a tab, from Gradio's menu of those that did not fit when the page was laid out."""
    playwright = pytest.importorskip("playwright.sync_api")
    try:
        page.get_by_role("tab", name=name).click(timeout=5_000)
    except playwright.TimeoutError:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=name).click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(visit, scheme):
    page = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    for tab in ("Edit", "Explore", "Video", "Transfer"):
        open_tab(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    choices = page.locator(".ex-choices:visible button")
    for number in (0, 3):  # a transfer with its stages
        choices.nth(number).click()
        page.wait_for_selector(("#transfer-source img", "#transfer-stage .ex-compare")[number // 3])
    page.get_by_role("button", name="Stages in between").click()
    page.locator("#transfer-stages img").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture = Image.open(io.BytesIO(page.screenshot())).convert("L")
    is_dark = np.median(np.asarray(picture)) < 128
    assert is_dark == (scheme == "dark")


def test_two_faces_are_offered_to_choose_from(visit, tmp_path):
    astronaut = packaged("astronaut.png")
    images.write(tmp_path / "two.png", np.hstack([astronaut, astronaut[:, ::-1]]))
    page = visit()
    page.locator("#edit-photo input[type=file]").set_input_files(tmp_path / "two.png")
    page.wait_for_selector("#edit-faces button")
    faces = page.locator("#edit-faces button")
    assert faces.count() == 2
    assert "2 faces were found" in page.locator("#edit-faces").inner_text()
    before = drawn(page, "edit")
    chosen = page.locator("#edit-faces button[aria-pressed=true]").get_attribute("data-index")
    other = 1 - int(chosen)
    faces.nth(other).click()
    page.wait_for_selector(f"#edit-faces button[data-index='{other}'][aria-pressed=true]")
    assert drawn(page, "edit") != before
    page.get_by_label("In the photograph").locator("visible=true").click()
    page.wait_for_function(
        "document.querySelector('#edit-stage .ex-compare').style.aspectRatio.startsWith('1024')"
    )
    page.get_by_role("button", name="Show me the command").locator("visible=true").click()
    page.locator("#edit-fear input[type=range]").fill("50")
    page.wait_for_function(
        "wanted => document.querySelector('#edit-command code')?.innerText.endsWith(wanted)",
        arg=f"--face {other + 1} --paste",
    )
    assert "bundle demo" in page.locator("#edit-note").inner_text()  # the honest line
    assert "/tmp" not in page.locator("#edit-note").inner_text()


def test_random_faces_are_mixed_moved_and_used_as_source(visit):
    page = visit()
    page.get_by_role("tab", name="Explore").click()
    page.wait_for_selector("#explore-row button")
    assert page.locator("#explore-row button").count() == 8
    page.locator("#explore-row button").nth(3).click()
    page.wait_for_selector("#explore-row button[data-index='3'][aria-pressed=true]")
    plain = drawn(page, "explore")
    page.locator("#explore-mixing").get_by_label("colours").click()
    page.wait_for_function(
        "before => document.querySelector('#explore-stage .ex-after').src !== before", arg=plain
    )
    page.locator("#explore-happiness input[type=range]").fill("100")
    settle(page, "explore", "happiness", lambda seen: seen > 50)
    page.locator("#explore-use").click()
    page.wait_for_selector("#edit-stage .ex-compare >> visible=true")
    page.get_by_role("button", name="Show me the command").locator("visible=true").click()
    assert "pipe.sample(3, truncation=0.7)" in page.locator("#edit-python code").inner_text()


def test_a_film_is_edited(visit, tmp_path):
    pytest.importorskip("av", reason="needs the extra video")
    film = tmp_path / "face.mp4"
    flags = ["--out", str(film), "--seconds", "0.4", "--width", "160"]
    subprocess.run(
        [sys.executable, "-m", "emojax.demo.film", *flags],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    (tmp_path / "text.mp4").write_text("no film")
    page = visit()
    page.get_by_role("tab", name="Video").click()
    for file, sentence in ((tmp_path / "text.mp4", "text.mp4"), (film, "")):
        page.locator("#film-source input[type=file]").set_input_files(file)
        page.wait_for_selector("#film-source video")
        page.locator("#film-start").click()
        if sentence:
            page.wait_for_selector("#film-note .ex-problem")
            assert sentence in page.locator("#film-note").inner_text()
            page.locator("#film-source").get_by_label("Clear").click()
    page.wait_for_selector("#film-shown video", timeout=180_000)
    assert page.locator("#film-files a[download]").count() == 2
    page.get_by_role("button", name="Show me the command").locator("visible=true").click()
    said = page.locator("#film-command code").inner_text()
    assert said == "emojax video face.mp4 --emotion happiness --k=2.625 --preview"
