"""The losses that make the generator's pictures sharp."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from emojax.demo.training import adversary
from emojax.demo.training.discriminator import Discriminator, halved, wavelets
from emojax.models.efficientnet import EmotionConfig, EmotionNet
from emojax.training import feature_losses

WIDTHS = (8, 8, 8)


class Student(nnx.Module):
    """Pictures that are one parameter."""

    def __init__(self, pictures):
        self.pictures = nnx.Param(pictures)


@pytest.fixture(scope="module")
def features():
    return EmotionNet(EmotionConfig(width=0.1, depth=0.1, size=16), rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def pictures():
    return jax.random.uniform(jax.random.key(1), (4, 16, 16, 3), minval=-1)


def test_equal_pictures_have_no_distance(features, pictures):
    for measure in (feature_losses.distance, feature_losses.identity):
        run = jax.jit(measure)
        assert float(run(features, pictures, pictures)) == pytest.approx(0, abs=1e-5)
        assert float(run(features, pictures, -pictures)) > 1e-3


def test_blur_lowers_the_gradient_energy(pictures):
    soft = halved(pictures).repeat(2, 1).repeat(2, 2)
    assert feature_losses.edges(soft) < 0.5 * feature_losses.edges(pictures)
    ramp = jnp.broadcast_to(jnp.arange(4.0)[None, :, None, None], (1, 4, 4, 3))
    assert float(feature_losses.edges(ramp)) == 1.0


def test_a_shifted_edge_is_as_sharp_and_a_blurred_one_is_not():
    def edge(*columns):
        return jnp.broadcast_to(jnp.array(columns)[None, None, :, None], (1, 8, 8, 3))

    sharp, shifted = edge(0, 0, 0, 0, 1, 1, 1, 1.0), edge(0, 0, 0, 0, 0, 1, 1, 1.0)
    blurred = edge(0, 0, 0, 0.33, 0.67, 1, 1, 1.0)
    assert jnp.square(blurred - sharp).mean() < jnp.square(shifted - sharp).mean()
    assert float(feature_losses.softness(shifted, sharp)) == pytest.approx(0, abs=1e-9)
    assert float(feature_losses.softness(blurred, sharp)) > 1e-2
    slope = jax.grad(feature_losses.softness)(jnp.zeros((1, 8, 8, 3)), sharp)
    assert jnp.isfinite(slope).all()


def test_halving_averages_two_by_two():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(halved(x)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])


def test_wavelets_are_means_and_amplified_differences():
    mean, finer = np.full((1, 1, 2, 3), 0.5), np.zeros((1, 1, 2, 3))
    square = np.array([[1.0, 0.0], [0.0, 1.0]])  # (mean 1/2, both axes 0, diagonal 1/2)
    stripes = np.array([[1.0, 0.0], [1.0, 0.0]])  # (mean 1/2, along a row 1/2)
    x = np.concatenate([square, stripes], 1)[None, :, :, None].repeat(3, 3)
    along, across = finer.copy(), finer.copy()
    along[:, :, 1], across[:, :, 0] = 10 * 0.5, 20 * 0.5
    found = np.split(np.asarray(wavelets(jnp.asarray(x, jnp.float32))), 4, -1)
    for part, wanted in zip(found, (mean, along, finer, across), strict=True):
        np.testing.assert_allclose(part, wanted, atol=1e-6)


def test_a_score_is_of_a_patch():
    """The score at (4, 4) of 16x16 sees the 48 pixels around its own, 32 to 39, and no others."""
    model = Discriminator((4, 4, 4), rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(2), (1, 128, 128, 3))
    slope = jax.jit(jax.grad(lambda x: model(x)[0, 4, 4]))(x)
    seen = np.flatnonzero(np.abs(np.asarray(slope)).sum((0, 2, 3)))
    assert (seen.min(), seen.max()) == (12, 59)


def test_each_side_learns_from_its_own_loss(features, pictures):
    """After the ramp, the generator's loss moves pictures alone, the other the discriminator."""
    model = adversary.Adversaries(Student(pictures), WIDTHS, rngs=nnx.Rngs(0))
    graph, trained, rest = nnx.split(model, nnx.Param, ...)

    def parts(trained, seen):
        model = nnx.merge(graph, trained, rest, copy=True)
        model.seen[...] = seen
        made = model.student.pictures[...]
        total, metrics = adversary.losses(model, features, made, 0.5 * pictures)
        return jnp.stack([metrics["told"], metrics["fooled"], total])

    jacobian = jax.jit(jax.jacrev(parts))
    after = jacobian(trained, jnp.float32(1e6))

    def size(side, part):
        return sum(float(jnp.abs(leaf[part]).sum()) for leaf in jax.tree.leaves(after[side]))

    assert size("student", 0) == 0
    assert size("discriminator", 0) > 0
    assert size("student", 1) > 0
    assert size("discriminator", 1) == 0
    before = jacobian(trained, jnp.float32(0))
    moved = [jax.tree.leaves(each["student"])[0][2] for each in (before, after)]
    assert not jnp.allclose(*moved, atol=1e-9)


def test_the_discriminator_learns_to_tell_them_apart(pictures):
    model = Discriminator(WIDTHS, rngs=nnx.Rngs(0))
    graph, state = nnx.split(model)

    @jax.jit
    def told(state):
        scores = nnx.merge(graph, state)
        false, true = scores(pictures), scores(0.3 * pictures)
        return jnp.mean(jax.nn.softplus(false) + jax.nn.softplus(-true))

    slope = jax.jit(jax.grad(told))
    first = float(told(state))
    for _ in range(150):
        state = jax.tree.map(lambda a, b: a - 0.05 * jnp.sign(b), state, slope(state))
    assert float(told(state)) < 0.8 * first


def test_rates_are_those_of_each_side():
    assert adversary.rate_factor("discriminator.first.weight", lambda _: 7.0) == 2.0
    assert adversary.rate_factor("student.reading.kernel", lambda name: len(name)) == 14
