"""Parts of a bundle go out again under their published names, and come back bit for bit."""

import json
import re

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from convert import arcface, contents, file_set, hfgi, hyperstyle, inception, lpips, psp, stylegan
from convert.inverse import counters, inverted, published_shape
from convert.reader import checkpoint_file
from convert.rules import Rule, linear, source_of
from emojax.__main__ import dispatch
from emojax.models import hyperstyle as hyperstyle_network
from emojax.models.stylegan2 import GeneratorConfig
from emojax.runtime.cli import run_command
from emojax.store import bundle
from emojax.store.metadata import Metadata
from emojax.store.parts import DUALSTYLEGAN, EMOTION, GENERATOR, PARTS
from tests.convert.test_encoders import shaped
from tests.data import recipe
from tests.support import older_generators, oracles, published_set, style_set, torch_file

FILES = oracles.DATA / "files"
CHANNELS = hyperstyle_network.HypernetConfig().channels


def of_psp(case, architecture):
    manifest = oracles.manifest(case)
    state = stylegan.part_of(shaped(manifest, "encoder."), "encoder.")
    full = {f"encoder.{name}": array for name, array in state.items()}
    _, table, _ = psp.convert(full, architecture, 18, None)
    return state, table, psp.RULES


def of_hyperstyle():
    manifest = oracles.manifest("hyperstyle_ffhq")
    state = shaped(manifest, "hypernet.")
    state |= {name: state[source] for name, source in manifest["aliases"].items()}
    config, table, left = hyperstyle.convert(state, "", CHANNELS)
    state = stylegan.part_of(state, "hypernet.")
    state = {key: array for key, array in state.items() if "another" not in left.get(key, "")}
    return state, table, hyperstyle.rules(config)


def of_hfgi():
    state = shaped(oracles.manifest("hfgi_ffhq"), hfgi.PREFIXES)
    _, table, _ = hfgi.convert(state, GeneratorConfig.published(1024))
    return state, table, hfgi.RULES


def of_arcface():
    state = shaped(oracles.manifest("arcface_irse50"), "")
    return state, arcface.convert(state)[1], arcface.RULES


def of_lpips(part, case, manifest="manifest.json"):
    state = recipe.state_dict(recipe.load_manifest(oracles.DATA / case / manifest))
    _, rules = lpips.config_and_rules(PARTS[part])
    return state, lpips.convert(PARTS[part], state)[1], rules


@pytest.mark.parametrize(
    "case",
    [
        lambda: of_psp("psp_ffhq", "gradual"),
        lambda: of_psp("e4e_ffhq", "e4e"),
        lambda: of_psp("psp_w", "w"),
        lambda: of_psp("psp_wplus", "w_plus"),
        of_hyperstyle,
        of_hfgi,
        of_arcface,
        lambda: of_lpips("alexnet", "lpips_alex"),
        lambda: of_lpips("vgg16", "lpips_vgg"),
        lambda: of_lpips("lpips_vgg16", "lpips_vgg", "manifest_lin.json"),
    ],
    ids=[
        "psp",
        "e4e",
        "w",
        "w_plus",
        "hyperstyle",
        "hfgi",
        "arcface",
        "alexnet",
        "vgg16",
        "lpips_vgg16",
    ],
)
def test_tables_read_backwards_give_the_published_names_and_shapes(case):
    state, table, rules = case()
    found = {}
    for name, array in table.items():
        key, rule = source_of(name, rules)
        assert key not in found
        found[key] = published_shape(tuple(array.shape), rule)
    wanted = {key: array.shape for key, array in state.items() if "num_batches" not in key}
    assert found == wanted


