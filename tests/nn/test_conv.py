"""CPU forms of the convolutions, and their gradients, against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.nn import conv, output_parts, per_sample, winograd


def _library(x, kernel, stride, padding):
    """XLA's convolution; of every channel by itself where the kernel has one input."""
    if isinstance(padding, int):
        padding = ((padding, padding), (padding, padding))
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def _assert_gradients_agree(ours, library, x, kernel, key, tolerance):
    weights = jax.random.normal(key, jax.eval_shape(ours, x, kernel).shape)
    gradients = [
        jax.jit(jax.grad(lambda x, k, f=f: jnp.sum(weights * f(x, k)), (0, 1)))(x, kernel)
        for f in (ours, library)
    ]
    for mine, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("batch", "outputs"), [(2, 6), (1, 6), (1, 2 * output_parts.PART)])
def test_winograd_is_the_librarys_convolution(stride, batch, outputs):
    """float32 at 1e-6 of the output's norm, as published for F(2x2, 3x3)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, 8, 12, 5), np.float32)
    kernel = rng.standard_normal((3, 3, 5, outputs), np.float32)
    mine = jax.jit(winograd.conv3x3, static_argnums=2)(x, kernel, stride)
    theirs = _library(x, kernel, stride, 1)
    assert mine.shape == theirs.shape
    assert np.linalg.norm(mine - theirs) < 1e-6 * np.linalg.norm(theirs)


@pytest.mark.parametrize(
    ("side", "stride", "wide"),
    [(64, 2, 256), (64, 1, 64), (2, 2, 8), (32, 1, 64), (32, 1, 32), (33, 1, 64)],
)
def test_every_form_of_the_convolution_gives_the_same(side, stride, wide):
    """Winograd at both strides, one pixel, and shapes that neither takes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, side, side, wide), np.float32)
    kernel = rng.standard_normal((3, 3, wide, wide), np.float32)
    mine = jax.jit(lambda x, kernel: conv.conv(x, kernel, stride=stride, padding=1))(x, kernel)
    theirs = _library(x, kernel, stride, 1)
    assert mine.shape == theirs.shape
    assert np.linalg.norm(mine - theirs) < 1e-6 * np.linalg.norm(theirs)


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [
        ((3, 3), 1, 1),
        ((1, 2), 1, 1),
        ((3, 3), 2, 1),
        ((2, 2), 2, 0),
        ((1, 1), 1, 0),
        ((1, 1), 2, 0),
        ((2, 3), 3, 2),
    ],
)
@pytest.mark.parametrize("pixels", [4 * 7 * 6, 2 * 7 * 6, 20])
def test_gradients_of_a_convolution_are_the_librarys(monkeypatch, size, stride, padding, pixels):
    """Over all pictures at a time, over two, and over some rows of one."""
    monkeypatch.setattr(conv, "_PIXELS", pixels)
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = (
        jax.random.normal(key, shape)
        for key, shape in zip(keys, [(4, 7, 6, 3), (*size, 3, 4)], strict=False)
    )

    def library(x, kernel):
        return _library(x, kernel, stride, padding)

    def ours(x, kernel):
        return conv.conv(x, kernel, stride=stride, padding=padding)

    _assert_gradients_agree(ours, library, x, kernel, keys[2], 1e-5)


def test_a_gradient_penalty_is_the_librarys():
    """R1 differentiates the gradient of the input once more, by input and kernel."""
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = ((2, 6, 8, 3), (3, 3, 3, 4))
    x, kernel = map(jax.random.normal, keys, shapes)

    def slope(convolve):
        def loss(x, kernel):
            return jnp.sum(jax.nn.softplus(convolve(x, kernel)))

        return jax.grad(loss)

    ours = slope(lambda x, kernel: conv.conv(x, kernel, padding=1))
    library = slope(lambda x, kernel: _library(x, kernel, 1, 1))
    _assert_gradients_agree(ours, library, x, kernel, keys[2], 1e-5)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("side", [7, 8])
def test_gradients_of_a_depthwise_convolution_are_the_librarys(side, size, stride, padding):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, side, side + 1, 3))
    kernel = jax.random.normal(keys[1], (size, size, 1, 3))

    def library(x, kernel):
        return _library(x, kernel, stride, padding)

    def ours(x, kernel):
        return conv.depthwise(x, kernel, stride, padding)

    np.testing.assert_allclose(ours(x, kernel), library(x, kernel), rtol=1e-5, atol=1e-5)
    _assert_gradients_agree(ours, library, x, kernel, keys[2], 2e-5)


def test_kernels_per_sample_are_one_convolution_each():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 5, 6, 3)), jnp.float32)
    kernels = jnp.asarray(rng.standard_normal((2, 3, 3, 3, 4)), jnp.float32)
    wanted = [conv.conv(x[i : i + 1], kernels[i], padding=1)[0] for i in range(2)]
    found = per_sample.conv(x, kernels, 1)
    np.testing.assert_allclose(found, jnp.stack(wanted), rtol=1e-5, atol=1e-5)
