"""Sheets of faces with what the classifier says of each: a picture, a caption, and bars."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from emojax.report.contact_sheet import INK, PAPER

BAR, STRONGEST, TRACK = (150, 170, 200), (214, 92, 62), (240, 240, 240)


class Card(NamedTuple):
    """One picture of a sheet.

    Attributes:
        label: stands above it.
        picture: uint8 [H,W,3]; enlarged or shrunk to the card's side.
        probabilities: [K], drawn as bars below it; None: no bars.
    """

    label: str
    picture: np.ndarray
    probabilities: np.ndarray | None = None


def sheet(
    rows: Sequence[Sequence[Card]], names: Sequence[str], *, width: int = 1280, most: int = 420
) -> np.ndarray:
    """Lay out rows of cards one below the other.

    Args:
        rows: each fills the width with its cards, or is centred where they would become too large.
        names: K names for the bars.
        width: pixels of the sheet.
        most: largest side of a picture.

    Returns:
        uint8 [H,width,3] on white.
    """
    strips = [_strip(row, names, width, most) for row in rows]
    whole = Image.new("RGB", (width, sum(strip.height for strip in strips)), PAPER)
    top = 0
    for strip in strips:
        whole.paste(strip, ((width - strip.width) // 2, top))
        top += strip.height
    return np.asarray(whole)


def _strip(cards: Sequence[Card], names: Sequence[str], width: int, most: int) -> Image.Image:
    gap = 10
    side = min((width - gap) // len(cards) - gap, most)
    line = min(max(side // 13, 10), 18)
    caption = 2 * line
    bars = any(card.probabilities is not None for card in cards)
    height = caption + side + (gap // 2 + line * len(names) if bars else 0) + gap
    strip = Image.new("RGB", (gap + len(cards) * (side + gap), height), PAPER)
    pen = ImageDraw.Draw(strip)
    for index, card in enumerate(cards):
        left = gap + index * (side + gap)
        middle = (left + side / 2, caption / 2)
        pen.text(middle, card.label, INK, _fitting(card.label, side, line + 2), anchor="mm")
        picture = Image.fromarray(card.picture).resize((side, side), Image.Resampling.BICUBIC)
        strip.paste(picture, (left, caption))
        if card.probabilities is not None:
            _bars(pen, card.probabilities, names, (left, caption + side + gap // 2), side, line)
    return strip


def _bars(
    pen: ImageDraw.ImageDraw,
    values: np.ndarray,
    names: Sequence[str],
    corner: tuple[int, int],
    side: int,
    line: int,
) -> None:
    """Draw one bar a name, the strongest in another colour, and its per cent."""
    left, top = corner
    font = ImageFont.load_default(size=max(line - 3, 8))
    column = round(max(font.getlength(name) for name in names)) + 4
    number = round(font.getlength("100")) + 4
    room = max(side - column - number, 1)
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        y = top + index * line
        colour = STRONGEST if index == int(np.argmax(values)) else BAR
        pen.text((left, y + line / 2), name, INK, font, anchor="lm")
        edges = (left + column, y + 2, left + column + room, y + line - 2)
        pen.rectangle(edges, TRACK)
        full = round(room * float(value))
        if full:
            pen.rectangle((edges[0], edges[1], edges[0] + full, edges[3]), colour)
        pen.text((left + side, y + line / 2), f"{100 * value:.0f}", INK, font, anchor="rm")


def _fitting(text: str, width: int, size: int) -> ImageFont.FreeTypeFont:
    """Return the default font as large as `size`, or as the text fits into the width."""
    while size > 8 and ImageFont.load_default(size=size).getlength(text) > width:
        size -= 1
    return ImageFont.load_default(size=size)
