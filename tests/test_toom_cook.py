"""Seven taps by Toom-Cook against the library's convolution."""

import jax
import numpy as np
import pytest
from jax import lax

from emojax import toom_cook
from emojax.convolution import convolution

NHWC = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize("taps", [(1, 7), (7, 1)])
@pytest.mark.parametrize("size", [(17, 17), (5, 18), (2, 3)])
def test_it_is_the_same_convolution(taps: tuple[int, int], size: tuple[int, int]) -> None:
    rng = np.random.RandomState(0)
    x = rng.standard_normal((2, *size, 64)).astype(np.float32)
    kernel = rng.standard_normal((*taps, 64, 72)).astype(np.float32)
    assert toom_cook.pays(x, kernel, 1, "SAME")
    wanted = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
    for form in (toom_cook.convolve, convolution):
        error = np.linalg.norm(form(x, kernel) - wanted) / np.linalg.norm(wanted)
        assert error < 5e-6  # rounding of nine points, 2e-6 measured
    flipped = toom_cook.convolve(x, kernel[::-1, ::-1])  # a convolution proper, not a correlation
    assert np.linalg.norm(flipped - wanted) > 0.1 * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    ("taps", "channels", "stride", "padding"),
    [
        ((3, 3), 64, 1, "SAME"),
        ((1, 7), 32, 1, "SAME"),
        ((1, 7), 64, 2, "SAME"),
        ((7, 1), 64, 1, "VALID"),
    ],
)
def test_others_keep_the_librarys(taps, channels, stride, padding) -> None:
    x = jax.ShapeDtypeStruct((1, 17, 17, channels), np.float32)
    kernel = jax.ShapeDtypeStruct((*taps, channels, channels), np.float32)
    assert not toom_cook.pays(x, kernel, stride, padding)
