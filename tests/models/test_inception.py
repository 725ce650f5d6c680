"""FID's Inception and clean-fid's resizing against the originals, as recorded."""

import functools
import zlib

import jax
import numpy as np
import pytest
from PIL import Image

from convert import inception as converter
from emojax.models.inception import Inception, InceptionConfig, average_pool
from emojax.nn.resize import clean_resize, resize
from emojax.runtime import xla_options
from emojax.runtime.errors import UserError
from emojax.store import weights
from tests.support import judges, oracles

CASE = "fid_inception"


@functools.cache
def network(normalisation: str = "cleanfid") -> Inception:
    config, table, _ = converter.convert(drawn(), InceptionConfig(normalisation))
    return weights.load(weights.abstract(Inception, config), table)


@functools.cache
def drawn() -> dict[str, np.ndarray]:
    return oracles.state_dict(CASE)


def limit(name: str) -> float:
    return max(3 * float(oracles.golden(CASE)[f"torch_f32_rel_err/{name}"]), 5e-6)


@functools.cache
def run(*, fast: bool = False):
    options = xla_options.options(dense=True) if fast else {}
    return jax.jit(lambda model, x: model(x), compiler_options=options)


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "compiler options"])
@pytest.mark.parametrize(
    ("normalisation", "name"), [("cleanfid", "features"), ("pytorch-fid", "features_pytorch_norm")]
)
def test_features_are_the_originals(normalisation: str, name: str, fast: bool) -> None:
    x = ((judges.planes(11, "input", 299) + 1) * 127.5).astype(np.float32)
    expected = oracles.manifest(CASE)["config"]["input"]["crc32_of_float32_bytes"]
    assert zlib.crc32(x.tobytes()) == expected
    features = run(fast=fast)(network(normalisation), x.transpose(0, 2, 3, 1))
    golden = oracles.golden(CASE)
    assert oracles.rel_err(features, golden[name]) < limit(name)
    other = "features_pytorch_norm" if name == "features" else "features"
    assert oracles.rel_err(features, golden[other]) > 1e-3  # the normalisations are told apart


@pytest.mark.parametrize("name", ["resize_1024x1024", "resize_218x178", "resize_256x256"])
def test_resized_pictures_and_their_features(name: str) -> None:
    rule, golden = oracles.manifest(CASE)["config"]["resize"]["images"][name], oracles.golden(CASE)
    picture = judges.picture(11, name, rule["hwc"], rule["crc32"])
    resized = np.asarray(jax.jit(clean_resize)(picture[None]))[0]
    for (y, x), crop in zip(golden[f"{name}/crop_yx"], golden[f"{name}/crops"], strict=True):
        assert np.abs(resized[y : y + 24, x : x + 24] - crop).max() < 0.01
    spread = (np.arange(2048) * (resized.size - 1)) // 2047
    assert np.abs(resized.ravel()[spread] - golden[f"{name}/spread2048_hwc"]).max() < 0.01
    features = run()(network(), resized[None])[0]
    assert oracles.rel_err(features, golden[f"{name}/features"]) < limit(f"{name}/features")


@pytest.mark.parametrize(("height", "width"), [(31, 57), (299, 64), (700, 299), (512, 900)])
def test_clean_resize_is_pillows(height: int, width: int) -> None:
    picture = np.random.RandomState(height).randint(0, 256, (height, width, 3), np.uint8)
    planes = [
        Image.fromarray(picture[..., i].astype(np.float32)).resize((299, 299), Image.BICUBIC)
        for i in range(3)
    ]
    truth = np.clip(np.stack([np.asarray(plane) for plane in planes], -1), 0, 255)
    ours = np.asarray(clean_resize(picture[None]))[0]
    assert np.abs(ours - truth).max() < 0.01


@pytest.mark.parametrize(
    ("height", "width", "size"), [(188, 188, 224), (752, 640, 224), (90, 300, 260)]
)
def test_eight_bit_resize_is_pillows(height: int, width: int, size: int) -> None:
    picture = np.random.RandomState(width).randint(0, 256, (height, width, 3), np.uint8)
    truth = np.asarray(Image.fromarray(picture).resize((size, size), Image.BILINEAR))
    ours = np.asarray(resize(picture[None], size, size, "bilinear", as_uint8=True))[0]
    assert np.array_equal(ours, truth)


def test_average_pool_leaves_the_border_out() -> None:
    assert np.allclose(average_pool(np.ones((1, 8, 9, 2), np.float32)), 1, rtol=0, atol=1e-6)


def test_published_shape_costs_nothing() -> None:
    model = weights.abstract(Inception, InceptionConfig())
    x = jax.ShapeDtypeStruct((2, 299, 299, 3), np.float32)
    assert jax.eval_shape(Inception.__call__, model, x).shape == (2, 2048)
    published = sum(a.size for k, a in drawn().items() if "num_batches" not in k and "fc." not in k)
    assert weights.count(weights.flatten(model)) == published


def test_converter_wants_neither_head_nor_counters() -> None:
    lean = {k: v for k, v in drawn().items() if "num_batches" not in k and not k.startswith("fc.")}
    _, table, left = converter.convert(lean)
    assert left == {}
    assert table["stem.0.kernel"].shape == (3, 3, 3, 32)
    del lean["Mixed_7c.branch_pool.bn.bias"]
    with pytest.raises(UserError, match=r"missing: Mixed_7c\.branch_pool\.bn\.bias"):
        converter.convert(lean)


def test_unknown_normalisation() -> None:
    with pytest.raises(ValueError, match="normalisation is 'imagenet'"):
        InceptionConfig("imagenet")
