"""Pictures on their way to the browser: small, and inside the answer itself."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

SHOWN = 640
"""Longest side of a face on the page; larger ones are shrunk before they are sent."""
WHOLE = 1280
"""Longest side of a whole photograph on the page."""
SMALL = 128
"""Side of a face to choose from."""
QUALITY = 88


def shrunk(picture: np.ndarray, longest: int) -> np.ndarray:
    """Return a picture uint8 [H,W,3] whose longer side is at most so long."""
    height, width = picture.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return picture
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def data_url(picture: np.ndarray, longest: int = SHOWN) -> str:
    """Return a picture uint8 [H,W,3] as a `data:` address: PNG where it is small, else JPEG."""
    picture = shrunk(picture, longest)
    is_small = picture.size <= 3 * 128 * 128
    stream = io.BytesIO()
    image = Image.fromarray(picture)
    if is_small:
        image.save(stream, "PNG", compress_level=1)
    else:
        image.save(stream, "JPEG", quality=QUALITY)
    kind = "png" if is_small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def film_url(pictures: Sequence[np.ndarray], *, fps: int = 12) -> str:
    """Return pictures as a film there and back, in WebP, as a `data:` address."""
    frames = [Image.fromarray(enlarged(shrunk(each, 384))) for each in pictures]
    first, *rest = [*frames, *frames[-2:0:-1]]
    stream = io.BytesIO()
    first.save(
        stream,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=1000 // fps,
        loop=0,
        quality=80,
        method=0,
    )
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def enlarged(picture: np.ndarray, least: int = 256) -> np.ndarray:
    """Return a picture whose sides are at least so long, enlarged by a whole factor."""
    factor = -(-least // min(picture.shape[:2]))
    if factor <= 1:
        return picture
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def strip(pictures: Sequence[np.ndarray], gap: int = 8) -> np.ndarray:
    """Return pictures of one size side by side on white."""
    pictures = [enlarged(each) for each in pictures]
    height, width = pictures[0].shape[:2]
    whole = np.full((height, len(pictures) * (width + gap) - gap, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        whole[:, index * (width + gap) : index * (width + gap) + width] = picture
    return whole
