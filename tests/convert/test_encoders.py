"""Published layouts of pSp, e4e and HyperStyle files become bundles."""

import dataclasses

import numpy as np
import pytest

from convert import hfgi as convert_hfgi
from convert import hyperstyle as convert_hyperstyle
from convert import psp as convert_psp
from convert import systems
from convert.reader import checkpoint_file
from emojax.models import hfgi, hyperstyle, psp, stylegan2
from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError
from emojax.store import bundle, weights
from emojax.store.parts import GENERATOR, PSP
from tests.support import encoder_cases as cases
from tests.support import oracles

ARCHITECTURES = {"psp_ffhq": "gradual", "psp_w": "w", "psp_wplus": "w_plus", "e4e_ffhq": "e4e"}


def shaped(manifest, prefix):
    """The state dict of a case as arrays that take no memory: right shapes, no values."""
    return {
        entry["key"]: np.broadcast_to(np.zeros((), entry["dtype"]), entry["shape"])
        for entry in manifest["entries"]
        if entry["key"].startswith(prefix)
    }


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_every_tensor_finds_its_place(case):
    manifest = oracles.manifest(case)
    state = shaped(manifest, "encoder.")
    mean = cases.latent_avg(manifest)
    config, table, ignored = convert_psp.convert(state, ARCHITECTURES[case], 18, mean)
    assert table.keys() == weights.flatten(weights.abstract(psp.Encoder, config)).keys()
    assert len(table) + len(ignored) == len(state) + 1
    missing = dict(state)
    del missing["encoder.body.7.res_layer.3.weight"]
    with pytest.raises(UserError, match=r"missing: body\.7\.res_layer\.3\.weight"):
        convert_psp.convert(missing, ARCHITECTURES[case], 18, mean)
    with pytest.raises(UserError, match="unknown: extra"):
        convert_psp.convert({**state, "encoder.extra": np.zeros(3)}, ARCHITECTURES[case], 18, mean)
    with pytest.raises(UserError, match="latent_avg has 5 rows"):
        convert_psp.convert(state, ARCHITECTURES[case], 18, mean[:1].repeat(5, 0))


def hypernet_state():
    manifest = oracles.manifest("hyperstyle_ffhq")
    state = shaped(manifest, "hypernet.")
    state.update({name: state[source] for name, source in manifest["aliases"].items()})
    return state, manifest["config"]["opts"]["layers_to_tune"]


CHANNELS = hyperstyle.HypernetConfig().channels


def test_hypernetwork_with_its_aliases():
    state, layers = hypernet_state()
    config, table, ignored = convert_hyperstyle.convert(state, layers, CHANNELS)
    assert config == hyperstyle.HypernetConfig()
    assert sum(reason == "another name of a shared tensor" for reason in ignored.values()) == 36
    assert len(table) + len(ignored) == len(state)
    again, _, _ = convert_hyperstyle.convert(state, "", CHANNELS)  # all the file has blocks for
    assert again == config
    with pytest.raises(UserError, match="cannot be refined"):
        convert_hyperstyle.convert(state, "0,1,2", CHANNELS)
    name = "hypernet.refinement_blocks.3.hypernet.b1"
    damaged = {**state, name: state[name] + 1}
    with pytest.raises(UserError, match=r"refinement_blocks\.3\.hypernet\.b1 differs"):
        convert_hyperstyle.convert(damaged, layers, CHANNELS)
    del state["hypernet.conv1.weight"]
    with pytest.raises(UserError, match=r"missing: conv1\.weight"):
        convert_hyperstyle.convert(state, layers, CHANNELS)


