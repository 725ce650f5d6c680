"""What the film tab says of an edited film."""

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra web")

from emojax.film.editing import EditedVideo
from emojax.page.film_tab import _doubts


def edited(*warnings):
    return EditedVideo(Path("out.mp4"), None, 2, 2, 25.0, [], list(warnings))


def test_a_film_the_bundle_cannot_draw_well_is_said_by_its_name():
    said = _doubts(edited("/tmp/up/a<b>.mp4 is unlike"), "/tmp/up/a<b>.mp4", None, "/tmp/x.mp4")
    assert "ex-info" in said
    assert "a&lt;b&gt;.mp4 is unlike" in said
    assert "/tmp" not in said
    assert _doubts(edited(), "/tmp/up/film.mp4") == ""
    said = _doubts(edited("whether bundle /srv/mine can draw it"), None, Path("/srv/mine"))
    assert "whether bundle mine can draw it" in said
