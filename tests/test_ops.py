"""Gradients of the convolution: its own on a CPU, the library's elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax import ops


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [((3, 3), 1, 1), ((1, 2), 1, 1), ((3, 3), 2, 1), ((2, 2), 2, 0), ((1, 1), 1, 0)],
)
def test_gradients_of_a_convolution_are_the_librarys(size, stride, padding):
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = (
        jax.random.normal(key, shape)
        for key, shape in zip(keys, [(2, 7, 6, 3), (*size, 3, 4)], strict=False)
    )

    def library(x, kernel):
        pads = ((padding, padding), (padding, padding))
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def ours(x, kernel):
        return ops.conv(x, kernel, stride=stride, padding=padding)

    weights = jax.random.normal(keys[2], jax.eval_shape(ours, x, kernel).shape)
    gradients = [
        jax.jit(jax.grad(lambda x, k, f=f: jnp.sum(weights * f(x, k)), (0, 1)))(x, kernel)
        for f in (ours, library)
    ]
    for mine, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
