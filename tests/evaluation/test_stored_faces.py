"""Inverted and prepared faces come back from their arrays bit for bit."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.evaluation.stored_faces import arrays_of, faces_of, prepared_arrays, prepared_of
from emojax.latents.bases import Prepared, Readings
from emojax.latents.codes import Inversion
from emojax.latents.inverter import Inverter


class Normaliser:
    """Stands in for a transferrer, of which only this is asked."""

    def __init__(self, inverter):
        self.inverter, self.method = inverter, self


def drawn(*shape, dtype=jnp.float32):
    size = int(np.prod(shape))
    return jnp.asarray(np.random.default_rng(size).standard_normal(shape), dtype)


def inverter_of(method):
    return Inverter(cast("Any", None), method=method, steps=7, made_with="made with these")


def faces_by(method):
    changes = {
        "hyperstyle": {"vectors": drawn(3, 2, 5)},
        "pti": {"convs.0.weight": drawn(3, 3, 3, 2, 2, dtype=jnp.float16)},
    }.get(method)
    passes = {"hyperstyle": 4, "pti": 7}.get(method, 0)
    return Inversion(drawn(3, 6, 4), changes, passes, method, "made with these")


def same(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("method", ["psp", "hyperstyle", "pti"])
def test_inverted_faces_come_back(method):
    faces = faces_by(method)
    stored = arrays_of(faces) | {"logits": np.zeros((3, 8))}
    same(faces_of(inverter_of(method), stored, 4), faces)


@pytest.mark.parametrize("method", ["psp", "hyperstyle", "pti"])
@pytest.mark.parametrize("own", [False, True], ids=["codes moved", "inverted again"])
def test_prepared_faces_come_back(method, own):
    faces, by = faces_by(method), Normaliser(inverter_of(method))
    neutral = faces.with_codes(faces.w_plus + 1)
    base = dataclasses.replace(neutral, changes=jax.tree.map(lambda x: x * 2, faces.changes))
    readings = Readings(drawn(3, 8), drawn(3, 8)) if own else None
    prepared = Prepared(faces, neutral, base if own else neutral, cast("Any", by), readings)
    stored = prepared_arrays(prepared)
    changed = {name for name in stored if "change" in name}
    assert all(name.startswith("base ") for name in changed)  # what is shared is not kept twice
    assert bool(changed) == (own and faces.changes is not None)
    same(prepared_of(cast("Any", by), faces, stored), prepared)


def test_nothing_of_a_prepared_face_is_forgotten():
    """A new field wants a place in `prepared_arrays`."""
    names = {field.name for field in dataclasses.fields(Prepared)}
    assert names == {"face", "neutral", "base", "by", "readings"}
