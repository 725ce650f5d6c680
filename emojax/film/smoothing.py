"""Zero-phase smoothing over time: a Savitzky-Golay filter, which keeps the height of movements."""

import numpy as np
from scipy.signal import savgol_filter

ORDER = 2
"""Degree of the polynomial that is fitted to the frames of a window."""


def window_of(seconds: float, rate: float) -> int:
    """Return the odd number of frames that a window of some seconds holds; 1: no smoothing."""
    return 2 * round(seconds * rate / 2) + 1


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Fit a quadratic to the window round each frame and take its value there.

    Nothing is delayed: the filter is symmetric. Within half a window of either end it is the
    polynomial of the outermost window. A frame depends on those within one window of it alone, so
    a long film can be smoothed piece by piece, each with a window of frames on either side.

    Args:
        values: [T, ...] of consecutive frames.
        window: odd number of frames; as many as there are, at most.

    Returns:
        [T, ...] of the same dtype; a window of less than four frames leaves the values alone.
    """
    most = len(values) - 1 + len(values) % 2
    window = min(window, most)
    if window <= ORDER + 1:
        return values
    flat = values.reshape(len(values), -1)
    smoothed = np.asarray(savgol_filter(flat, window, ORDER, axis=0, mode="interp"))
    return smoothed.reshape(values.shape).astype(values.dtype)


def piece(start: int, stop: int, count: int, window: int) -> slice:
    """Return the frames that `smooth` wants, of `count`, for its values from start to stop."""
    return slice(max(start - window, 0), min(stop + window, count))
