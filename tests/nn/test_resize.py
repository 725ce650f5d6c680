"""The 8-bit passes of the resize: every device's form is exact."""

import jax.numpy as jnp
import numpy as np
import pytest

from emojax.nn import resize


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("axis", [2, 3])
def test_thirds_of_a_weight_are_as_exact_as_halves(kind, axis):
    levels = np.random.default_rng(0).integers(0, 256, (2, 3, 96, 80)).astype(np.float32)
    levels[0] = np.where(levels[0] < 128, 0, 255)  # the steepest edges
    fixed = np.floor(resize.weights(levels.shape[axis], 24, kind) * 2**resize.BITS + 0.5)
    fixed = fixed.astype(np.int64)
    wanted = resize._by_halves(jnp.asarray(levels), fixed, axis)
    found = resize._by_thirds(jnp.asarray(levels), fixed, axis)
    np.testing.assert_array_equal(found, wanted)
    product = np.moveaxis(np.tensordot(fixed, levels.astype(np.int64), (1, axis)), 0, axis)
    exact = np.clip((product + 2 ** (resize.BITS - 1)) >> resize.BITS, 0, 255)
    np.testing.assert_array_equal(wanted, exact)
