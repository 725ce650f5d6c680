"""Transposed convolution in phases, against one of a dilated input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.nn import output_parts, transposed_conv

KEYS = jax.random.split(jax.random.key(0), 3)
X = jax.random.normal(KEYS[0], (2, 5, 6, 3))
KERNEL = jax.random.normal(KEYS[1], (3, 3, 3, 7))
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # sums of up to 48 products


def dilated(x, kernel):
    """PyTorch's conv_transpose2d(stride=2, padding=1) by its definition."""
    return jax.lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        (1, 1),
        ((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def same(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    groups = x.shape[-1] // kernel.shape[2]
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=groups
    )


@pytest.mark.parametrize("way", ["transposed", "phases", "phases_by_taps"])
def test_phases_are_the_transposed_convolution(way):
    kernel = jax.random.normal(KEYS[2], (4, 4, 3, 7))
    found, wanted = getattr(transposed_conv, way)(X, kernel), dilated(X, kernel)
    if way != "transposed":
        found = transposed_conv.interleaved(found)
    np.testing.assert_allclose(found, wanted, **CLOSE)
    assert np.abs(found - dilated(X, kernel[::-1, ::-1])).max() > 1


def test_nearest_upsampling_and_a_convolution_are_one():
    doubled = jnp.repeat(jnp.repeat(X, 2, axis=1), 2, axis=2)
    found = transposed_conv.transposed(X, transposed_conv.nearest_kernel(KERNEL))
    np.testing.assert_allclose(found, same(doubled, KERNEL), **CLOSE)
    fused = transposed_conv.transposed(X, transposed_conv.fused_kernel(KERNEL))
    assert np.abs(found - fused).max() > 1


@pytest.mark.parametrize("outputs", [7, 2 * output_parts.PART])
def test_nearest_upsampling_in_parts_of_the_outputs(outputs):
    kernel = jax.random.normal(KEYS[2], (3, 3, 3, outputs))
    doubled = jnp.repeat(jnp.repeat(X, 2, axis=1), 2, axis=2)
    found = jax.jit(transposed_conv.up_nearest)(X, kernel)
    np.testing.assert_allclose(found, same(doubled, kernel), **CLOSE)
    turned = jax.jit(transposed_conv.up_nearest)(X, kernel[::-1])
    assert np.abs(found - turned).max() > 1


def test_blur_is_the_filter_with_zeros_around_the_picture():
    taps = jnp.outer(jnp.array([1.0, 2, 1]), jnp.array([1.0, 2, 1])) / 16
    filters = jnp.tile(taps[:, :, None, None], (1, 1, 1, 7))
    kernel = transposed_conv.fused_kernel(KERNEL)
    phases = transposed_conv.phases(X, kernel)
    found = transposed_conv.interleaved(transposed_conv.blurred(phases))
    np.testing.assert_allclose(found, same(dilated(X, kernel), filters), **CLOSE)
