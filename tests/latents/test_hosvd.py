"""HOSVD against the recorded TensorGAN, and directions from structured codes."""

import functools
import zlib

import numpy as np
import pytest

from emojax.latents import hosvd
from tests.support import oracles

CASE = "tensorgan_hosvd"
EXACT = {"rtol": 0, "atol": 3e-6}  # the truth is stored as float32, of values up to 10


@functools.cache
def tensor():
    """The recorded tensor by the rule of its manifest."""
    config = oracles.manifest(CASE)["config"]
    d, p, e, i, r = config["shape"]

    def g(name, *shape):
        return np.random.RandomState(zlib.crc32(f"51:{name}".encode())).standard_normal(shape)

    intensity, turned = np.linspace(0.4, 1, i), np.linspace(-1, 1, r)
    whole = (
        2 * g("mean", d)[:, None, None, None, None]
        + 1.5 * g("person", d, p)[:, :, None, None, None]
        + 0.8 * g("emotion", d, e)[:, None, :, None, None] * intensity[:, None]
        + 1.2 * g("rotation", d)[:, None, None, None, None] * turned
        + 0.3 * g("pe", d, p, e)[..., None, None]
        + 0.2 * g("pr", d, p, r)[:, :, None, None, :]
        + 0.1 * g("all", d, p, e, i, r)
    ).astype(np.float32)
    assert zlib.crc32(whole.tobytes()) == config["tensor_crc32_of_float32_bytes"]
    return whole


def test_the_exact_decomposition_is_the_recorded_one():
    golden, found = oracles.golden(CASE), hosvd.decompose(tensor())
    for mode in range(5):
        np.testing.assert_allclose(found.factors[mode], golden[f"U{mode}"], **EXACT)
        values = golden[f"singular_values{mode}"]
        np.testing.assert_allclose(found.singular[mode], values, rtol=2e-7, atol=1e-6)
    assert oracles.rel_err(found.core, golden["core"]) < 2e-7
    assert oracles.rel_err(found.mean, golden["mean_shape"]) < 2e-7
    assert oracles.rel_err(found.emotions(), golden["expr_dirs"]) < 2e-7
    assert oracles.rel_err(found.view(), golden["rot_dir"]) < 2e-7
    np.testing.assert_allclose(found.restored(), tensor(), rtol=0, atol=1e-12)
    rows = {mode: found.factors[mode][1] for mode in range(1, 5)}
    assert oracles.rel_err(found.code(rows) + found.mean, golden["forward_1_1_1_1"]) < 2e-7


def test_edits_are_the_recorded_ones():
    golden, config = oracles.golden(CASE), oracles.manifest(CASE)["config"]
    z = np.random.RandomState(zlib.crc32(b"51:z")).standard_normal(24)
    z, found = (2 * z).astype(np.float32), hosvd.decompose(tensor())
    assert zlib.crc32(z.tobytes()) == config["z_crc32"]
    strength = np.array(config["edit"]["expression_strength"])[:, None]
    assert oracles.rel_err(z + strength * found.emotions(), golden["edit_expression"]) < 2e-7
    turned = z + config["edit"]["rotation_strength"] * found.view()
    assert oracles.rel_err(turned, golden["edit_rotation"]) < 2e-7


@pytest.mark.parametrize(("ours", "theirs"), [("sequential", "repo"), ("classical", "hosvd")])
def test_both_truncations_are_the_recorded_ones(ours, theirs):
    golden, ranks = oracles.golden(CASE), oracles.manifest(CASE)["config"]["truncated_ranks"]
    found = hosvd.decompose(tensor(), ranks, ours)
    assert oracles.rel_err(found.emotions(), golden[f"truncated/expr_dirs_{theirs}"]) < 2e-7
    assert oracles.rel_err(found.view(), golden[f"truncated/rot_dir_{theirs}"]) < 2e-7
    error = oracles.rel_err(found.restored(), tensor())
    centred = tensor() - found.mean.reshape(-1, 1, 1, 1, 1)
    error *= np.linalg.norm(np.float64(tensor())) / np.linalg.norm(centred)
    recorded = float(golden[f"truncated/rel_error_{theirs}"])
    whole = oracles.rel_err(found.restored(), tensor())
    assert min(abs(error - recorded), abs(whole - recorded)) < 2e-7
    other = {"repo": "hosvd", "hosvd": "repo"}[theirs]
    assert oracles.rel_err(found.emotions(), golden[f"truncated/expr_dirs_{other}"]) > 0.01


def test_a_direction_is_the_mean_centred_code_of_its_emotion():
    found, codes = hosvd.decompose(tensor()), np.float64(tensor())
    means = codes.mean((1, 3, 4)).T - found.mean
    np.testing.assert_allclose(found.emotions(), means, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.emotions().sum(0), 0, rtol=0, atol=1e-12)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"wanted \[code, person, emotion"):
        hosvd.decompose(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="wanted 5 numbers of 1 or more"):
        hosvd.decompose(tensor(), [3, 3])
    with pytest.raises(ValueError, match="3 entries, wanted two views"):
        hosvd.decompose(tensor()[..., 0]).view()
