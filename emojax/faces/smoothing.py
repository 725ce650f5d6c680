"""Smooth ramps, and Gaussian blur of photographs that takes no longer the wider it is."""

import numpy as np
from PIL import Image

_FINEST = 4.0
"""Deviation in pixels of the kernel applied; wider ones are applied to a smaller picture."""


def smoothstep(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Map values to 0 below the first end, 1 above the second, and a smooth ramp between."""
    share = np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)
    return share * share * (3 - 2 * share)


def blurred(values: np.ndarray, deviation: float) -> np.ndarray:
    """Blur [h,w] or [h,w,C] float32 along its first two axes; borders are repeated.

    Args:
        values: any range.
        deviation: standard deviation of the Gaussian in pixels.
    """
    from scipy import ndimage  # late: it takes a while, and only pasting needs it

    step = int(deviation / _FINEST)
    if step < 2:
        sigma = (deviation, deviation, 0)[: values.ndim]
        return ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3)
    if values.ndim == 3:
        planes = [blurred(values[..., i], deviation) for i in range(values.shape[-1])]
        return np.stack(planes, -1)
    height, width = values.shape
    small = Image.fromarray(np.asarray(values, np.float32)).reduce(step)
    smooth = ndimage.gaussian_filter(np.asarray(small), deviation / step, mode="nearest")
    larger = Image.fromarray(smooth).resize(
        (width, height), Image.Resampling.BILINEAR, box=(0, 0, width / step, height / step)
    )
    return np.asarray(larger)
