"""ArcFace's IR-SE-50 against the original's recorded features, layer by layer."""

import functools
import zlib

import jax
import numpy as np
import pytest

from convert import arcface as converter
from emojax.models.arcface import ArcFace
from emojax.runtime.errors import UserError
from emojax.store import weights
from tests.support import encoder_cases as cases
from tests.support import judges, oracles

CASE = "arcface_irse50"


@functools.cache
def network() -> ArcFace:
    config, table, left = converter.convert(oracles.state_dict(CASE))
    assert set(left.values()) == {"counts training steps"}
    return weights.load(weights.abstract(ArcFace, config), table)


@functools.cache
def pictures() -> dict[str, np.ndarray]:
    drawn = {name: judges.planes(51, name, 256) for name in "xyd"}
    drawn["y_hat"] = 0.85 * drawn["y"] + 0.15 * drawn.pop("d")
    found = {name: each.astype(np.float32) for name, each in drawn.items()}
    checks = oracles.manifest(CASE)["config"]["input"]["crc32_of_float32_bytes"]
    assert {name: zlib.crc32(each.tobytes()) for name, each in found.items()} == checks
    return {name: each.transpose(0, 2, 3, 1) for name, each in found.items()}


@jax.jit
def run(model: ArcFace, x: jax.Array) -> dict[str, jax.Array]:
    """The recorded places of the forward pass, and the features, of one program."""
    pooled = model.pooled(x)
    stages = model.trunk(pooled)
    normed = model.norm1(stages[-1])
    linear = model.linear(normed.reshape(len(x), -1))
    places = {"face_pool": pooled, "output_layer.0": normed}
    places |= {f"body.{i}": stages[s] for s, i in enumerate((2, 6, 20, 23))}
    places = {name: each.transpose(0, 3, 1, 2) for name, each in places.items()}
    last = {"output_layer.3": linear, "output_layer.4": model.norm2(linear)}
    return places | last | {"feats": model(x)}


def test_layers_features_and_cosines_are_the_originals():
    found = {name: run(network(), x) for name, x in pictures().items()}
    for name, array in found["x"].items():
        if name != "feats":
            cases.check_probe(CASE, f"x/{name}", np.asarray(array))
    features = {name: np.asarray(each["feats"]) for name, each in found.items()}
    for name, each in features.items():
        cases.check(CASE, f"feats_{name}", each)
        np.testing.assert_allclose(np.linalg.norm(each, axis=-1), 1, rtol=1e-5)
    golden = oracles.golden(CASE)
    for pair in (("y_hat", "y"), ("y_hat", "x"), ("y", "x")):
        cosine = (features[pair[0]] * features[pair[1]]).sum(-1)
        np.testing.assert_allclose(cosine, golden["cos_{}_{}".format(*pair)], rtol=2e-6, atol=2e-6)


def test_the_crop_counts():
    """A pixel's shift of the picture is told apart, so that the test above would notice it."""
    off = run(network(), np.roll(pictures()["x"], 1, 1))["feats"]
    assert oracles.rel_err(off, oracles.golden(CASE)["feats_x"]) > 0.1


def test_a_missing_tensor_is_named():
    lean = {name: a for name, a in oracles.state_dict(CASE).items() if "num_batches" not in name}
    assert converter.convert(lean)[2] == {}
    del lean["output_layer.4.weight"]
    with pytest.raises(UserError, match=r"missing: output_layer\.4\.weight"):
        converter.convert(lean)
