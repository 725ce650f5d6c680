"""The way back of the alignment."""

import numpy as np
import pytest
from scipy import ndimage

from emojax.faces import align
from emojax.faces.paste import paste


def smooth(height, width, seed=0):
    """A photograph without the finest detail, so that sampling it twice loses little."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3))
    blurred = ndimage.gaussian_filter(noise, (5, 5, 0), mode="nearest")
    spread = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    return np.uint8(np.rint(spread * 255))


def square(centre, side, angle):
    """A quad as `align.quad_of` gives them."""
    x = np.array([np.cos(angle), np.sin(angle)]) * side / 2
    y = np.array([-x[1], x[0]])
    corners = [-x - y, -x + y, x + y, x - y]
    return np.asarray(centre, float) + np.stack(corners)


@pytest.mark.parametrize(
    ("side", "angle", "size", "limit"),
    [
        (150, 0.0, 256, 0.2),
        (150, 0.4, 256, 0.2),  # the crop is larger than the face
        (220, -0.7, 100, 0.45),  # smaller
        (280, 0.2, 64, 0.9),  # so small that the alignment shrinks the photograph first
    ],
)
def test_a_face_goes_back_where_it_came_from(side, angle, size, limit):
    photo = smooth(300, 400)
    quad = square((210, 140), side, angle)
    face = align.crop(photo, quad, size)

    def error(shift):
        again = paste(photo, face, quad + np.array(shift), size=size, feather=0.1)
        return np.abs(again.astype(float) - photo).mean()

    assert error((0, 0)) < limit
    # half a pixel in any direction is seen
    assert all(error(s) > 1.1 * error((0, 0)) for s in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)))


def test_only_the_inside_changes_and_softly():
    photo = np.full((200, 200, 3), 50, np.uint8)
    quad = square((100, 100), 80, 0.0)
    pasted = paste(photo, np.full((32, 32, 3), 250, np.uint8), quad, size=32, feather=0.25)
    row = pasted[100, :, 0].astype(int)
    np.testing.assert_array_equal(row[:60], 50)
    np.testing.assert_array_equal(row[141:], 50)
    np.testing.assert_array_equal(row[82:118], 250)
    ramp = np.diff(row[60:82])
    assert (ramp >= 0).all()
    assert ramp.max() < 30  # no edge
    assert (photo == 50).all()  # the photograph given is left alone


def test_a_face_that_leaves_the_photograph_is_cut():
    photo = smooth(120, 160)
    quad = square((10, 100), 100, 0.3)
    again = paste(photo, align.crop(photo, quad, 128), quad, size=128)
    assert again.shape == photo.shape
    assert np.abs(again.astype(int) - photo).mean() < 1
    far = paste(photo, np.zeros((8, 8, 3), np.uint8), quad + 500, size=8)
    np.testing.assert_array_equal(far, photo)


def test_a_feather_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"feather is 0\.6, wanted above 0 and at most 0\.5"):
        paste(
            np.zeros((9, 9, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), np.eye(4, 2), feather=0.6
        )
