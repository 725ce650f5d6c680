"""The way back of the alignment."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from emojax.faces import align, face_mask
from emojax.faces.paste import paste, paste_change
from emojax.faces.smoothing import blurred


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


def drawn_face(mouth, side=128):
    """A plain face with a dark mouth of some height, as a generator would draw it."""
    face = np.full((side, side, 3), 170, np.uint8)
    face[int(0.7 * side) : int((0.72 + mouth) * side), int(0.4 * side) : int(0.6 * side)] = 60
    return face


def grainy_photo(seed=1):
    """A photograph with the face of `drawn_face(0)` in other colours, and grain."""
    rng = np.random.default_rng(seed)
    photo = np.full((200, 220, 3), [90, 120, 150], float)
    photo[36:164, 46:174] = drawn_face(0.0) * [1.1, 0.9, 0.8]
    return np.uint8((photo + rng.normal(0, 4, photo.shape)).clip(0, 255))


QUAD = square((110, 100), 128, 0.0) - 0.5
"""Where `grainy_photo` has its face."""


def test_a_change_of_nothing_leaves_every_pixel():
    photo = grainy_photo()
    same = paste_change(photo, drawn_face(0.0), drawn_face(0.0), QUAD)
    np.testing.assert_array_equal(same, photo)


def test_a_change_keeps_background_colours_and_grain():
    photo = grainy_photo()
    pasted = paste_change(photo, drawn_face(0.1), drawn_face(0.0), QUAD)
    changed = (pasted != photo).any(-1)
    rows, columns = np.nonzero(changed)
    assert 100 < rows.min() < rows.max() < 150  # the mouth, in a photograph of 200 rows
    assert 75 < columns.min() < columns.max() < 145
    mouth = pasted[128:138, 100:120].astype(float)
    wanted = 60 * np.array([1.1, 0.9, 0.8])
    # the tone of the photograph round the mouth, whose contrast the drawing does not know
    np.testing.assert_allclose(mouth.mean((0, 1)), wanted, atol=30)
    assert mouth.std((0, 1)).min() > 2  # grain has a deviation of 4, what exceeds 1.5 of it is cut
    # the whole crop takes the colours of the drawing, and no grain
    crop = paste(photo, drawn_face(0.1), QUAD, size=128)
    assert np.abs(crop[60:100, 90:130].astype(float).mean((0, 1)) - 170).max() < 1
    assert crop[60:100, 90:130].std((0, 1)).max() < 1


def test_an_old_expression_leaves_no_ghost():
    """The photograph's mouth is larger than the reconstruction's, as encoders draw it."""
    photo = np.full((200, 220, 3), 170, np.uint8)
    photo[36:164, 46:174] = drawn_face(0.12)
    pasted = paste_change(photo, drawn_face(-0.02), drawn_face(0.08), QUAD)
    added = photo.astype(float)
    added[36:164, 46:174] += drawn_face(-0.02).astype(float) - drawn_face(0.08)
    # adding the change alone leaves the part of the mouth that was not drawn, as dark as it was
    ghosts = [170 - each[126:145, 90:130].astype(float).min() for each in (added, pasted)]
    assert ghosts[0] == 110
    assert ghosts[1] < 0.6 * ghosts[0]


def test_the_face_is_inside_the_hull_of_its_landmarks():
    five = face_mask.FFHQ_POINTS * 100
    jaw = [(20 + 60 * t, 55 + 40 * np.sin(np.pi * t)) for t in np.linspace(0, 1, 17)]
    many = np.full((68, 2), five.mean(0))
    many[:17] = jaw
    many[36:42], many[42:48], many[48], many[54] = five[0], five[1], five[3], five[4]
    masks = [face_mask.filled(face_mask.outline(each), (100, 100), 1.0) for each in (five, many)]
    for mask in masks:
        assert mask[70, 50] > 0.99  # between nose and mouth
        assert mask[25, 50] > 0.9  # the forehead
        assert mask[:, [2, 97]].max() < 0.01
        assert mask[[2, 99]].max() < 0.01
    assert masks[1][90, 50] > masks[1][97, 50]
    profile = five.copy()
    profile[:2, 0] = 48, 52  # both eyes seen from the side
    assert (
        face_mask.filled(face_mask.outline(profile), (100, 100), 1.0).sum() > 0.6 * masks[0].sum()
    )


def test_faces_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="wanted one shape"):
        paste_change(grainy_photo(), drawn_face(0, 64), drawn_face(0, 128), QUAD)


@pytest.mark.parametrize("deviation", [2.0, 9.0, 31.0])
def test_wide_blurs_of_smaller_pictures_are_those_of_the_whole(deviation):
    values = np.random.default_rng(0).uniform(0, 20, (203, 151, 3)).astype(np.float32)
    values[60:, 40:90] += 200
    exact = ndimage.gaussian_filter(values, (deviation, deviation, 0), mode="nearest")
    # of a range of 220; a repeated border begins with a block's mean, not with a pixel
    np.testing.assert_allclose(blurred(values, deviation), exact, rtol=0, atol=8)
    middle = (slice(70, -70), slice(40, -40))
    np.testing.assert_allclose(blurred(values, deviation)[middle], exact[middle], rtol=0, atol=3)


@pytest.mark.slow
def test_a_face_that_fills_a_large_photograph_takes_bounded_memory(tmp_path):
    lines = """
import resource, numpy as np
from emojax.faces.paste import paste_change
photo = np.random.default_rng(0).integers(0, 256, (4000, 6000, 3), dtype=np.uint8)
face = np.full((1024, 1024, 3), 120, np.uint8)
other = face.copy(); other[700:800, 400:600] = 30
quad = np.array([[1000, 50], [1000, 3950], [4900, 3950], [4900, 50]], float)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pasted = paste_change(photo, other, face, quad)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, (pasted != photo).any())
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""
    said = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, check=True
    ).stdout.split()
    assert said[1] == "True"
    assert int(said[0]) < 1_600_000  # kilobytes, of a region of 15 million pixels
    assert float(said[2]) < 60  # seconds of processor time
