"""Published HSEmotion files: whole pickled networks of three generations of timm."""

import json

import jax
import numpy as np
import pytest

from convert import emotion
from convert.reader import checkpoint_file
from emojax.models.efficientnet import EIGHT, SEVEN, EmotionNet
from emojax.runtime.errors import UserError
from emojax.store import bundle, weights
from emojax.store.parts import EMOTION
from tests.support import judges, oracles

FILES = oracles.DATA / "files"
TINY = ("hsemotion_tiny.pt", "hsemotion_tiny_timm067.pt", "hsemotion_tiny_timm0916.pt")


def published(name: str = TINY[0]) -> dict[str, np.ndarray]:
    return dict(checkpoint_file.state_dict(checkpoint_file.load(FILES / name)))


@pytest.mark.parametrize("name", TINY)
def test_whole_pickled_networks_give_their_outputs(name: str) -> None:
    config, table, left = emotion.convert(published(name), size=72)
    assert (config.width, config.classes, config.size) == (0.15, EIGHT, 72)
    assert set(left.values()) == {"counts training steps"}
    model = weights.load(weights.abstract(EmotionNet, config), table)
    x = judges.planes(11, "input", 72).astype(np.float32).transpose(0, 2, 3, 1)
    features, logits = jax.jit(lambda m, x: (m.features(x), m(x)))(model, x)
    with np.load(FILES / "hsemotion_tiny_golden.npz") as golden:
        # torch's own float32 error is 1.0e-6 and 5.7e-7
        assert oracles.rel_err(features, golden["features"]) < 5e-6
        assert oracles.rel_err(logits, golden["logits"]) < 2e-6


def test_command_writes_a_bundle(tmp_path) -> None:
    emotion.main(emotion.Options(FILES / TINY[0], name="mine", checkpoints=tmp_path, size=72))
    model = bundle.find(tmp_path / "mine").load(EMOTION)
    assert model.config.size == 72
    stored = json.loads((tmp_path / "mine" / "emotion" / "metadata.json").read_text())
    assert stored["source"]["file"] == TINY[0]
    assert tuple(stored["config"]["classes"]) == EIGHT


@pytest.mark.parametrize(
    ("case", "width", "depth", "size"),
    [("hsemotion_b0", 1.0, 1.0, 224), ("hsemotion_b2", 1.1, 1.2, 260)],
)
def test_architecture_is_recognised(case: str, width: float, depth: float, size: int) -> None:
    config = emotion.recognise(with_head(oracles.state_dict(case), 8))
    assert (config.width, config.depth, config.size, config.classes) == (width, depth, size, EIGHT)


def with_head(source: dict[str, np.ndarray], outputs: int) -> dict[str, np.ndarray]:
    """The head under plain `classifier.*` names, cut or repeated to a number of outputs."""
    kept = {key: value for key, value in source.items() if not key.startswith("classifier.")}
    rows = np.arange(outputs) % 8
    head = [source[key] for key in source if key.startswith("classifier.")]  # weight, bias
    kept["classifier.weight"], kept["classifier.bias"] = (array[rows] for array in head)
    return kept


@pytest.mark.parametrize(
    ("outputs", "classes", "valence_arousal"),
    [(8, EIGHT, False), (7, SEVEN, False), (10, EIGHT, True)],
)
def test_heads(outputs: int, classes: tuple, valence_arousal: bool) -> None:
    config, _, _ = emotion.convert(with_head(published(), outputs))
    assert (config.classes, config.valence_arousal) == (classes, valence_arousal)


def test_foreign_files_are_refused() -> None:
    with pytest.raises(UserError, match="the classifier has 9 outputs"):
        emotion.convert(with_head(published(), 9))
    with pytest.raises(UserError, match="wanted an HSEmotion enet_b0 or enet_b2 file"):
        emotion.convert({"weight": np.zeros(3)})
    source = published()
    del source["blocks.3.1.bn2.running_var"]
    source["extra"] = np.zeros(2)
    with pytest.raises(
        UserError, match=r"missing: blocks\.3\.1\.bn2\.running_var[^$]*unknown: extra"
    ):
        emotion.convert(source)
