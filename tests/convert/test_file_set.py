"""Any set of published files, in any order and under any name, becomes one bundle."""

import importlib
import json
import typing

import numpy as np
import pytest

from convert import file_set, hyperstyle, lpips, systems
from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.parts import PARTS
from tests.support import oracles, published_set, torch_file

FILES = oracles.DATA / "files"
GENERATOR, CLASSIFIER = FILES / "ros_tiny.pt", FILES / "hsemotion_tiny.pt"


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """The six files under names that say nothing."""
    folder = tmp_path_factory.mktemp("downloads")
    files = published_set.small(folder)
    for number, part in enumerate(files):
        files[part] = files[part].rename(folder / f"download ({number}).bin")
    return files


@pytest.mark.slow
def test_six_files_in_any_order_under_any_name_become_one_bundle(six, here, capsys):
    order = ["inception", "w_encoder", "emotion", "hyperstyle", "psp", "generator"]
    file_set.main(file_set.Options(tuple(six[part] for part in order), name="ffhq"))
    made = bundle.find("ffhq")
    for part in published_set.NAMES:
        assert made.metadata(PARTS[part]).source["file"] == six[part].name
    generator = made.sha256(PARTS["generator"])
    for part in ("psp", "hyperstyle", "w_encoder"):
        assert made.metadata(PARTS[part]).source["generator_sha256"] == generator
    said = capsys.readouterr().out
    assert said.endswith("use it  --bundle ffhq\n")
    assert said.index("generator") < said.index("SharedWeightsHyperNetResNet")


def write(path, contents):
    return torch_file.write(path, contents)


def family(encoder_type):
    return {
        "state_dict": {"encoder.x": np.ones(2, np.float32)},
        "opts": {"encoder_type": encoder_type},
    }


ONE = np.ones(2, np.float32)

CONTENTS = {
    **{system: dict.fromkeys(names, ONE) for system, names in reversed(systems.KEYS)},
    **{system: family(kind) for kind, system in systems.ENCODERS.items()},
    systems.GENERATOR: {"g_ema": {}, "latent_avg": ONE},
    systems.HFGI: {**family("Encoder4Editing"), "state_dict": {systems.ALIGNER: ONE}},
    systems.LPIPS_ALEXNET: published_set.lpips_weights(192),
    systems.LPIPS_VGG16: published_set.lpips_weights(128),
    systems.STYLES: None,  # a .npy with a dict in it
}
"""What tells the systems, of each as little as does."""


def file_of(folder, system):
    """Write a file of a system, under a name that says nothing."""
    if CONTENTS[system] is not None:
        return write(folder / "file", CONTENTS[system])
    np.save(folder / "file.npy", np.array({"a": np.zeros((1, 18, 512), np.float32)}, object))
    return folder / "file.npy"


def run_converter(name, file, folder):
    """Give a file to a converter, for both files where it takes two."""
    module = importlib.import_module(f"convert.{name}")
    common = {"name": "new", "checkpoints": folder}
    if name == "directions":  # of which the bundle is looked up first
        return module.read(file)
    if name == "hyperstyle":
        return module.main(module.Options(file, w_encoder=file, **common))
    given = (file,) if name == "dualstylegan" else file
    return module.main(module.Options(given, **common))


def test_every_system_is_tried():
    known = {each for each in vars(systems).values() if isinstance(each, systems.System)}
    known |= {system for system, _ in systems.KEYS}
    assert set(CONTENTS) == known


