"""Pieces of the page that gradio does not have: HTML for its `HTML` component, all text escaped.

A value replaces the one before by its differences, so that pictures change in place and a divider
that was dragged stays where it is.
"""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emojax import UserError
from emojax.page import pictures

SPLIT = """
element.addEventListener('input', event => {
  if (event.target.matches('.ex-split'))
    element.style.setProperty('--split', event.target.value + '%');
});
"""
"""Script of a component with `compare` in it: the divider follows its invisible slider."""

CHOOSE = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('select', {index: Number(button.dataset.index)});
});
"""
"""Script of a component with `choices` in it: tells which was chosen."""

COPY = """
element.addEventListener('click', async event => {
  const button = event.target.closest('button[data-copy]');
  if (!button) return;
  const text = button.parentElement.querySelector('code').innerText;
  try { await navigator.clipboard.writeText(text); }
  catch {
    const range = document.createRange();
    range.selectNodeContents(button.parentElement.querySelector('code'));
    getSelection().removeAllRanges(); getSelection().addRange(range);
  }
  button.textContent = 'Copied'; setTimeout(() => button.textContent = 'Copy', 1500);
});
"""
"""Script of a component with `code` in it: copies, or selects where a browser forbids copying."""


def compare(before: str, after: str, labels: tuple[str, str], shape: tuple[int, int]) -> str:
    """Return two pictures over each other with a divider to drag.

    Args:
        before: address of the picture on the left.
        after: of the one on the right.
        labels: what they are.
        shape: height and width of both, for the aspect.
    """
    left, right = (html.escape(each) for each in labels)
    ratio = f"{shape[1]} / {shape[0]}"
    return (
        f'<figure class="ex-compare" style="aspect-ratio: {ratio}">'
        f'<img class="ex-after" src="{after}" alt="{right}">'
        f'<img class="ex-before" src="{before}" alt="{left}">'
        f'<span class="ex-line"></span><span class="ex-tag ex-left">{left}</span>'
        f'<span class="ex-tag ex-right">{right}</span>'
        '<input class="ex-split" type="range" min="0" max="100" value="50" '
        f'aria-label="Divider between {left} and {right}"></figure>'
    )


def bars(
    names: Sequence[str], rows: Sequence[tuple[str, np.ndarray]], *, title: str = "Emotions seen"
) -> str:
    """Return probabilities as bars, one pair (or triple) for each class.

    Args:
        names: K classes.
        rows: at most three labels with probabilities [K]; what follows them is not shown.
        title: heading.
    """
    keys = "".join(
        f'<span class="ex-key ex-{number}">{html.escape(label)}</span>'
        for number, (label, _) in enumerate(rows)
    )
    strongest = [int(np.argmax(values[: len(names)])) for _, values in rows]
    lines = []
    for index, name in enumerate(names):
        tracks = "".join(
            f'<span class="ex-track"><span class="ex-bar ex-{number}" '
            f'style="width: {100 * float(values[index]):.1f}%"></span></span>'
            for number, (_, values) in enumerate(rows)
        )
        numbers = "".join(
            f'<span class="{"ex-top" if strongest[number] == index else "ex-low"}">'
            f"{100 * float(values[index]):.0f}</span>"
            for number, (_, values) in enumerate(rows)
        )
        lines.append(
            f'<div class="ex-row"><span class="ex-name">{html.escape(name)}</span>'
            f'<span class="ex-tracks">{tracks}</span>'
            f'<span class="ex-numbers">{numbers}</span></div>'
        )
    return (
        f'<section class="ex-bars"><header><h3>{html.escape(title)}, %</h3>{keys}</header>'
        f"{''.join(lines)}</section>"
    )


def choices(
    faces: Sequence[np.ndarray], chosen: int | None, labels: Sequence[str], hint: str
) -> str:
    """Return small faces as buttons."""
    buttons = "".join(
        f'<button type="button" data-index="{index}" aria-pressed="{str(index == chosen).lower()}">'
        f'<img src="{pictures.data_url(face, 256)}" alt="{html.escape(label)}">'
        f"<span>{html.escape(label)}</span></button>"
        for index, (face, label) in enumerate(zip(faces, labels, strict=True))
    )
    return f'<div class="ex-choices"><p>{html.escape(hint)}</p><div>{buttons}</div></div>'


def gallery(faces: Sequence[np.ndarray], labels: Sequence[str]) -> str:
    """Return small faces with their labels in a row."""
    shown = "".join(
        f'<figure><img src="{pictures.data_url(face, 256)}" alt="{html.escape(label)}">'
        f"<figcaption>{html.escape(label)}</figcaption></figure>"
        for face, label in zip(faces, labels, strict=True)
    )
    return f'<div class="ex-gallery">{shown}</div>'


def code(text: str) -> str:
    """Return a text to copy."""
    return (
        f'<div class="ex-code"><pre><code>{html.escape(text)}</code></pre>'
        '<button type="button" data-copy>Copy</button></div>'
    )


def note(text: str, *, kind: str = "info") -> str:
    """Return a sentence in a box; `kind` is "info" or "problem"; no text: nothing."""
    if not text:
        return ""
    return f'<p class="ex-note ex-{kind}" role="status">{html.escape(text)}</p>'


def by_name(text: str, *paths: object) -> str:
    """Return a text with the names of files and bundles in the place of their paths.

    Visitors need not know how this machine's folders are called.

    Args:
        text: plain.
        paths: that may be in it; None is left out, and so is a name without a folder.
    """
    for path in map(str, filter(None, paths)):
        if "/" in path or "\\" in path:
            text = text.replace(path, Path(path).name)
    return text


def problem(error: UserError, file: str | None) -> str:
    """Return what was wrong with a file as a sentence in a box, with its name for its path."""
    name = Path(file or "").name
    text = by_name(str(error), file)
    is_about_file = bool(name) and text.startswith(name)
    return note(text if is_about_file else text[:1].upper() + text[1:], kind="problem")


def film(address: str) -> str:
    """Return a film."""
    return f'<img class="ex-film" src="{address}" alt="Film of the way there and back">'


def nothing(text: str) -> str:
    """Return what stands in the place of a picture before there is one."""
    return f'<div class="ex-empty"><p>{html.escape(text)}</p></div>'
