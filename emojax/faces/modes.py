"""Pillow's picture modes as 8-bit RGB: transparency, 16 bits, floats, palettes, CMYK."""

import numpy as np
from PIL import Image

from emojax.runtime.errors import UserError

DEEP_RANGES = {"I": (255, 65_535, 2**31 - 1), "F": (1, 255, 65_535)}
"""White of modes whose files do not state it: the first that no value exceeds is taken."""
OVERSHOOT = 1.1
"""Floats may exceed the white of their range by this factor, as after a bicubic resize."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a picture of any mode as RGB of 8 bits.

    Transparent pixels are composited over white. 16-bit grey is scaled by 65,535. Modes "I" and
    "F", which do not state their white, are scaled by the first of `DEEP_RANGES` that holds all
    values.
    Palettes and CMYK are converted as Pillow does, without colour profiles.

    Raises:
        UserError: numbers that are no grey levels: negative, NaN or above every known range.
        ValueError: Pillow cannot convert the mode.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep(image: Image.Image) -> Image.Image:
    """Return grey of more than 8 bits as RGB."""
    values = np.asarray(image)
    levels = values.astype(np.float32) * np.float32(255 / _white(values, image.mode))
    levels = np.rint(levels).clip(0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):  # a PNG's grey level that stands for no picture
        levels[values == transparent] = 255
    return Image.fromarray(levels).convert("RGB")


def _white(values: np.ndarray, mode: str) -> int:
    """Return the value that stands for white.

    Raises:
        UserError: the values are no grey levels.
    """
    if mode.startswith("I;16"):
        return 65_535
    ranges, slack = DEEP_RANGES[mode], OVERSHOOT if mode == "F" else 1.0
    low, high = float(values.min()), float(values.max())
    white = next((white for white in ranges if high <= slack * white), None)
    if white is not None and low >= (1 - slack) * white:
        return white
    known = ", ".join(f"0 to {white}" for white in ranges)
    raise UserError(f"its grey levels go from {low:.4g} to {high:.4g}, wanted {known}")
