"""The hypernetwork alone: shapes, the affine shortcut, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.models import hyperstyle
from emojax.models.stylegan2 import GeneratorConfig
from emojax.store import weights
from tests.support import oracles, small_world
from tests.support.pictures import noise

PUBLISHED_LAYERS = {
    1024: (0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24),
    512: (0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21),
    256: (0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18),
}
SMALL = small_world.HYPERNET


@pytest.fixture(scope="module")
def small():
    table = small_world.table(hyperstyle.Hypernet, SMALL, 3)
    return weights.load(weights.abstract(hyperstyle.Hypernet, SMALL), table)


@jax.jit
def look(hypernet, x, y):
    return hypernet(x, y)


@jax.jit
def expand(hypernet, vectors, passes):
    return hypernet.deltas(vectors, passes)


@pytest.mark.parametrize("size", [1024, 512, 256])
def test_deltas_fit_the_published_generators(size):
    generator = GeneratorConfig.published(size)
    config = hyperstyle.HypernetConfig(
        PUBLISHED_LAYERS[size], n_deltas=generator.n_deltas, channels=generator.channels
    )
    hypernet = weights.abstract(hyperstyle.Hypernet, config)
    picture = jax.ShapeDtypeStruct((2, 256, 256, 3), jnp.float32)

    def run(model, x):
        vectors = model(x, x)
        return vectors, model.deltas(vectors, 1)

    vectors, deltas = jax.eval_shape(run, hypernet, picture)
    assert vectors.shape == (2, len(config.layers), 512)
    assert len(deltas) == generator.n_deltas
    assert tuple(i for i, delta in enumerate(deltas) if delta is not None) == config.layers
    for layer in config.layers:
        taps = (3, 3) if layer <= 12 else (1, 1)
        assert deltas[layer].shape == (2, *taps, *config.kernel(layer)), layer
    if size == 1024:  # FACTS: 332,664,896 learned values, 23,583,744 delta values a picture
        flat = weights.flatten(hypernet)
        learned = {k: v for k, v in flat.items() if not k.endswith((".mean", ".var"))}
        assert weights.count(learned) == 332_664_896
        assert sum(9 * np.prod(config.kernel(layer)) for layer in config.layers) == 23_583_744


def test_summed_vectors_equal_summed_kernels(small):
    pictures = noise("input", 2, 64)
    passes = [look(small, pictures, noise(f"pass {i}", 2, 64)) for i in range(5)]
    short = expand(small, sum(passes), 5)
    each = [expand(small, vectors, 1) for vectors in passes]
    wrong = expand(small, sum(passes), 1)  # the constant part taken once for five passes
    for layer in SMALL.layers:
        explicit = sum(np.asarray(deltas[layer], np.float64) for deltas in each)
        assert oracles.rel_err(short[layer], explicit) < 1e-6  # float32 sums in another order
        assert oracles.rel_err(wrong[layer], explicit) > 1e-2


def test_one_face_needs_no_batch_axis(small):
    vectors = look(small, noise("a", 2, 64), noise("b", 2, 64))
    batched, single = expand(small, vectors, 2), expand(small, vectors[1], 2)
    for layer in SMALL.layers:
        assert single[layer].ndim == 4
        np.testing.assert_allclose(
            single[layer], batched[layer][1], rtol=1e-5, atol=1e-6
        )  # order of sums


def test_layers_that_cannot_be_refined_are_refused():
    for layers in ((1,), (0, 26), (3, 2), (2, 2)):
        wanted = r"wanted ascending indices of 3x3 convolutions \(not 1, 4, 7, \.\.\.\) below 26"
        with pytest.raises(ValueError, match=wanted):
            hyperstyle.HypernetConfig(layers)


def test_separable_layers_share_a_value_over_the_taps(small):
    deltas = expand(small, look(small, noise("a", 1, 64), noise("b", 1, 64)), 1)
    assert deltas[11].shape == (1, 1, 1, 32, 16)
    assert deltas[6].shape == (1, 3, 3, 32, 32)
    assert deltas[1] is None
