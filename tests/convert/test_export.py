"""Parts of a bundle go out again under their published names, and come back bit for bit."""

import numpy as np
import pytest
import safetensors.numpy

from convert import arcface, file_set, hfgi, hyperstyle, psp, stylegan
from convert.inverse import inverted, published_shape
from convert.reader import checkpoint_file
from convert.rules import Rule, linear, source_of
from emojax.__main__ import dispatch
from emojax.models import hyperstyle as hyperstyle_network
from emojax.models.stylegan2 import GeneratorConfig
from emojax.runtime.cli import run_command
from emojax.store import bundle
from emojax.store.parts import DUALSTYLEGAN, EMOTION, GENERATOR, PARTS
from tests.convert.test_encoders import shaped
from tests.data import recipe
from tests.support import oracles, published_set, style_set, torch_file

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
    ],
    ids=["psp", "e4e", "w", "w_plus", "hyperstyle", "hfgi", "arcface"],
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
    ],
)
def test_what_cannot_be_written_is_one_sentence(here, capsys, arguments, sentence):
    assert run_command(lambda: dispatch(["export", "weights", *arguments])) == 2
    assert sentence in capsys.readouterr().err
    assert not list(here.iterdir())
