"""Stages on photographs: what each row of a batch draws, and weights of classes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from emojax.training import stages
from emojax.training.stages import Course
from tests.support.pictures import noise
from tests.support.training_world import SIDE

PICTURES = np.rint(127.5 * (noise("stages", 24, SIDE) + 1)).astype(np.uint8)


def faces(step):
    """Give batches of four."""
    for number in itertools.count(step):
        places = (4 * number + np.arange(4)) % len(PICTURES)
        yield places, PICTURES[places]


def test_pictures_are_mirrored_by_their_number():
    numbers = jnp.arange(64, dtype=jnp.uint32)
    pictures = jnp.asarray(np.resize(PICTURES, (64, SIDE, SIDE, 3)))
    found = stages.mirrored(jax.random.key(0), numbers, pictures)
    plain = (np.asarray(pictures) / 255 - 0.5) / 0.5
    same = np.isclose(found, plain, atol=1e-6).all((1, 2, 3))
    turned = np.isclose(found, plain[:, :, ::-1], atol=1e-6).all((1, 2, 3))
    assert (same ^ turned).all()
    assert 16 < turned.sum() < 48
    again = stages.mirrored(jax.random.key(0), numbers[5:9], pictures[5:9])
    np.testing.assert_array_equal(again, found[5:9])


def test_classes_count_alike():
    weights = stages.class_weights(np.array([0] * 6 + [2] * 2), 4)
    np.testing.assert_allclose(weights, [8 / 12, 0, 2, 0])
    assert weights.dtype == np.float32


def test_a_course_gives_every_row_its_number():
    course = Course("psp", faces, 4, 10, 1e-3, 0.0, seed=0, made=2)
    rows = course.rows(3)
    first, second = next(rows), next(rows)
    assert first.real.tolist() == [12, 13, 14, 15]
    assert first.made.tolist() == [6, 7]
    assert second.step.tolist() == [4] * 4
