"""Published files with one thing wrong: every converter refuses them in one sentence, code 2.

The files are pickles of NumPy arrays, which the reader takes as it takes PyTorch's.
"""

import os
import pickle
import re

import numpy as np
import pytest

from convert import directions, emotion, hyperstyle, inception, psp, stylegan, systems
from convert.reader import checkpoint_file, schema
from convert.rules import Rule, apply
from emojax.runtime.cli import run_command
from emojax.runtime.errors import LONGEST, UserError
from tests.convert.test_rules import expected
from tests.data import recipe
from tests.support import oracles, score_world

FILES = oracles.DATA / "files"
TENSORS = recipe.state_dict(recipe.load_manifest(FILES / "ros_tiny.manifest.json"))
MEAN = np.zeros(32, np.float32)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def doubled(times=60):
    """A list of 2⁶⁰ items in 60 lists: to print it would never end."""
    value = ["x"]
    for _ in range(times):
        value = [value, value]
    return value


def generator(**changes):
    return {"g_ema": {**TENSORS, **changes}, "latent_avg": MEAN}


def encoder(options=None, **changes):
    opts = {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": True}
    state = {f"decoder.{name}": array for name, array in TENSORS.items()}
    found = {"state_dict": state, "opts": {**opts, **(options or {})}, "latent_avg": MEAN}
    return {**found, **changes}


def nan(array):
    array = np.array(array)
    array.reshape(-1)[-1] = np.nan
    return array


WEIGHT = "convs.1.conv.weight"

GENERATORS = {
    "a weight of NaN": (generator(**{WEIGHT: nan(TENSORS[WEIGHT])}), f"{WEIGHT} holds NaN"),
    "a weight too large for float32": (
        generator(**{WEIGHT: TENSORS[WEIGHT].astype("f8") * 1e300}),
        f"{WEIGHT} holds NaN or infinity",
    ),
    "a complex weight": (
        generator(**{WEIGHT: TENSORS[WEIGHT].astype("c8")}),
        f"mistyped: {WEIGHT} is complex64",
    ),
    "a weight of whole numbers": (
        generator(**{WEIGHT: np.zeros(TENSORS[WEIGHT].shape, "i4")}),
        "mistyped: .* is int32",
    ),
    "a filter of text": (
        generator(**{"convs.0.conv.blur.kernel": np.full((4, 4), "x")}),
        "convs.0.conv.blur.kernel is <U1",
    ),
    "a filter of zeros": (
        generator(**{"convs.0.conv.blur.kernel": np.zeros((4, 4), "f4")}),
        "is not the .1, 3, 3, 1. filter",
    ),
    "a weight without axes": (generator(**{"style.1.weight": np.float32(1)[...]}), "too few axes"),
    "noise without axes": (generator(**{"noises.noise_0": np.zeros(1, "f4")}), "misshapen"),
    "a bias without axes": (generator(**{"conv1.activate.bias": np.array(1.0)}), "too few axes"),
    "integer keys": ({"g_ema": {1: MEAN}}, "names a tensor by an int, wanted text"),
    "a name of a megabyte": (generator(**{"x" * 10**6: MEAN}), "a name of 1000000 letters"),
    "100,000 mapping layers": (
        generator(**{f"style.{i}.bias": MEAN for i in range(9, 20_000)}),
        "20000 mapping layers|19999 mapping layers",
    ),
    "many resolutions": (
        generator(
            **{
                key: TENSORS["convs.1.activate.bias"]
                for i in range(40)
                for key in (f"convs.{2 * i + 1}.activate.bias", f"to_rgbs.{i}.bias")
            }
        ),
        "41 resolutions",
    ),
    "a layer of no width": (generator(**{"style.1.weight": np.zeros((32, 0), "f4")}), "0 to"),
    "a mean without axes": (
        {**generator(), "latent_avg": np.array(1.0)},
        "latent_avg of .* is float",
    ),
    "a mean of lists": ({**generator(), "latent_avg": [0.0] * 32}, "latent_avg of .* is a list"),
    "a complex mean": ({**generator(), "latent_avg": MEAN.astype("c8")}, "is complex64"),
    "a mean of NaN": ({**generator(), "latent_avg": nan(MEAN)}, "latent_avg of .* holds NaN"),
    "a mean of text": ({**generator(), "latent_avg": MEAN.astype("U1")}, "is <U1"),
    "a mean of another width": ({**generator(), "latent_avg": MEAN[:9]}, "has 9 values"),
    "names with escape codes": (generator(**{"\x1b[2J\nerror: fine": MEAN}), r"\\x1b\[2J\\nerror"),
    "a cycle": ((lambda value: value.append(value) or value)([]), "holds a list, wanted"),
    "keys of many kinds": ({1: 2, ("a", 3): 4}, "a dict of 1, .'a', 3., wanted"),
}

ENCODERS = {
    "opts that are a list": (encoder(opts=[1]), "wanted a file of pSp, e4e, HyperStyle or HFGI"),
    "integer keys": (encoder(state_dict={1: MEAN}), "names a tensor by an int"),
    "a type that is a list": (encoder({"encoder_type": nested(200)}), "encoder_type .* is a list"),
    "a type without end": (encoder({"encoder_type": doubled()}), "encoder_type .* is a list"),
    "channels in an array": (
        encoder({"input_nc": np.ones(3)}),
        "input_nc .* is a ndarray|an ndarray",
    ),
    "a flag in an array": (encoder({"start_from_latent_avg": np.ones(3)}), "start_from_latent_avg"),
    "a list as the mean": (encoder(latent_avg=[1.0]), "latent_avg of .* is a list"),
    "a mean without axes": (encoder(latent_avg=np.array(1.0)), "latent_avg of .* is float64"),
    "a complex mean": (encoder(latent_avg=np.ones((18, 512), "c8")), "is complex64"),
}

HYPERNETS = {
    "a malformed layer number": (
        {f"hypernet.refinement_blocks.{n}.linear.bias": MEAN for n in ("x", "", "1e9", "-1")},
        {},
        "cannot be refined",
    ),
    "layers that are a list": ({}, {"layers_to_tune": [1, 2]}, "layers_to_tune .* is a list"),
    "layers that are words": ({}, {"layers_to_tune": "a,b"}, "layers_to_tune 'a,b' cannot"),
}


def refusal(tmp_path, capsys, main, options, contents):
    """Write a file, convert it by the command, and return what it says."""
    file = tmp_path / "a.pkl"
    file.write_bytes(pickle.dumps(contents))
    made = options(file, name="x", checkpoints=tmp_path / "out")
    assert run_command(lambda: main(made)) == 2
    said = capsys.readouterr().err
    first, *notes = said.splitlines()
    assert first.startswith("error: ")
    assert len(first) <= len("error: ") + LONGEST
    assert all(note.startswith("  ") and note.isprintable() for note in notes)
    assert not (tmp_path / "out").exists()
    return said


@pytest.mark.parametrize("case", GENERATORS)
def test_generator(case, tmp_path, capsys):
    contents, reason = GENERATORS[case]
    said = refusal(tmp_path, capsys, stylegan.main, stylegan.Options, contents)
    assert re.search(reason, said)


@pytest.mark.parametrize("case", ENCODERS)
def test_encoder(case, tmp_path, capsys):
    contents, reason = ENCODERS[case]
    assert re.search(reason, refusal(tmp_path, capsys, psp.main, psp.Options, contents))


@pytest.mark.parametrize("case", HYPERNETS)
def test_hypernet(case, tmp_path, capsys):
    tensors, chosen, reason = HYPERNETS[case]
    contents = encoder({"encoder_type": hyperstyle.ENCODER_TYPE, **chosen})
    contents["state_dict"] |= tensors
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(encoder({"encoder_type": "WEncoder"})))

    def options(file, **given):
        return hyperstyle.Options(file, w_encoder=tmp_path / "w.pkl", **given)

    assert re.search(reason, refusal(tmp_path, capsys, hyperstyle.main, options, contents))