def test_transforms_that_compute_are_refused():
    table = {"a": np.ones((2, 3), np.float32)}
    found = inverted({"a": np.arange(6.0).reshape(2, 3)}, [Rule("a", "b", linear)])
    np.testing.assert_array_equal(found["b"], np.arange(6.0).reshape(2, 3).T)
    for transform in (lambda a: a * 2, lambda a: a[:, :1], lambda a: a // 2):
        with pytest.raises(ValueError, match="does not only move numbers"):
            inverted(table, [Rule("a", "b", transform, lambda shape: shape)])


def export(part, name, out):
    dispatch(["export", "weights", part, "--bundle", name, "--out", str(out)])
    return safetensors.numpy.load_file(out)


def same(found, wanted):
    """Hold exported tensors against published ones; counters are 0."""
    assert found.keys() == wanted.keys()
    for key, array in wanted.items():
        if key.endswith("num_batches_tracked"):
            assert (found[key].dtype, found[key].shape) == (np.int64, ())
        else:
            np.testing.assert_array_equal(found[key], array, err_msg=key)


def test_a_generator_comes_back(here, capsys):
    file_set.main(file_set.Options((FILES / "ros_tiny.pt",), name="one"))
    saved = checkpoint_file.load(FILES / "ros_tiny.pt")
    found = export("generator", "one", here / "g.safetensors")
    state = recipe.state_dict(recipe.load_manifest(FILES / "ros_tiny.manifest.json"))
    mean = bundle.find("one").load(GENERATOR).latent_avg[...]
    same(found, state | {"latent_avg": saved.get("latent_avg", mean)})
    file_set.main(file_set.Options((here / "g.safetensors",), name="two"))
    assert bundle.find("one").sha256(GENERATOR) == bundle.find("two").sha256(GENERATOR)
    assert "tensors, " in capsys.readouterr().out


def test_a_classifier_and_dualstylegan_come_back(here):
    generator = torch_file.write(here / "a.pt", {"g_ema": style_set.generator()})
    files = (FILES / "hsemotion_tiny.pt", generator)
    file_set.main(file_set.Options(files, name="one"))
    same(export("dualstylegan", "one", here / "d.safetensors"), style_set.generator())
    found = export("emotion", "one", here / "e.safetensors")
    state = checkpoint_file.state_dict(checkpoint_file.load(files[0]))
    same(found, state)
    again = (here / "d.safetensors", here / "e.safetensors")
    file_set.main(file_set.Options(again, name="two"))
    one, two = bundle.find("one"), bundle.find("two")
    assert [one.sha256(part) for part in (EMOTION, DUALSTYLEGAN)] == [
        two.sha256(part) for part in (EMOTION, DUALSTYLEGAN)
    ]


@pytest.mark.parametrize("case", older_generators.CASES)
def test_older_generators_come_back(here, capsys, case):
    state = older_generators.small_state(case, resolutions=6)
    saved = older_generators.saved(case, {key: np.asarray(x) for key, x in state.items()})
    file = torch_file.write(here / "published.pth", saved)
    file_set.main(file_set.Options((file,), name="one"))
    capsys.readouterr()
    found = export("generator", "one", here / "g.safetensors")
    said = capsys.readouterr().out
    absent = {key for key in state if key not in found}
    assert found.keys() <= state.keys()
    same(found, {key: array for key, array in state.items() if key not in absent})
    if absent:  # of resolutions below the last; ProgressiveGAN keeps the last two
        assert all(re.search(r"output[0-4]\.|to_rgb\.[0-4]\.|RGBLayers\.[0-3]", x) for x in absent)
        assert "which conversion does not keep: ToRGB of lower resolutions" in said
    assert bool(absent) == (case not in ("dcgan64", "stylegan1_lernapparat1024"))
    file_set.main(file_set.Options((here / "g.safetensors",), name="two"))
    assert bundle.find("one").sha256(GENERATOR) == bundle.find("two").sha256(GENERATOR)


def test_networks_that_measure_come_back(here, capsys):
    """The 1000 classes of AlexNet are not kept: the terminal and the header say so."""
    state = recipe.state_dict(recipe.load_manifest(oracles.DATA / "lpips_alex/manifest.json"))
    classes = {"classifier.1.weight": np.ones((2, 2), np.float32)}
    files = (
        torch_file.write(here / "a.pth", {**state, **classes}),
        torch_file.write(here / "b.pth", published_set.lpips_weights(192)),
    )
    file_set.main(file_set.Options(files, name="one"))
    found = export("alexnet", "one", here / "a.safetensors")
    same(found, state)
    lost = "the 1000 classes play no part in LPIPS"
    assert (
        f"without classifier.*, which conversion does not keep: {lost}" in capsys.readouterr().out
    )
    with safetensors.safe_open(here / "a.safetensors", "numpy") as opened:
        assert json.loads(opened.metadata()["not_kept"]) == {"classifier.*": lost}
    same(export("lpips_alexnet", "one", here / "b.safetensors"), published_set.lpips_weights(192))
    assert "without" not in capsys.readouterr().out
    again = (here / "a.safetensors", here / "b.safetensors")
    file_set.main(file_set.Options(again, name="two"))
    for part in ("alexnet", "lpips_alexnet"):
        assert bundle.find("one").sha256(PARTS[part]) == bundle.find("two").sha256(PARTS[part])


def test_inception_comes_back_without_its_classes():
    state = recipe.state_dict(recipe.load_manifest(oracles.DATA / "fid_inception/manifest.json"))
    _, table, left = inception.convert(state)
    found = inverted(table, inception.RULES)
    same(found | counters(found), {key: x for key, x in state.items() if "fc." not in key})
    source = {"ignored": dict.fromkeys(left.values(), 1)}
    metadata = Metadata("Inception", {}, source, "")
    held = contents.Contents({}, absent=inception.IGNORED)
    assert contents.not_kept(held, metadata) == {
        "fc.(weight|bias)": "the 1008 classes play no part in FID"
    }


@pytest.mark.slow
def test_psp_and_hyperstyle_come_back(here, tmp_path):
    published = published_set.small(tmp_path)
    kept = {part: published[part] for part in ("psp", "hyperstyle", "w_encoder")}
    file_set.main(file_set.Options(tuple(kept.values()), name="one"))
    files = {part: here / f"{part}.safetensors" for part in kept}
    for part, file in files.items():
        found = export(part, "one", file)
        saved = checkpoint_file.load(published[part])
        wanted = dict(saved["state_dict"])
        if part == "w_encoder":  # the published one has no decoder here, and no mean
            found = {key: v for key, v in found.items() if key.startswith("encoder.")}
        else:
            wanted["latent_avg"] = saved["latent_avg"]
            wanted |= {key: array for key, array in found.items() if key.endswith(".kernel")}
        same(found, wanted)
    file_set.main(file_set.Options(tuple(files.values()), name="two"))
    one, two = bundle.find("one"), bundle.find("two")
    for part in (*kept, "generator"):
        assert one.sha256(PARTS[part]) == two.sha256(PARTS[part]), part


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["identity"], "bundle demo has no identity"),
        (["generator", "--out", "."], "--out is the folder .: wanted a file in it"),
        (["generator", "--bundle", "none"], "no bundle 'none'"),
        (
            ["features"],
            "the part features is trained by emojax alone, so it has no published names",
        ),
        (["style_sampler"], "has a file of two state dicts, and a .safetensors holds only one"),
        (["hfgi_encoder"], "is in the same file as HFGI's other networks: export hfgi"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(here, capsys, arguments, sentence):
    assert run_command(lambda: dispatch(["export", "weights", *arguments])) == 2
    assert sentence in capsys.readouterr().err
    assert not list(here.iterdir())