def decoder(seed=0):
    """A rosinality generator of 64² with few channels, as a file of the pSp family carries it."""
    rng, widths, state = np.random.default_rng(seed), [8] * 5, {}

    def add(key, *shape):
        state[f"decoder.{key}"] = rng.standard_normal(shape).astype(np.float32)

    def layer(key, inputs, outputs, size, noise):
        add(f"{key}.conv.weight", 1, outputs, inputs, size, size)
        add(f"{key}.conv.modulation.weight", inputs, 512)
        add(f"{key}.conv.modulation.bias", inputs)
        if noise:
            add(f"{key}.noise.weight", 1)
            add(f"{key}.activate.bias", outputs)
        else:
            add(f"{key}.bias", 1, 3, 1, 1)

    add("style.1.weight", 512, 512)
    add("style.1.bias", 512)
    add("input.input", 1, widths[0], 4, 4)
    layer("conv1", 8, 8, 3, noise=True)
    layer("to_rgb1", 8, 3, 1, noise=False)
    for i in range(8):
        layer(f"convs.{i}", 8, 8, 3, noise=True)
    for i in range(4):
        layer(f"to_rgbs.{i}", 8, 3, 1, noise=False)
    for i in range(9):
        side = 4 * 2 ** ((i + 1) // 2)
        add(f"noises.noise_{i}", 1, 1, side, side)
    return state


def saved(seed=0, **opts):
    state = decoder(seed)
    rng = np.random.default_rng(1)
    for key, array in shaped(oracles.manifest("psp_w"), "encoder.").items():
        state[key] = (rng.standard_normal(array.shape) * 0.02).astype(array.dtype)
    chosen = {
        "encoder_type": "BackboneEncoderUsingLastLayerIntoW",
        "start_from_latent_avg": True,
        **opts,
    }
    mean = np.ones((1, 512), np.float32)
    return {"state_dict": state, "opts": chosen, "latent_avg": mean}


@pytest.fixture(scope="module")
def small_file():
    return saved()


@pytest.fixture
def convert(monkeypatch, tmp_path):
    """Run the command on an object in place of a file."""

    def run(contents, **changes):
        monkeypatch.setattr(checkpoint_file, "load", lambda file: contents)
        file = tmp_path / "psp.pt"
        file.touch()
        options = convert_psp.Options(file, name="small", checkpoints=tmp_path / "checkpoints")
        convert_psp.main(dataclasses.replace(options, **changes))
        return tmp_path / "checkpoints" / "small"

    return run


def test_encoder_and_decoder_are_written_once(convert, small_file, capsys):
    folder = convert(small_file)
    first = bundle.find(folder).metadata(GENERATOR)
    encoder = bundle.find(folder).load(PSP)
    assert encoder.config.architecture == "w"
    assert encoder.config.n_styles == 10
    np.testing.assert_array_equal(encoder.latent_avg[...], np.ones((1, 512)))
    stamp = (folder / "generator" / "metadata.json").stat().st_mtime_ns
    convert(small_file)  # the same decoder: left as it is
    assert (folder / "generator" / "metadata.json").stat().st_mtime_ns == stamp
    assert bundle.find(folder).metadata(PSP).source["generator_sha256"] == first.weights_sha256
    assert "counts training steps" in capsys.readouterr().out


def test_another_generator_needs_a_word(convert, small_file):
    folder = convert(small_file)
    before = bundle.find(folder).sha256(GENERATOR)
    other = {**small_file, "state_dict": {**small_file["state_dict"], **decoder(seed=5)}}
    with pytest.raises(UserError, match=r"is not the generator of .*--other-generator replace"):
        convert(other)
    convert(other, other_generator="keep")
    assert bundle.find(folder).sha256(GENERATOR) == before
    convert(other, other_generator="replace")
    after = bundle.find(folder).sha256(GENERATOR)
    assert after != before
    assert bundle.find(folder).metadata(PSP).source["generator_sha256"] == after


def test_without_the_average_nothing_is_added(convert, small_file):
    opts = {**small_file["opts"], "start_from_latent_avg": False}
    assert bundle.find(convert({**small_file, "opts": opts})).load(PSP).latent_avg is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"opts": {"encoder_type": "ResNetGradualStyleEncoder"}},
            "holds a ResNetGradualStyleEncoder",
        ),
        ({"opts": {"encoder_type": "GradualStyleEncoder", "input_nc": 19}}, "of 19 input channels"),
        ({"opts": None}, "wanted a file of pSp, e4e, HyperStyle or HFGI with state_dict and opts"),
    ],
)
def test_foreign_files_end_in_one_sentence(convert, small_file, capsys, change, sentence):
    assert run_command(lambda: convert({**small_file, **change})) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("error: ") == 1


def test_options_may_be_a_namespace():
    record = checkpoint_file.Record("argparse.Namespace", {"encoder_type": "WEncoder"})
    found = convert_psp.checked({"opts": record, "state_dict": {}}, "file").options
    assert found["encoder_type"] == "WEncoder"


def test_every_tensor_of_hfgi_finds_its_place():
    state = shaped(oracles.manifest("hfgi_ffhq"), ("residue.", "grid_align."))
    published = stylegan2.GeneratorConfig.published(1024)
    config, table, ignored = convert_hfgi.convert(state, published)
    assert config == hfgi.HFGIConfig()
    assert len(table) + len(ignored) == len(state) == 400
    assert weights.count(table) == 5_647_344 + 596_801 + 5_016  # and running statistics
    assert {*ignored.values()} == {"counts training steps"}
    lean = {key: array for key, array in state.items() if "condition_scale3.2.bias" not in key}
    with pytest.raises(UserError, match=r"missing: residue\.condition_scale3\.2\.bias"):
        convert_hfgi.convert(lean, published)


def test_hfgis_file_is_told_from_e4es_and_refused_with_a_small_generator(tmp_path):
    contents = saved()
    contents["opts"]["encoder_type"] = "Encoder4Editing"
    assert systems.system_of(contents) is systems.E4E
    rng = np.random.default_rng(2)
    for key, array in shaped(oracles.manifest("hfgi_ffhq"), ("residue.", "grid_align.")).items():
        contents["state_dict"][key] = rng.uniform(0.1, 1, array.shape).astype(array.dtype)
    assert systems.system_of(contents) is systems.HFGI
    with pytest.raises(UserError, match=r"take pictures of 256², the generator draws 64²"):
        convert_hfgi.convert(contents["state_dict"], stylegan2.GeneratorConfig((8,) * 5))
