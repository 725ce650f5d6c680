"""The emotion classifier against timm's, as recorded: weights drawn, outputs in float64."""

import functools
import zlib

import jax
import numpy as np
import pytest

from convert import emotion
from emojax.models.efficientnet import EIGHT, SEVEN, EmotionConfig, EmotionNet
from emojax.runtime.errors import UserError
from emojax.scoring import classifier
from emojax.store import weights
from tests.support import judges, oracles, small_world

CASES = ("hsemotion_b0", "hsemotion_b2")
PARAMETERS = {
    "hsemotion_b0": 4_017_796,
    "hsemotion_b2": 7_712_264,
}  # timm's, 8 classes, no counters


def limit(case: str, name: str, floor: float) -> float:
    """Three times torch's own float32 error."""
    return max(3 * float(oracles.golden(case)[f"torch_f32_rel_err/{name}"]), floor)


@functools.cache
def network(case: str) -> EmotionNet:
    config, table, _ = emotion.convert(oracles.state_dict(case))
    return weights.load(weights.abstract(EmotionNet, config), table)


def normalised(case: str) -> np.ndarray:
    config = oracles.manifest(case)["config"]
    drawn = judges.planes(11, "input", config["image_size"])
    mean, std = (np.array(config[key])[:, None, None] for key in ("mean", "std"))
    x = (((drawn + 1) / 2 - mean) / std).astype(np.float32)
    assert zlib.crc32(x.tobytes()) == config["input"]["crc32_of_float32_bytes"]
    return x.transpose(0, 2, 3, 1)


@functools.cache
def program():
    """One program a network for all tests here: compiling it takes most of their time."""
    return jax.jit(lambda model, x: (model.features(x), model(x)))


@pytest.mark.parametrize("case", CASES)
def test_features_and_logits_are_the_originals(case: str) -> None:
    golden = oracles.golden(case)
    features, logits = program()(network(case), normalised(case))
    assert oracles.rel_err(features, golden["features"]) < limit(case, "features", 5e-6)
    assert oracles.rel_err(logits, golden["logits"]) < limit(case, "logits", 2e-6)


@pytest.mark.parametrize("case", CASES)
def test_faces_pass_through_the_whole_recogniser(case: str) -> None:
    model, golden, config = network(case), oracles.golden(case), oracles.manifest(case)["config"]
    size, seen = model.config.size, []
    for name, face in config["faces"].items():
        drawn = judges.picture(11, name, face["hwc"], face["crc32"])
        x = classifier.preprocess(drawn[None] / np.float32(127.5) - 1, size, crop="full")
        levels = np.round((np.asarray(x[0]) * classifier.DEVIATION + classifier.MEAN) * 255)
        assert np.array_equal(levels, golden[f"{name}/resized_uint8"])
        seen.append(x)
    _, logits = program()(model, np.concatenate(seen))
    for name, row in zip(config["faces"], np.asarray(logits), strict=True):
        bound = limit(case, f"{name}/logits", 2e-6)
        assert oracles.rel_err(row, golden[f"{name}/logits"]) < bound
        softmax = np.asarray(jax.nn.softmax(row))
        assert np.allclose(softmax, golden[f"{name}/softmax"], rtol=0, atol=1e-5)
        assert row.argmax() == golden[f"{name}/index"]


def test_swapped_tensors_do_not_pass() -> None:
    """The tolerance has to see one block's batch norms exchanged."""
    source = oracles.state_dict("hsemotion_b0")
    one, other = "blocks.2.1.bn1.running_mean", "blocks.2.1.bn2.running_mean"
    source[one], source[other] = source[other], source[one]
    config, table, _ = emotion.convert(source)
    wrong = weights.load(weights.abstract(EmotionNet, config), table)
    _, logits = program()(wrong, normalised("hsemotion_b0"))
    assert oracles.rel_err(logits, oracles.golden("hsemotion_b0")["logits"]) > 1e-3


