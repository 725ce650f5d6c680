"""Published files to bundles: every layout, and every way a file can be wrong."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from convert import generators, rules, stylegan
from convert.reader import checkpoint_file
from emojax.runtime.errors import UserError
from emojax.store import bundle, weights
from emojax.store.fingerprint import fingerprint
from emojax.store.parts import GENERATOR
from tests.data import recipe
from tests.support import oracles

FILES = oracles.DATA / "files"
TINY = recipe.load_manifest(FILES / "ros_tiny.manifest.json")


def converted(file, tmp_path):
    """Convert a file and load the generator back from disk."""
    stylegan.main(stylegan.Options(file=file, name="tiny", checkpoints=tmp_path))
    return bundle.find(tmp_path / "tiny").load(GENERATOR)


@pytest.mark.parametrize(
    "name",
    ["ros_tiny.pt", "ros_tiny_legacy.pt", "ros_tiny_torch171.pt", "ros_tiny_torch171_legacy.pt"],
)
def test_rosinality_files_draw_the_recorded_picture(name, tmp_path, capsys):
    with np.load(FILES / "ros_tiny.golden.npz") as file:
        golden = dict(file)
    generator = converted(FILES / name, tmp_path)
    picture = generator(golden["in.z0"], truncation=0.7)
    error = oracles.rel_err(np.asarray(picture).transpose(0, 3, 1, 2), golden["z_trunc07.image"])
    assert error <= max(2 * golden["z_trunc07.image.torch_f32_rel_err"], 2e-6)
    printed = capsys.readouterr().out
    assert "32²" in printed
    assert "24 24 16 8" in printed


@pytest.mark.parametrize("name", ["nvlabs_tiny.pkl", "nvlabs_tiny_torch2.pkl"])
def test_nvlabs_pickles_draw_the_recorded_picture(name, tmp_path):
    golden = oracles.golden("nvlabs_tiny")
    generator = converted(oracles.DATA / "nvlabs_tiny" / name, tmp_path)
    assert generator.config.conv_clamp == 256
    picture = generator(golden["in.z0"], truncation=0.7)
    error = oracles.rel_err(np.asarray(picture).transpose(0, 3, 1, 2), golden["const_psi07.image"])
    assert error <= max(2 * golden["const_psi07.image.torch_f32_rel_err"], 2e-6)


def tensors() -> dict[str, np.ndarray]:
    """Return ros_tiny's state dict."""
    return recipe.state_dict(TINY)


@pytest.mark.parametrize("layout", ["bare", "decoder", "safetensors"])
def test_other_layouts_give_the_same_table(layout, tmp_path):
    state = tensors()
    if layout == "bare":
        np.savez(tmp_path / "g.npz", **state)
        saved = checkpoint_file.load(tmp_path / "g.npz")
    elif layout == "safetensors":
        numpy_file = pytest.importorskip("safetensors.numpy")
        numpy_file.save_file(state, tmp_path / "g.safetensors")
        saved = checkpoint_file.load(tmp_path / "g.safetensors")
    else:
        saved = {
            "state_dict": {f"decoder.{k}": v for k, v in state.items()}
            | {"encoder.x": state["noises.noise_0"]}
        }
    _, table, _, origin = stylegan.convert(stylegan.find(saved, "g"))
    reference = stylegan.convert(
        stylegan.Found("rosinality", "g", state, np.zeros(32, np.float32))
    )[1]
    assert "mapped samples" in origin
    assert fingerprint({**table, "latent_avg": reference["latent_avg"]}) == fingerprint(reference)


def test_the_computed_mean_latent_is_the_mean_of_mapped_samples():
    config, table, _, _ = stylegan.convert(stylegan.Found("rosinality", "g", tensors()))
    model = weights.load(weights.abstract(GENERATOR.network_class(), config), table)
    w = np.asarray(model.mapping(jax.random.normal(jax.random.key(5), (50_000, 32))))
    spread = w.std(0) * np.sqrt(1 / 50_000 + 1 / generators.MEAN_SAMPLES)
    assert np.abs((table["latent_avg"] - w.mean(0)) / spread).max() < 6


def test_everything_wrong_is_reported_at_once(tmp_path):
    state = tensors()
    del state["convs.1.activate.bias"], state["style.3.bias"]
    state["extra.weight"] = np.zeros(3, np.float32)
    state["convs.4.conv.modulation.weight"] = np.zeros((5, 32), np.float32)
    np.savez(tmp_path / "g.npz", **state)
    with pytest.raises(UserError) as caught:
        stylegan.main(
            stylegan.Options(file=tmp_path / "g.npz", name="tiny", checkpoints=tmp_path / "out")
        )
    for sign in [
        "4 tensors differ",
        "missing: convs.1.activate.bias",
        "missing: style.3.bias",
        "unknown: extra.weight [3]",
        "misshapen: convs.4.conv.modulation.weight is [5, 32]",
    ]:
        assert sign in "\n".join([str(caught.value), *caught.value.notes])
    assert not (tmp_path / "out").exists()


def test_another_filter_is_refused():
    state = tensors()
    state["convs.0.conv.blur.kernel"] = np.ones((4, 4), np.float32)
    with pytest.raises(
        UserError, match=r"convs\.0\.conv\.blur\.kernel is not the \[1, 3, 3, 1\] filter"
    ):
        stylegan.convert(stylegan.Found("rosinality", "g", state))


@pytest.mark.parametrize(
    ("saved", "sentence"),
    [
        ({"net": 1}, "a dict of 'net', wanted a StyleGAN2 generator"),
        ([1], "holds a list, wanted"),
        ({"g_ema": {"a": np.zeros(3)}}, "it has no 'conv1.conv.weight'"),
        (
            {"G_ema": checkpoint_file.Record("Generator", {"c_dim": 10})},
            "10 classes, architecture 'skip' and 3 colours",
        ),
    ],
)
def test_foreign_contents_are_named(saved, sentence):
    with pytest.raises(UserError, match=sentence):
        stylegan.convert(stylegan.find(saved, "file.pt"))


def test_command_ends_with_one_sentence_and_code_2(tmp_path):
    command = [
        sys.executable,
        "-m",
        "convert.stylegan",
        str(FILES / "cut_zip.pt"),
        "--checkpoints",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_metadata_is_readable(tmp_path):
    converted(FILES / "ros_tiny.pt", tmp_path)
    stored = json.loads((tmp_path / "tiny" / "generator" / "metadata.json").read_text())
    assert stored["config"]["channels"] == [24, 24, 16, 8]
    assert stored["source"]["file"] == "ros_tiny.pt"
    assert stored["source"]["sha256"].startswith("960cbd84")
    assert len(stored["source"]["mean_latent"]["values"]) == 32
    table = weights.read(tmp_path / "tiny" / "generator" / "weights")
    assert stored["weights_sha256"] == fingerprint(table)
    assert stored["parameters"] == weights.count(table)


def test_a_table_with_a_hole_is_a_fault_of_ours():
    with pytest.raises(LookupError, match="no rule for a"):
        rules.apply([], [], {"a": jax.ShapeDtypeStruct((1,), np.float32)}, {})