NVLABS = {
    "arguments that are a list": ({"_init_kwargs": [1]}, "has no 'synthesis|no modulated"),
    "a clamp in words": (
        {"_init_kwargs": {"synthesis_kwargs": {"conv_clamp": "high"}}},
        "conv_clamp in the file is a str, wanted int or float",
    ),
    "a clamp below 0": (
        {"_init_kwargs": {"synthesis_kwargs": {"conv_clamp": -1}}},
        "clamps convolutions to -1",
    ),
    "an architecture without end": (
        {"_init_kwargs": {"synthesis_kwargs": {"architecture": doubled()}}},
        "architecture in the file is a list, wanted str",
    ),
    "countless classes": ({"c_dim": 10**400}, "c_dim in the file is no number from"),
    "a clamp of NaN": (
        {"_init_kwargs": {"synthesis_kwargs": {"conv_clamp": float("nan")}}},
        "conv_clamp in the file is no number from",
    ),
    "classes in an array": ({"c_dim": np.ones(3)}, "c_dim in the file is an? ndarray, wanted int"),
    "modules that are a list": ({"_modules": [1]}, "_modules is a list"),
}


@pytest.mark.parametrize("case", NVLABS)
def test_nvlabs_network(case):
    state, reason = NVLABS[case]
    network = checkpoint_file.Record("Generator", {"_parameters": {}, **state})
    with pytest.raises(UserError, match=reason):
        stylegan.convert(stylegan.find({"G_ema": network}, "a.pkl"))


