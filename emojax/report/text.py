"""Colours and fonts of the sheets."""

import functools

from PIL import ImageFont

INK = (40, 40, 40)
"""RGB of text."""
SOFT = (115, 115, 120)
"""RGB of text of less importance."""
PAPER = (255, 255, 255)
"""RGB of the background."""
SMALLEST = 8
"""Least size of a font in pixels."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@functools.cache
def font(size: int) -> Font:
    """Return Pillow's own font at a size in pixels; it needs no font files of the system."""
    return ImageFont.load_default(size=size)


def fitting(text: str, width: float, size: int) -> Font:
    """Return the font at `size`, or smaller where the text would be wider than `width`."""
    while size > SMALLEST and font(size).getlength(text) > width:
        size -= 1
    return font(size)


def wrapped(text: str, width: float, size: int) -> list[str]:
    """Return the lines of a text, broken between words so that none is wider than `width`."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