@pytest.mark.parametrize("converter", typing.get_args(systems.Converter))
def test_a_file_in_the_wrong_place_names_both_systems(tmp_path, converter, capsys):
    """Of every system: a file of the pSp family may hold a generator as its decoder."""
    wrong = [each for each in CONTENTS if converter not in (each.converter, *each.also)]
    assert len(wrong) > 12
    for system in wrong:
        file = file_of(tmp_path, system)
        assert systems.system_in(file) is system
        assert run_command(lambda file=file: run_converter(converter, file, tmp_path / "new")) == 2
        said = capsys.readouterr().err
        assert f"holds {system.about}, wanted {systems.WANTED[converter]}: " in said
        assert len(said.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_the_second_file_of_hyperstyle_is_looked_at_too(tmp_path):
    good = write(tmp_path / "good", CONTENTS[systems.HYPERSTYLE])
    file = write(tmp_path / "file", CONTENTS[systems.INCEPTION])
    wanted = "wanted HyperStyle's hypernetwork and its W encoder"
    with pytest.raises(UserError, match=f"holds the Inception network of FID, {wanted}"):
        hyperstyle.main(hyperstyle.Options(good, name="new", w_encoder=file))


@pytest.mark.parametrize(
    ("file", "system"),
    [
        ("files/ros_tiny_legacy.pt", systems.GENERATOR),
        ("files/ros_tiny_torch171.pt", systems.GENERATOR),
        ("nvlabs_tiny/nvlabs_tiny.pkl", systems.GENERATOR),
        ("nvlabs_tiny/nvlabs_tiny_torch2.pkl", systems.GENERATOR),
        ("files/hsemotion_tiny.pt", systems.EMOTION),
        ("files/hsemotion_tiny_timm067.pt", systems.EMOTION),
        ("files/hsemotion_tiny_timm0916.pt", systems.EMOTION),
        ("directions/age.pt", systems.DIRECTIONS),
        ("directions/ffhq_pca.pt", systems.DIRECTIONS),
        ("script_tiny.pt", None),
        ("files/odd_objects.pt", None),
    ],
)
def test_files_that_torch_wrote_are_recognised(file, system):
    assert systems.system_in(oracles.DATA / file) is system


@pytest.mark.parametrize(
    ("case", "manifest", "system"),
    [
        ("psp_ffhq", "manifest.json", systems.PSP),
        ("psp_wplus", "manifest.json", systems.PSP),
        ("psp_w", "manifest.json", systems.PSP_W),
        ("e4e_ffhq", "manifest.json", systems.E4E),
        ("hyperstyle_ffhq", "manifest.json", systems.HYPERSTYLE),
        ("hyperstyle_ffhq", "manifest_w_encoder.json", systems.W_ENCODER),
    ],
)
def test_published_options_are_recognised(case, manifest, system):
    opts = json.loads((oracles.DATA / case / manifest).read_text())["config"]
    assert systems.system_of({"state_dict": {}, "opts": opts.get("opts", opts)}) is system


def refused(*files, **changes):
    with pytest.raises(UserError) as caught:
        file_set.main(file_set.Options(files, name="new", **changes))
    assert not bundle.look_up("new").folders
    return str(caught.value)


def test_nothing_is_written_where_the_set_is_wrong(here, tmp_path):
    again = tmp_path / "again.pt"
    again.write_bytes(GENERATOR.read_bytes())
    assert "are both for the part generator: give one of them" in refused(GENERATOR, again)
    hypernet = write(tmp_path / "hyper.pt", CONTENTS[systems.HYPERSTYLE])
    assert "hyper.pt is of no use without HyperStyle's W encoder" in refused(GENERATOR, hypernet)
    encoder = write(tmp_path / "w.pt", CONTENTS[systems.W_ENCODER])
    assert "is of no use without HyperStyle's hypernetwork" in refused(GENERATOR, encoder)
    lone = write(tmp_path / "odd.pt", {"weights": np.ones(2, np.float32)})
    assert "holds no network that is known here" in refused(GENERATOR, lone)
    np.save(tmp_path / "age.npy", np.ones(512))
    assert "age.npy holds directions: convert it with" in refused(tmp_path / "age.npy")
    squeeze = {f"lin{i}.model.1.weight": np.ones((1, 64, 1, 1), np.float32) for i in range(7)}
    lin = write(tmp_path / "squeeze.pth", squeeze)
    assert "LPIPS for SqueezeNet: no part of a bundle is made of it" in refused(lin)
    assert "cannot be opened" in refused(tmp_path / "nowhere.pt")
    assert "no file given" in refused()
    assert "html.pt is a web page, not a published file" in refused(GENERATOR, FILES / "html.pt")


def test_both_weights_of_lpips_are_told_apart(here, tmp_path, capsys):
    files = [
        write(tmp_path / f"{width}.pth", published_set.lpips_weights(width)) for width in (192, 128)
    ]
    file_set.main(file_set.Options(tuple(files), name="judges"))
    made = bundle.find("judges")
    for part, width in (("lpips_alexnet", 192), ("lpips_vgg16", 128)):
        assert made.load(PARTS[part]).weights[1].shape == (width,)
        assert made.metadata(PARTS[part]).source["file"] == f"{width}.pth"
    assert "192.pth (LPIPS 0.1 layout, the whole network)" in capsys.readouterr().out
    other = published_set.lpips_weights(192)
    del other["lin4.model.1.weight"]
    with pytest.raises(UserError, match=r"missing: lin4\.model\.1\.weight"):
        lpips.convert(PARTS["lpips_alexnet"], other)


def test_parts_are_added_to_a_bundle(here, capsys):
    file_set.main(file_set.Options((GENERATOR,), name="tiny"))
    file_set.main(file_set.Options((CLASSIFIER,), name="tiny"))
    made = bundle.find("tiny")
    assert made.has(PARTS["generator"])
    assert made.has(PARTS["emotion"])
    stored = json.loads((made.folder(PARTS["emotion"]) / "metadata.json").read_text())
    assert stored["source"]["file"] == "hsemotion_tiny.pt"


def test_a_w_encoder_in_psps_form_is_hyperstyles_beside_its_file():
    found = {"w.pt": systems.PSP_W, "h.pt": systems.HYPERSTYLE}
    assert file_set.by_part(found) == {"w_encoder": "w.pt", "hyperstyle": "h.pt"}
    assert file_set.by_part({"w.pt": systems.PSP_W}) == {"psp": "w.pt"}
    both = {"w.pt": systems.PSP_W, "h.pt": systems.HYPERSTYLE, "e.pt": systems.W_ENCODER}
    assert file_set.by_part(both) == {"psp": "w.pt", "hyperstyle": "h.pt", "w_encoder": "e.pt"}
