"""The one-pass kernels after a convolution, in Pallas' interpreter, against plain JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.nn import epilogue, modulated_conv, pallas
from emojax.nn.epilogue import Finish, ToRGB


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    monkeypatch.setenv(pallas.SWITCH, "interpret")
    monkeypatch.setattr(epilogue, "ROWS", 1)  # the interpreter compiles every one


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def finish(batch, height, width, outputs, *, own=False, gain=True):
    return Finish(
        1 + 0.3 * drawn(batch, outputs, seed=1),
        drawn(batch if own else 1, height, width, seed=2),
        drawn(outputs, seed=3),
        1 + 0.3 * drawn(batch, outputs, seed=4) if gain else None,
    )


@pytest.mark.parametrize(("outputs", "clamp", "rows"), [(4, 1.0, 2), (256, None, 1)])
def test_filtered_is_up_conv_and_what_follows(outputs, clamp, rows, monkeypatch):
    monkeypatch.setattr(epilogue, "ROWS", rows)
    x, kernel = drawn(2, 5, 6, 3), drawn(3, 3, 3, outputs, seed=5)
    end = finish(2, 10, 12, outputs, own=clamp is not None)
    phases = modulated_conv.phases(x, kernel)
    wanted = epilogue.filter_and_finish_reference(phases, end, clamp=clamp)
    y = modulated_conv.up_conv(x, kernel) * end.scale[:, None, None]
    y = jnp.where((y := y + end.noise[..., None] + end.bias) >= 0, y, 0.2 * y) * np.sqrt(2)
    y = y if clamp is None else jnp.clip(y, -clamp, clamp)
    whole = y * end.gain[:, None, None]
    np.testing.assert_allclose(wanted, whole, rtol=1e-5, atol=1e-5)
    found = epilogue.filter_and_finish(phases, end, clamp=clamp)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("last", "box"), [(False, (1, 6, 3, 12)), (True, (0, 8, 0, 12))])
def test_coloured_is_its_reference(last, box, monkeypatch):
    monkeypatch.setattr(epilogue, "COLOURED", 32)
    y = drawn(2, 8, 12, 8)
    end = finish(2, 8, 12, 8, gain=not last)
    colours = ToRGB(drawn(2, 3, 8, seed=6), drawn(3, seed=7), drawn(2, 3, 4, 6, seed=8))
    for each in (colours, colours._replace(skip=None)):
        wanted = epilogue.finish_to_rgb_reference(y, end, each, box, clamp=2.0)
        found = epilogue.finish_to_rgb(y, end, each, box, clamp=2.0)
        assert (found[0] is None) == last
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, wanted
        )


def test_gradients_are_the_references():
    phases, end = drawn(1, 3, 4, 16), finish(1, 4, 6, 4)
    y, colours = drawn(1, 4, 6, 4), ToRGB(drawn(1, 3, 4), drawn(3), drawn(1, 3, 2, 3))
    box = (0, 4, 1, 6)
    for kernel, reference in (
        (
            lambda a, f, _: epilogue.filter_and_finish(a[0], f),
            lambda a, f, _: epilogue.filter_and_finish_reference(a[0], f),
        ),
        (
            lambda a, f, c: epilogue.finish_to_rgb(a[1], f, c, box),
            lambda a, f, c: epilogue.finish_to_rgb_reference(a[1], f, c, box),
        ),
    ):

        def total(call, *args):
            return sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(call(*args)))

        args = ((phases, y), end, colours)
        ours = jax.grad(lambda *a, call=kernel: total(call, *a), (0, 1, 2))(*args)
        wanted = jax.grad(lambda *a, call=reference: total(call, *a), (0, 1, 2))(*args)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, wanted
        )


def test_the_switch(monkeypatch):
    assert pallas.mode() == "interpret"
    monkeypatch.setenv(pallas.SWITCH, "off")
    assert pallas.mode() == "off"
    monkeypatch.delenv(pallas.SWITCH)
    assert pallas.mode() == ("off" if jax.default_backend() == "cpu" else "cuda")
