"""Sheets of cards: a face with a caption, and the classifier's scores as bars."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from emojax.report.text import INK, PAPER, SOFT, fitting, font, wrapped

BAR = (150, 170, 200)
"""RGB of a bar."""
STRONGEST = (214, 92, 62)
"""RGB of the bar of the most probable class."""
TRACK = (240, 240, 240)
"""RGB of the rest of a bar, up to 100 %."""
LINE = (215, 215, 215)
"""RGB of the line before a heading."""

_GAP = 12
_HEADING = 46


class Card(NamedTuple):
    """One face of a sheet.

    Attributes:
        label: caption above the picture.
        picture: uint8 [H,W,3]; scaled to the side of the card.
        scores: [K] probabilities, or [K + V] with as many signed values, shown as bars below the
            picture; None: no bars.
    """

    label: str
    picture: np.ndarray
    scores: np.ndarray | None = None


def sheet(
    rows: Sequence[Sequence[Card]],
    names: Sequence[str],
    *,
    signed: Sequence[str] = (),
    headings: Sequence[str] = (),
    notes: Sequence[str] = (),
    width: int = 1280,
    most: int = 420,
) -> np.ndarray:
    """Arrange rows of cards below each other.

    Args:
        rows: the cards of a row share the width equally; a row whose pictures would become larger
            than `most` is centred.
        names: K classes, which label the bars.
        signed: V more names, of scores from -1 to 1, whose bars begin in the middle.
        headings: of the rows; a row with "" belongs to the one above it, and its pictures have the
            same size. May be left out.
        notes: sentences above everything, in the colour of the strongest bar.
        width: of the sheet in pixels.
        most: largest side of a picture.

    Returns:
        uint8 [H,width,3] on white.

    Raises:
        ValueError: there are headings, but not one for each row.
    """
    if headings and len(headings) != len(rows):
        raise ValueError(f"{len(headings)} headings for {len(rows)} rows: wanted as many")
    columns, strips = _columns(rows, headings), [_note(each, width) for each in notes]
    for index, row in enumerate(rows):
        if headings and headings[index]:
            strips.append(_heading(headings[index], width))
        strips.append(_strip(row, (names, signed), width, most, columns[index]))
    whole = Image.new("RGB", (width, sum(strip.height for strip in strips)), PAPER)
    top = 0
    for strip in strips:
        whole.paste(strip, ((width - strip.width) // 2, top))
        top += strip.height
    return np.asarray(whole)


def _note(text: str, width: int) -> Image.Image:
    size = 17
    lines = wrapped(text, width - 2 * _GAP, size)
    strip = Image.new("RGB", (width, len(lines) * (size + 6) + _GAP), PAPER)
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        pen.text((_GAP, _GAP + number * (size + 6)), line, STRONGEST, font(size))
    return strip


def _heading(text: str, width: int) -> Image.Image:
    strip = Image.new("RGB", (width, _HEADING), PAPER)
    pen = ImageDraw.Draw(strip)
    pen.line((_GAP, 6, width - _GAP, 6), LINE, 1)
    letters = fitting(text, width - 2 * _GAP, 20)
    pen.text((_GAP, _HEADING / 2 + 6), text, SOFT, letters, anchor="lm")
    return strip


def _columns(rows: Sequence[Sequence[Card]], headings: Sequence[str]) -> list[int]:
    """Return for each row the largest number of cards of the rows under its heading."""
    if not headings:
        return [len(row) for row in rows]
    starts = [index for index, heading in enumerate(headings) if heading or index == 0]
    most = {}
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        most |= dict.fromkeys(range(start, end), max(map(len, rows[start:end])))
    return [most[index] for index in range(len(rows))]


def _strip(
    cards: Sequence[Card],
    names: tuple[Sequence[str], Sequence[str]],
    width: int,
    most: int,
    columns: int,
) -> Image.Image:
    """Return one row of cards, each a `columns`-th of the width; names: classes, and signed."""
    side = min((width - _GAP) // columns - _GAP, most)
    line = min(max(side // 13, 10), 19)
    caption = 2 * line
    lines = max((len(card.scores) for card in cards if card.scores is not None), default=0)
    height = caption + side + (_GAP // 2 + line * lines if lines else 0) + _GAP
    strip = Image.new("RGB", (_GAP + columns * (side + _GAP), height), PAPER)
    pen = ImageDraw.Draw(strip)
    for index, card in enumerate(cards):
        left = _GAP + index * (side + _GAP)
        middle = (left + side / 2, caption / 2)
        pen.text(middle, card.label, INK, fitting(card.label, side, line + 2), anchor="mm")
        picture = Image.fromarray(card.picture).resize((side, side), Image.Resampling.BICUBIC)
        strip.paste(picture, (left, caption))
        if card.scores is not None:
            _bars(pen, card.scores, names, (left, caption + side + _GAP // 2), side, line)
    return strip


def _bars(
    pen: ImageDraw.ImageDraw,
    values: np.ndarray,
    names: tuple[Sequence[str], Sequence[str]],
    corner: tuple[int, int],
    side: int,
    line: int,
) -> None:
    """Draw a bar for each class with its name and per cent, and for each signed score.

    That of the most probable class has another colour.
    """
    left, top = corner
    letters = font(max(line - 3, 9))
    (classes, signed), count = names, len(names[0])
    column = round(max(letters.getlength(name) for name in (*classes, *signed))) + 6
    number = round(letters.getlength("100 %")) + 4
    room = max(side - column - number, 1)
    shown = [*classes, *signed[: len(values) - count]]
    for index, (name, value) in enumerate(zip(shown, values, strict=True)):
        y, is_signed = top + index * line, index >= count
        is_strongest = index == int(np.argmax(values[:count]))
        ink = INK if is_strongest else SOFT
        pen.text((left, y + line / 2), name, ink, letters, anchor="lm")
        edges = (left + column, y + 2, left + column + room, y + line - 2)
        pen.rectangle(edges, TRACK)
        start = edges[0] + room // 2 if is_signed else edges[0]
        full = round(room * float(np.clip(value, -1, 1)) / (2 if is_signed else 1))
        if full:
            colour = STRONGEST if is_strongest else BAR
            ends = sorted((start, start + full))
            pen.rectangle((ends[0], edges[1], ends[1], edges[3]), colour)
        said = f"{value:+.2f}" if is_signed else f"{100 * value:.0f} %"
        pen.text((left + side, y + line / 2), said, ink, letters, anchor="rm")