@pytest.mark.parametrize(
    ("config", "size", "features"),
    [(EmotionConfig.b0(), 224, 1280), (EmotionConfig.b2(), 260, 1408)],
)
def test_published_shapes(config: EmotionConfig, size: int, features: int) -> None:
    model = weights.abstract(EmotionNet, config)
    assert config.size == size
    x = jax.ShapeDtypeStruct((3, size, size, 3), np.float32)
    assert jax.eval_shape(EmotionNet.features, model, x).shape == (3, features)
    assert jax.eval_shape(EmotionNet.__call__, model, x).shape == (3, 8)


@pytest.mark.parametrize("case", CASES)
def test_every_published_value_is_used(case: str) -> None:
    drawn = oracles.state_dict(case)
    published = sum(a.size for key, a in drawn.items() if "num_batches" not in key)
    assert weights.count(weights.flatten(network(case))) == published


def small(**changes: object) -> EmotionNet:
    config = EmotionConfig(width=0.15, depth=0.25, size=32, **changes)
    table = small_world.table(EmotionNet, config, 0)
    return weights.load(weights.abstract(EmotionNet, config), table)


def test_valence_and_arousal_follow_the_classes() -> None:
    pictures = np.random.RandomState(0).uniform(-1, 1, (2, 40, 40, 3)).astype(np.float32)
    plain = classifier.classify(small(classes=SEVEN), pictures)
    multi = classifier.classify(small(classes=EIGHT, valence_arousal=True), pictures)
    assert plain.logits.shape == (2, 7)
    assert plain.valence_arousal is None
    assert multi.logits.shape == (2, 8)
    assert multi.valence_arousal.shape == (2, 2)
    assert np.allclose(multi.probabilities.sum(1), 1, rtol=0, atol=1e-6)
    config = EmotionConfig(valence_arousal=True)
    assert config.scores == (*(name.lower() for name in EIGHT), "valence", "arousal")
    np.testing.assert_array_equal(multi.scores[:, :8], multi.probabilities)
    np.testing.assert_array_equal(multi.scores[:, 8:], multi.valence_arousal)
    np.testing.assert_array_equal(multi.outputs[:, :8], multi.logits)
    np.testing.assert_array_equal(plain.scores, plain.probabilities)


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_any_number_of_pictures(count: int) -> None:
    pictures = np.random.RandomState(1).randint(0, 256, (5, 40, 40, 3), np.uint8)
    model = small()
    judged = classifier.classify(model, pictures[:count], batch=4)
    assert judged.probabilities.shape == (count, 8)
    whole = classifier.classify(model, pictures, batch=5)
    # batches of other sizes may sum in another order
    assert np.allclose(judged.probabilities, whole.probabilities[:count], rtol=1e-5, atol=1e-7)


def test_crop_follows_the_size_of_the_picture() -> None:
    big = np.zeros((1, 1024, 1024, 3), np.float32)
    big[:, 140:892, 128:880] = 1.0
    seen = classifier.preprocess(big, 188)
    assert np.allclose(seen, (1 - classifier.MEAN) / classifier.DEVIATION, rtol=0, atol=1e-6)
    assert not np.allclose(classifier.preprocess(big, 188, crop="full"), seen, rtol=0, atol=0.1)


def test_gradient_reaches_the_picture_without_rounding() -> None:
    model = small()
    pictures = np.full((1, 64, 64, 3), 0.1, np.float32)

    @jax.jit
    @jax.grad
    def slope_of(pictures: jax.Array, model: EmotionNet) -> jax.Array:
        return classifier.probabilities(model, pictures, as_uint8=False)[0, 4]

    slope = slope_of(pictures, model)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_bad_input_is_told_in_a_sentence() -> None:
    model = small()
    with pytest.raises(UserError, match=r"\[40, 40, 3\], wanted \[N,H,W,3\]"):
        classifier.classify(model, np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(UserError, match="crop is 'nose'"):
        classifier.preprocess(np.zeros((1, 40, 40, 3), np.float32), 32, crop="nose")
    with pytest.raises(UserError, match="no emotion 'joy': this network knows anger"):
        classifier.index(model, "joy")
    assert classifier.index(model, "happiness") == 4
