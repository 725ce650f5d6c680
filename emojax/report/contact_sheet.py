"""Labelled sheets of pictures, for people to look at."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK, PAPER = (40, 40, 40), (255, 255, 255)
SMALLEST = 128
"""Least side of a cell in pixels: below, captions cannot be read."""


def grid(
    pictures: Sequence[np.ndarray], labels: Sequence[str], *, columns: int, side: int = 256
) -> np.ndarray:
    """Lay out captioned pictures row by row.

    Args:
        pictures: uint8 [H, W, 3], any sizes; larger ones are fitted into side x side, and of
            smaller ones every pixel becomes a square of as many as have room.
        labels: a caption below each picture.
        columns: pictures a row.
        side: pixels of a cell, at least `SMALLEST`.

    Returns:
        uint8 [H', W', 3] on white.
    """
    side = max(side, SMALLEST)
    font = ImageFont.load_default(size=max(10, side // 14))
    gap, caption = max(4, side // 32), max(16, side // 9)
    rows = -(-len(pictures) // columns)
    size = (gap + min(columns, len(pictures)) * (side + gap), gap + rows * (side + caption + gap))
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        row, column = divmod(index, columns)
        x, y = gap + column * (side + gap), gap + row * (side + caption + gap)
        image = _fitted(picture, side)
        sheet.paste(image, (x + (side - image.width) // 2, y + (side - image.height) // 2))
        pen.text((x + side / 2, y + side + caption / 2), label, INK, font, anchor="mm")
    return np.asarray(sheet)


def _fitted(picture: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(picture)
    times = side // max(image.size)
    if times > 1:
        return image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image
