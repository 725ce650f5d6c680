"""A face's motion between two frames, found from their pictures."""

import numpy as np
import pytest
from scipy import ndimage

from emojax.demo import scene
from emojax.film.motion import earlier

SCENE = scene.Scene(person=13, width=160, height=120, zoom=0.8)
FACE = np.array([[60, 50], [100, 50], [80, 66], [66, 84], [94, 84.0]])


@pytest.fixture(scope="module")
def picture():
    (frame,) = scene.pictures(SCENE, 1)
    return frame.astype(np.float32).mean(-1)


@pytest.mark.parametrize("shift", [(0, 0), (1.3, 0), (0, -2.6), (-6, 4)])
def test_a_shift_is_found(picture, shift):
    after = ndimage.shift(picture, shift[::-1], order=1, mode="nearest")
    after = 0.8 * after + 12  # the light changes
    found = FACE + shift - earlier(picture, after, FACE + shift)
    # a fraction of a pixel; the shifted picture is interpolated
    np.testing.assert_allclose(found, np.broadcast_to(shift, (5, 2)), rtol=0, atol=0.1)


def test_a_turn_and_another_size_are_found(picture):
    turned = 1.03 * np.exp(0.05j)
    centre = 80 + 66j

    def moved(points):
        places = centre + turned * (points @ [1, 1j] - centre)
        return np.stack([places.real, places.imag], -1)

    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    source = centre + (x + 1j * y - centre) / turned
    after = ndimage.map_coordinates(picture, [source.imag, source.real], order=1, mode="nearest")
    np.testing.assert_allclose(earlier(picture, after, moved(FACE)), FACE, rtol=0, atol=0.3)


def test_pictures_with_nothing_in_common_say_nothing(picture):
    other = np.random.default_rng(0).normal(120, 40, picture.shape).astype(np.float32)
    assert np.isnan(earlier(other, picture, FACE)).all()
    assert np.isnan(earlier(picture, picture, FACE - 500)).all()
    assert np.isnan(earlier(picture, picture, 80 + 0.05 * (FACE - 80))).all()  # too small