def test_nvlabs_object_without_attributes():
    with pytest.raises(UserError, match="not a network"):
        stylegan.find({"G_ema": checkpoint_file.Record("Generator", (1, 2))}, "a.pkl")
    with pytest.raises(UserError, match="G_ema is a list, wanted a pickled generator"):
        stylegan.find({"G_ema": [1]}, "a.pkl")


CLASSIFIERS = {
    "integer keys": ({1: MEAN}, "named by a int"),
    "a bias without axes": (
        {"conv_head.weight": np.zeros((8, 8, 1, 1)), "classifier.bias": np.array(1.0)},
        "no classifier of the right shape",
    ),
    "something else than arrays": ({"conv_head.weight": [1]}, "is a list; pass the part"),
}


@pytest.mark.parametrize("case", CLASSIFIERS)
@pytest.mark.parametrize("module", [emotion, inception])
def test_classifier(module, case, tmp_path, capsys):
    contents, reason = CLASSIFIERS[case]
    said = refusal(tmp_path, capsys, module.main, module.Options, contents)
    if module is emotion:
        assert re.search(reason, said)


DIRECTIONS = {
    "complex numbers": (np.ones(16, "c8"), "type complex64"),
    "text": (np.full(16, "x"), "type <U1"),
    "10⁶ components": ({"lat_comp": np.ones((10**6, 1))}, "holds 1000000 components"),
    "no components": ({"lat_comp": np.ones((0, 16))}, "holds 0 components"),
    "a table of text": ({"age": np.full(16, "x")}, "type <U1"),
    "integer keys": ({1: np.ones(16)}, "names a tensor by an int"),
    "a claim of 10¹³ values": (
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, "
        b"'shape': (10000000000000,), }  \n",
        r"claims \(10000000000000,\)",
    ),
    "a zip archive": (b"PK\x03\x04" + bytes(100), "the header of an array is damaged"),
    "a header of brackets": (
        b"\x93NUMPY\x01\x00\x88\x13" + b"(" * 5000,
        "the header of an array is damaged",
    ),
}


@pytest.mark.parametrize("case", DIRECTIONS)
def test_directions(case, tmp_path):
    contents, reason = DIRECTIONS[case]
    if isinstance(contents, bytes):
        (tmp_path / "age.npy").write_bytes(contents)
    elif isinstance(contents, np.ndarray):
        np.save(tmp_path / "age.npy", contents)
    file = tmp_path / ("age.pkl" if isinstance(contents, dict) else "age.npy")
    if isinstance(contents, dict):
        file.write_bytes(pickle.dumps(contents))
    with pytest.raises(UserError, match=reason):
        directions.stacked(directions.read(file), score_world.GENERATOR)


def test_finiteness_costs_one_pass_and_no_false_alarm():
    largest = np.full(1000, np.finfo(np.float32).max)  # whose sum is infinite
    assert schema.all_finite(largest)
    assert schema.all_finite(largest.astype("f8"))
    assert schema.all_finite(np.full(10**5, 60_000, np.float16))
    assert schema.all_finite(np.array([2**60]))
    for bad in (np.nan, np.inf, -np.inf):
        assert not schema.all_finite(np.append(largest, np.float32(bad)))
        assert not schema.all_finite(np.array([1, bad], schema._SMALL_FLOATS[0]))
    table, _ = apply([Rule("kernel", "w")], [], expected(2), {"w": np.float32([0, np.inf])})
    with pytest.raises(UserError, match="w holds NaN or infinity"):
        np.asarray(table["kernel"])


def test_pipes_are_refused_by_every_converter(tmp_path):
    for name in ("a.pt", "a.npy"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match="a pipe or a device"):
            directions.read(tmp_path / name)
    with pytest.raises(UserError, match="a pipe or a device"):
        systems.load(tmp_path / "a.pt", "stylegan")
