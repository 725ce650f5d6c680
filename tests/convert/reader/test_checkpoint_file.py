"""The checkpoint reader: recorded files read exactly, hostile and damaged ones are refused.

Values are compared bit by bit: a reader computes nothing, so no tolerance applies.
"""

import hashlib
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from convert.reader.checkpoint_file import Name, Record, load, state_dict
from emojax.runtime.errors import UserError
from tests.data import recipe
from tests.support.oracles import DATA

FILES = DATA / "files"
INDEX = {entry["file"]: entry for entry in json.loads((FILES / "index.json").read_text())["files"]}
CANARY = Path("/tmp/pwned_emojax")  # what every hostile file would create


def named(expect):
    return [name for name, entry in INDEX.items() if entry["expect"] == expect]


def read_json(name):
    return json.loads((FILES / name).read_text())


@pytest.fixture(autouse=True)
def _nothing_runs():
    CANARY.unlink(missing_ok=True)
    yield
    assert not CANARY.exists()


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def assert_tensor(array, expected):
    assert isinstance(array, np.ndarray)
    assert list(array.shape) == expected["shape"]
    assert array.dtype.name == expected["dtype"]
    assert digest(array) == expected["sha256_of_c_order_bytes"]
    if array.size and "stride" in expected:
        assert array.strides == tuple(n * array.itemsize for n in expected["stride"])


def assert_state(weights, expected):
    assert list(weights) == list(expected)
    for name, entry in expected.items():
        assert_tensor(weights[name], entry)


