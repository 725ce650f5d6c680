"""Photographs of drawn people that show more than a face: results go back into them."""

import numpy as np
import pytest

from emojax import load
from emojax.demo import wide_photos

IDS, SIDE, SEED = range(8), 128, 1_000_003


@pytest.fixture(scope="module")
def pipe():
    return load("demo", batch=8)


@pytest.fixture(scope="module")
def photos():
    return wide_photos.take(IDS, SIDE, SEED)


def test_the_face_is_where_the_quad_says(photos):
    """Another expression changes the inside of the square, and the neck at its lower edge."""
    assert photos.photos.shape == (8, SIDE, SIDE, 3)
    sides = np.hypot(*(photos.quads[:, 3] - photos.quads[:, 0]).T)
    np.testing.assert_allclose(sides, SIDE / 2, rtol=1e-5)
    happy = wide_photos.take(IDS, SIDE, SEED, emotion="happiness")
    inside = []
    for before, after, quad in zip(photos.photos, happy.photos, photos.quads, strict=True):
        changed = np.argwhere(np.abs(before.astype(int) - after).max(-1) > 40)[:, ::-1]
        inside += ((changed > quad.min(0)) & (changed < quad.max(0))).all(-1).tolist()
    assert len(inside) > 500
    assert np.mean(inside) > 0.9


def test_drawn_photographs_are_inside_of_the_demos_world(pipe, photos):
    assert pipe.invert(*photos.portraits()).doubts == []


def test_pasting_the_change_keeps_the_photograph(pipe, photos):
    wanted = wide_photos.take(IDS, SIDE, SEED, emotion="happiness").photos
    sources = pipe.invert(*photos.portraits())
    results = pipe.transfer(sources, pipe.sample_photo("target"), normaliser="subspace")

    def quality(form):
        error = np.square(np.stack(results.paste(form)).astype(float) - wanted).mean((1, 2, 3))
        return (10 * np.log10(255**2 / error)).mean()

    assert quality("change") > quality("crop") + 3
    changed = np.stack(results.paste()) != photos.photos
    assert 0.001 < changed.any(-1).mean() < 0.1
