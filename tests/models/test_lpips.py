"""LPIPS against the original's recorded distances: layer by layer, whole, and as a map."""

import functools
import os
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert import lpips as converter
from emojax.models.lpips import Backbone, Linear, Lpips
from emojax.runtime.errors import UserError
from emojax.store import weights
from emojax.store.parts import ALEXNET, LPIPS_ALEXNET, LPIPS_VGG16, VGG16
from tests.data import recipe
from tests.support import encoder_cases as cases
from tests.support import judges, oracles

PARTS = {"lpips_alex": (ALEXNET, LPIPS_ALEXNET), "lpips_vgg": (VGG16, LPIPS_VGG16)}
PAIRS = ("near256", "near64", *(["far256"] if "EMOJAX_ORACLES" in os.environ else []))
"""Of a far pair the same is known as of a near one, so that every run need not compute it."""


def published(case: str) -> list[dict[str, np.ndarray]]:
    """The two published files of a case: the backbone's, and the weights'."""
    lin = recipe.load_manifest(oracles.case_folder(case) / "manifest_lin.json")
    return [oracles.state_dict(case), recipe.state_dict(lin)]


@functools.cache
def network(case: str) -> Lpips:
    made = []
    for kind, part, source in zip((Backbone, Linear), PARTS[case], published(case), strict=True):
        config, table, _ = converter.convert(part, source)
        made.append(weights.load(weights.abstract(kind, config), table))
    return Lpips(*made)


def pair(case: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    about = oracles.manifest(case)["config"]["pairs"][name]
    size = about["shape"][-1]
    a, d = (judges.planes(51, f"{name}_{key}", size) for key in "ad")
    a, b = (each.astype(np.float32) for each in (a, d if name == "far256" else 0.8 * a + 0.2 * d))
    found = [zlib.crc32(each.tobytes()) for each in (a, b)]
    assert found == about["crc32_of_float32_bytes"], name
    return a.transpose(0, 2, 3, 1), b.transpose(0, 2, 3, 1)


@jax.jit
def run(model: Lpips, a: jax.Array, b: jax.Array) -> tuple:
    """The distance's layers, the features of `a`, and the map of the first pair."""
    return model.layers(a, b), model.backbone(a), model.spatial(a, b)[0]


@pytest.mark.parametrize("case", PARTS)
def test_features_distances_and_map_are_the_originals(case):
    golden, model = oracles.golden(case), network(case)
    for name in PAIRS:
        layers, taps, spatial = run(model, *pair(case, name))
        layers = np.asarray(layers)
        np.testing.assert_allclose(layers, golden[f"{name}/layers"], rtol=2e-6, atol=2e-7)
        np.testing.assert_allclose(layers.sum(0), golden[name], rtol=2e-6, atol=0)
        np.testing.assert_allclose(layers.sum(0).mean(), golden[f"{name}/psp"], rtol=2e-6, atol=0)
        if name == "near256":
            for index, tap in enumerate(taps):
                nchw = np.asarray(tap).transpose(0, 3, 1, 2)
                cases.check_probe(case, f"near256_a/tap{index}", nchw)
            blocks = np.asarray(spatial).reshape(16, 16, 16, 16).mean((1, 3))
            np.testing.assert_allclose(blocks, golden["near256/spatial"], rtol=2e-5)


def test_black_pictures_have_a_gradient():
    """Where no feature is active a pixel's vector is zero, whose length has no derivative."""
    model, zero = network("lpips_alex"), jnp.zeros((1, 64, 64, 3))
    silent = jax.tree.map(jnp.zeros_like, model.backbone)
    slope = jax.jit(jax.grad(lambda x: Lpips(silent, model.linear)(x, zero).sum()))(zero + 0.1)
    assert np.isfinite(np.asarray(slope)).all()


def test_a_file_of_the_other_backbone_is_refused():
    alex, lin = published("lpips_alex")
    with pytest.raises(UserError, match=r"missing: features\.12\.bias"):
        converter.convert(VGG16, alex)
    with pytest.raises(UserError, match=r"misshapen: lin1\.model\.1\.weight is \[1, 192, 1, 1\]"):
        converter.convert(LPIPS_VGG16, lin)
