"""The page's functions by Gradio's API client: the lines of docs/web.md, run as they stand."""

import subprocess
import sys

import pytest
from PIL import Image

from tests.docs.blocks import python
from tests.page.conftest import ROOT

pytest.importorskip("gradio_client", reason="the page needs the extra web")


def test_the_documented_lines_run(address, tmp_path):
    for name, copy in (("source", "me"), ("target", "friend")):
        with Image.open(ROOT / f"checkpoints/demo/samples/{name}.png") as picture:
            picture.save(tmp_path / f"{copy}.jpg", quality=95)
    lines = python(ROOT / "docs/web.md").replace("http://127.0.0.1:7860", address)
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "emojax edit me.jpg --emotion happiness,anger --k=4,-2" in done.stdout
    assert "'happiness':" in done.stdout


def test_errors_are_sentences(address, tmp_path):
    from gradio_client import Client, exceptions, handle_file

    (tmp_path / "text.png").write_text("no picture")
    page = Client(address, verbose=False)
    with pytest.raises(exceptions.AppError, match="not a picture"):
        page.predict(photo=handle_file(tmp_path / "text.png"), api_name="/emotions")
    with pytest.raises(exceptions.AppError, match="o direction 'joy'"):
        page.predict(
            photo=handle_file(ROOT / "checkpoints/demo/samples/source.png"),
            k={"joy": 1},
            api_name="/edit",
        )
