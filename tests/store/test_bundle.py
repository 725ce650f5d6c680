"""Bundles: strict, replaced in one step, and clear about what is missing."""

import json

import jax
import numpy as np
import pytest

from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.runtime.errors import UserError
from emojax.store import bundle, weights
from emojax.store.fingerprint import fingerprint
from emojax.store.parts import GENERATOR
from tests.support import small_world

CONFIG = GeneratorConfig(channels=(8, 8), style_dim=8, z_dim=8, n_mlp=1)


def table(seed: int = 0) -> dict[str, np.ndarray]:
    """Return a random generator's weights."""
    return small_world.table(Generator, CONFIG, seed)


def test_round_trip_and_replacement(tmp_path):
    bundle.save(tmp_path / "b", GENERATOR, CONFIG, table(0), {"file": "x"})
    bundle.save(tmp_path / "b", GENERATOR, CONFIG, table(1), {"file": "y"})
    loaded = weights.flatten(bundle.find(tmp_path / "b").load(GENERATOR))
    for name, array in table(1).items():
        np.testing.assert_array_equal(loaded[name], array)
    assert bundle.find(tmp_path / "b").metadata(GENERATOR).source == {"file": "y"}
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["generator"]


def test_a_failed_save_leaves_the_old_part(tmp_path, monkeypatch):
    bundle.save(tmp_path / "b", GENERATOR, CONFIG, table(0), {})

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        bundle.save(tmp_path / "b", GENERATOR, CONFIG, table(1), {})
    monkeypatch.undo()
    loaded = weights.flatten(bundle.find(tmp_path / "b").load(GENERATOR))
    np.testing.assert_array_equal(loaded["synthesis.const"], table(0)["synthesis.const"])
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["generator"]


def test_half_precision_storage_loads_as_float32(tmp_path):
    half = {name: array.astype(np.float16) for name, array in table().items()}
    bundle.save(tmp_path / "b", GENERATOR, CONFIG, half, {})
    loaded = weights.flatten(bundle.find(tmp_path / "b").load(GENERATOR))
    assert {array.dtype for array in loaded.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(
        loaded["synthesis.const"], half["synthesis.const"].astype(np.float32)
    )


def test_a_path_with_dots_is_followed(tmp_path, monkeypatch):
    bundle.save(tmp_path / "b", GENERATOR, CONFIG, table(), {})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert bundle.find("../b").load(GENERATOR).config == CONFIG


def test_config_changes_on_loading(tmp_path):
    bundle.save(tmp_path / "b", GENERATOR, CONFIG, table(), {})
    assert bundle.find(tmp_path / "b").load(GENERATOR, bfloat16_from=8).config.bfloat16_from == 8


def test_everything_that_does_not_fit_is_listed(tmp_path):
    wrong = table()
    del wrong["latent_avg"]
    wrong["other"] = np.zeros(2, np.float32)
    wrong["synthesis.const"] = np.zeros((4, 4, 9), np.float32)
    wrong["mapping.layers.0.bias"] = np.zeros(8, np.int32)
    with pytest.raises(UserError) as caught:
        bundle.save(tmp_path / "b", GENERATOR, CONFIG, wrong, {})
    for sign in [
        "4 tensors differ",
        "missing: latent_avg",
        "unknown: other",
        "misshapen: synthesis.const is [4, 4, 9], wanted [4, 4, 8]",
        "mistyped: mapping.layers.0.bias is int32, wanted float32",
    ]:
        assert sign in "\n".join([str(caught.value), *caught.value.notes])
    assert not (tmp_path / "b").exists()


def test_missing_part_names_the_command(tmp_path):
    with pytest.raises(
        UserError,
        match=r"has no generator .*: make it with 'emojax convert stylegan FILE --name .*/b'",
    ):
        bundle.look_up(tmp_path / "b").load(GENERATOR)
    with pytest.raises(UserError, match="no bundle 'nowhere': wanted one of demo, or a folder"):
        bundle.find("nowhere")


@pytest.mark.parametrize("damage", ["json", "config", "weights"])
def test_damage_is_one_sentence(tmp_path, damage):
    bundle.save(tmp_path / "b", GENERATOR, CONFIG, table(), {})
    part = tmp_path / "b" / "generator"
    file = part / "metadata.json"
    if damage == "json":
        file.write_text("{")
    elif damage == "config":
        stored = json.loads(file.read_text())
        stored["config"]["colour"] = 1
        file.write_text(json.dumps(stored))
    else:
        for data in part.rglob("d/*"):
            data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(UserError, match="convert the file again"):
        bundle.find(tmp_path / "b").load(GENERATOR)


def test_abstract_models_hold_no_arrays():
    leaves = weights.flatten(weights.abstract(Generator, GeneratorConfig.published(1024))).values()
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)


def test_fingerprint_sees_names_shapes_and_values():
    base = {"a": np.arange(6.0).reshape(2, 3)}
    prints = {
        fingerprint(t)
        for t in (base, {"b": base["a"]}, {"a": base["a"].T.copy()}, {"a": base["a"] + 1})
    }
    assert len(prints) == 4
    assert fingerprint({"a": np.asfortranarray(base["a"])}) == fingerprint(base)
