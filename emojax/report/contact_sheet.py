"""Contact sheets: captioned pictures in a grid."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from emojax.report.text import INK, PAPER, fitting

SMALLEST = 128
"""Least side of a cell in pixels; captions of smaller ones cannot be read."""


def grid(
    pictures: Sequence[np.ndarray], labels: Sequence[str], *, columns: int, side: int = 256
) -> np.ndarray:
    """Arrange captioned pictures in rows.

    Args:
        pictures: uint8 [H, W, 3], any sizes. Those larger than a cell are reduced to fit; smaller
            ones are enlarged by the largest whole factor that fits, with sharp pixels.
        labels: a caption below each picture.
        columns: pictures a row.
        side: pixels of a cell, at least `SMALLEST`.

    Returns:
        uint8 [H', W', 3] on white.
    """
    side = max(side, SMALLEST)
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
        letters = fitting(label, side, max(10, side // 14))
        pen.text((x + side / 2, y + side + caption / 2), label, INK, letters, anchor="mm")
    return np.asarray(sheet)


def _fitted(picture: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(picture)
    times = side // max(image.size)
    if times > 1:
        return image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image
