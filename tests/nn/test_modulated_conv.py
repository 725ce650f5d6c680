"""The up-convolution's forms against each other."""

import jax.numpy as jnp
import numpy as np
import pytest

from emojax.nn import modulated_conv


@pytest.mark.parametrize("height", [4, 5])
def test_every_form_of_the_up_convolution_gives_the_same(height):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, height, 6, 3)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((3, 3, 3, 4)), jnp.float32)
    wanted = modulated_conv._up_by_phases(x, kernel)
    np.testing.assert_allclose(modulated_conv._up_folded(x, kernel), wanted, rtol=1e-5, atol=1e-5)
    half = modulated_conv.up_conv(x.astype(jnp.bfloat16), kernel)
    np.testing.assert_allclose(half, wanted, rtol=0, atol=0.05 * float(jnp.abs(wanted).max()))
