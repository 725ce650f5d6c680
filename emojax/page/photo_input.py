"""Where a visitor gives a photograph: a file, the webcam, or the clipboard."""

from typing import Any

import gradio as gr


def photo_input(label: str, height: int, elem_id: str) -> gr.Image:
    """Return gradio's input of a picture, whose file is opened by emojax alone.

    Gradio itself would open every file to look at its format, and end with an error of its own
    where the file is no picture or a decompression bomb. It has checked before that the path is
    that of an upload.

    Args:
        label: says whose photograph is asked for.
        height: in pixels.
        elem_id: identifier in the page.
    """
    made = gr.Image(
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        label=label,
        height=height,
        buttons=[],
        elem_id=elem_id,
    )
    setattr(made, "preprocess", _path)  # noqa: B010 - of this one; gradio writes stubs for subclasses
    return made


def _path(payload: Any) -> str | None:
    """Return the path of an upload."""
    return None if payload is None else payload.path