def decoded(value):
    """What `load` must give for a value in the notation of the expected.json files."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = [(k, v) for k, v in value.items() if k != "dtype"]
    match kind:
        case "dict":
            return {key: decoded(item) for key, item in content}
        case "namespace":
            return ("argparse.Namespace", {key: decoded(item) for key, item in content})
        case "list" | "set":
            return {"list": list, "set": set}[kind](decoded(content))
        case "tuple" | "torch.Size":
            return tuple(decoded(content))
        case "int" | "float":
            return {"int": int, "float": float}[kind](content)
        case "bytes_hex":
            return bytes.fromhex(content)
        case "torch.dtype":
            return Name(content)
        case "tensor" if isinstance(content, list):
            return ("tensor", content, value["dtype"].removeprefix("torch."))
        case "tensor" | "value":
            return content
    raise ValueError(kind)


def simplified(value):
    """The loaded value in the form of `decoded`."""
    match value:
        case dict():
            return {key: simplified(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(simplified(item) for item in value)
        case Record():
            return (value.kind, simplified(value.state))
    return value


def assert_same(value, expected):
    """Compare with tensors by digest or values, floats with NaN, types strictly."""
    if isinstance(expected, dict) and "sha256_of_c_order_bytes" in expected:
        assert_tensor(value, expected)
    elif isinstance(value, np.ndarray):
        assert ("tensor", value.tolist(), value.dtype.name) == expected
    elif isinstance(expected, dict):
        assert list(value) == list(expected)
        for key in expected:
            assert_same(value[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert type(value) is type(expected)
        assert len(value) == len(expected)
        for item, wanted in zip(value, expected, strict=True):
            assert_same(item, wanted)
    else:
        assert type(value) is type(expected)
        assert repr(value) == repr(expected)  # NaN equals itself this way


# ---- recorded files


def test_every_recorded_file_has_a_test():
    tested = {"refuse", "load", "load_damaged"}
    assert {entry["expect"] for entry in INDEX.values()} == tested
    for name, entry in INDEX.items():
        assert hashlib.sha256((FILES / name).read_bytes()).hexdigest() == entry["sha256"]


@pytest.mark.parametrize("name", [name for name in named("load") if name.startswith("ros_tiny")])
def test_state_dict_file(name):
    saved = load(FILES / name)
    expected = read_json("ros_tiny.expected.json")
    assert list(saved) == ["g_ema", "latent_avg"]
    assert_state(saved["g_ema"], expected["g_ema"])
    assert_tensor(saved["latent_avg"], expected["latent_avg"])
    manifest = recipe.load_manifest(FILES / "ros_tiny.manifest.json")
    for key, drawn in recipe.state_dict(manifest).items():
        if key in saved["g_ema"]:
            np.testing.assert_array_equal(saved["g_ema"][key], drawn)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(f"{stem}.pt", f"{stem}.expected.json") for stem in ("training_style", "inversion_style")],
)
def test_nested_containers(name, expected):
    assert_same(simplified(load(FILES / name)), decoded(read_json(expected)))


def test_plain_objects():
    expected = decoded(read_json("odd_objects.expected.json"))
    assert_same(simplified(load(FILES / "odd_objects.pt")), expected)


@pytest.mark.parametrize("name", ["odd_tensors.pt", "odd_tensors_legacy.pt"])
def test_odd_tensors(name):
    saved = load(FILES / name)
    assert_state(saved, read_json("odd_tensors.expected.json"))
    with np.load(FILES / "odd_tensors.npz") as values:
        for key, array in saved.items():
            if array.dtype == ml_dtypes.bfloat16:
                np.testing.assert_array_equal(array.view(np.uint16), values[f"{key}__bits"])
                array = array.astype(np.float32)
            np.testing.assert_array_equal(array, values[key])
    assert not any(array.flags.writeable for array in saved.values() if array.size)
    assert np.shares_memory(saved["base"], saved["same_again"])
    assert np.shares_memory(saved["base"], saved["overlap_view"])
    assert not np.shares_memory(saved["base"], saved["half"])


def test_numpy_objects():
    saved = load(FILES / "numpy_objects.pt")
    expected = read_json("numpy_objects.expected.json")
    assert {key: np.asarray(value).tolist() for key, value in saved.items()} == expected
    assert saved["f_order"].flags.f_contiguous
    assert isinstance(saved["scalar"], np.floating)
    assert isinstance(saved["int_scalar"], np.integer)


@pytest.mark.parametrize("name", sorted(path.name for path in FILES.glob("hsemotion_tiny*.pt")))
def test_whole_timm_module(name):
    module = load(FILES / name)
    assert module.kind == "timm.models.efficientnet.EfficientNet"
    assert "EfficientNet: training" in repr(module)
    weights = state_dict(module)
    with np.load(FILES / "hsemotion_tiny_state.npz") as expected:
        assert list(weights) == list(expected)
        for key in expected:
            assert weights[key].dtype == expected[key].dtype
            np.testing.assert_array_equal(weights[key], expected[key])


@pytest.mark.parametrize("name", ["nvlabs_tiny.pkl", "nvlabs_tiny_torch2.pkl"])
def test_nvlabs_snapshot(name):
    expected = json.loads((DATA / "nvlabs_tiny/expected.json").read_text())
    saved = load(DATA / "nvlabs_tiny" / name)
    assert list(saved) == list(expected["top_level"])
    assert saved["training_set_kwargs"] == expected["training_set_kwargs"]
    for part in ("G", "D", "G_ema", "augment_pipe"):
        network = saved[part]
        assert network.kind == expected[part]["class_name"]
        assert network.state["training"] == expected[part]["training"]
        assert network.state["_init_kwargs"] == expected[part]["init_kwargs"]
        weights, tensors = state_dict(network), expected[part]["tensors"]
        assert set(weights) == set(tensors)
        for key, entry in tensors.items():
            assert_tensor(weights[key], entry)


def test_torchscript_archive():
    module = load(DATA / "script_tiny.pt")
    assert module.kind == "__torch__.Net"
    assert module.state["sizes"] == [1, 2]
    weights = state_dict(module)
    assert list(weights)[:4] == ["gain", "mean", "blocks.0.conv.weight", "blocks.0.norm.weight"]
    assert list(weights)[-3:] == ["blocks.1.norm.num_batches_tracked", "head.weight", "head.bias"]
    for index, array in enumerate(weights.values()):  # tensor i holds 100·i, 100·i + 1, ...
        assert array.ravel().tolist() == list(range(100 * index, 100 * index + array.size))


def test_damage_that_cannot_show_changes_one_tensor():
    name = "flip_legacy_data.pt"
    damaged = load(FILES / name)["g_ema"]
    sound = load(FILES / "ros_tiny_legacy.pt")["g_ema"]
    assert [k for k in sound if digest(sound[k]) != digest(damaged[k])] == INDEX[name][
        "changed_tensors"
    ]


REASONS = {
    "sparse.pt": r"torch\._utils\._rebuild_sparse_tensor",
    "evil_eval.pkl": r"would call builtins\.eval",
    "evil_dotted.pkl": r"would call torch\.serialization\.os\.system",
    "evil_build.pkl": r"would change the attributes of torch\._utils\._rebuild_tensor_v2",
    "bad_size_zip.pt": r"shape \(1000, 1000\).*beyond its storage of 16",
    "bad_offset_zip.pt": r"offset 14 reaches beyond its storage of 16",
    "bad_numel_zip.pt": r"1099511627776 values.*holds 64 bytes",
    "cut_zip.pt": "not a zip file",
    "cut_zip_tail.pt": "not a zip file",
    "cut_legacy_data.pt": "cut short",
    "cut_legacy_pickle.pt": "too short for its storage",
    "flip_zip_data.pt": r"Bad CRC-32 for file 'ros_tiny/data/3'",
    "flip_zip_pickle.pt": r"Bad CRC-32 for file 'ros_tiny/data.pkl'",
    "flip_zip_directory.pt": "file header",
    "flip_legacy_magic.pt": "magic number",
    "missing_record.pt": r"ros_tiny/data/5' is missing",
    "empty.pt": "is empty",
    "html.pt": "begins like no checkpoint",
}


@pytest.mark.parametrize("name", named("refuse"))
def test_refused(name):
    reason = REASONS.get(name, r"would call posix\.system; nothing was executed")
    with pytest.raises(UserError, match=reason) as caught:
        load(FILES / name)
    message = str(caught.value)
    assert message.startswith(str(FILES / name))
    assert "\n" not in message
    assert len(message) < len(str(FILES / name)) + 400


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load(tmp_path / "nothing.pt")
    with pytest.raises(UserError, match="Is a directory"):
        load(tmp_path)
