"""The zero-phase filter, whole and piece by piece."""

import numpy as np
import pytest

from emojax.film.smoothing import piece, smooth, window_of


def second_difference(values):
    return float(np.abs(np.diff(values, 2, axis=0)).mean())


def test_a_quadratic_movement_is_kept_and_not_delayed():
    t = np.arange(40.0)[:, None, None]
    path = np.concatenate([0.1 * t * t - t, 3 - 0.02 * t * t], -1)
    np.testing.assert_allclose(smooth(path, 11), path, rtol=0, atol=1e-9)  # float64


def test_noise_is_smoothed():
    noise = np.random.default_rng(0).standard_normal((200, 5))
    assert second_difference(smooth(noise, 11)) < second_difference(noise) / 5
    assert smooth(noise.astype(np.float32), 11).dtype == np.float32


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12])
def test_short_films_have_all_their_frames(count):
    values = np.random.default_rng(1).standard_normal((count, 2))
    assert smooth(values, 11).shape == values.shape
    assert smooth(values, 1) is values


def test_pieces_are_as_the_whole():
    values = np.random.default_rng(2).standard_normal((100, 3))
    whole = smooth(values, 11)
    for start, stop in ((0, 8), (8, 20), (40, 64), (92, 100)):
        around = piece(start, stop, len(values), 11)
        part = smooth(values[around], 11)[start - around.start :][: stop - start]
        np.testing.assert_allclose(part, whole[start:stop], rtol=0, atol=1e-12)  # float64


def test_windows_are_odd():
    assert [window_of(0.4, rate) for rate in (25, 24, 30, 60)] == [11, 11, 13, 25]
    assert window_of(0.0, 25) == 1
