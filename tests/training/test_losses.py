"""Losses of pSp and HyperStyle, with the networks that a bundle has."""

import jax
import jax.numpy as jnp
import pytest

from emojax.metrics import comparison
from emojax.store import bundle
from emojax.training.losses import Critics, Weights, likeness
from tests.support import small_world


@pytest.fixture(scope="module")
def critics(tmp_path_factory):
    folder = small_world.write_comparing(tmp_path_factory.mktemp("world") / "comparing")
    return Critics.of(comparison.load(bundle.find(folder)))


def test_the_loss_is_the_weighted_sum_of_what_the_networks_see(critics):
    pictures = jax.random.uniform(jax.random.key(0), (2, 32, 32, 3), minval=-1)
    weights = Weights(2.0, 0.5, 0.25)
    run = jax.jit(lambda critics, a, b: likeness(critics, weights, a, b))
    total, seen = run(critics, -pictures, pictures)
    square = 4 * jnp.square(pictures).mean()
    assert seen["perceptual"] > 0
    assert seen["identity"] > 0
    wanted = 2 * square + 0.5 * seen["perceptual"] + 0.25 * seen["identity"]
    assert float(total) == pytest.approx(float(wanted), rel=1e-5)
    total, seen = run(critics, pictures, pictures)
    assert float(total) == pytest.approx(0, abs=1e-5)
    assert float(seen["identity"]) == pytest.approx(0, abs=1e-5)


def test_sharpness_counts_where_it_has_a_weight(critics):
    pictures = jax.random.uniform(jax.random.key(0), (2, 32, 32, 3), minval=-1)
    with_it, seen = likeness(critics, Weights(sharpness=2.0), 0.5 * pictures, pictures)
    without, _ = likeness(critics, Weights(), 0.5 * pictures, pictures)
    assert float(seen["soft"]) > 0.01
    assert float(with_it - without) == pytest.approx(2 * float(seen["soft"]), rel=1e-4)


def test_a_loss_without_its_network_is_left_out():
    pictures = jnp.zeros((2, 8, 8, 3))
    shade = jnp.linspace(0.5, 1.5, 8)[None, :, None, None] * jnp.ones((2, 8, 8, 1))
    total, seen = likeness(Critics(), Weights(), pictures + shade, pictures, shade)
    assert seen.keys() == {"psnr"}
    assert float(total) == pytest.approx(float(jnp.mean(shade**3)), rel=1e-5)
