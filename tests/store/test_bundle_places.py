"""Where bundles are: found by name from every folder, in several folders; where new ones go."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.runtime.errors import UserError
from emojax.store import bundle, roots
from emojax.store.parts import ATTRIBUTES, EMOTION, GENERATOR, INCEPTION, INVERTER_PARTS, PARTS
from tests.support import small_world

CONFIG = GeneratorConfig(channels=(8, 8), style_dim=8, z_dim=8, n_mlp=1)


def write_generator(folder: Path, seed: int = 0) -> str:
    """Write a small generator into a bundle and return its hash."""
    arrays = small_world.table(Generator, CONFIG, seed)
    return bundle.save(folder, GENERATOR, CONFIG, arrays, {})["weights_sha256"]


def stand_in(folder: Path, name: str) -> None:
    """Make a part that is there and no more."""
    (folder / name).mkdir(parents=True)
    about = {"network": "", "config": {}, "source": {}, "weights_sha256": f"of {folder}"}
    (folder / name / "metadata.json").write_text(json.dumps(about))


def test_a_bundle_at_home_is_found_from_every_folder(here):
    sha = write_generator(here.parent / "home" / "checkpoints" / "ffhq")
    found = bundle.find("ffhq")
    assert found.sha256(GENERATOR) == sha
    assert found.config(GENERATOR) == CONFIG
    assert found.load(GENERATOR).config == CONFIG
    with pytest.raises(UserError, match=r"no bundle 'nowhere': wanted one of demo, ffhq, or a"):
        bundle.find("nowhere")


def test_one_part_elsewhere_does_not_hide_the_embedded_bundle(here):
    """Versions before this one told the user of the embedded bundle to make this folder."""
    embedded = bundle.find(bundle.DEFAULT)
    stand_in(here / "checkpoints" / bundle.DEFAULT, "inception")
    found = bundle.find(bundle.DEFAULT)
    assert found.folder(INCEPTION) == Path("checkpoints", bundle.DEFAULT, "inception")
    for name in ("generator", "psp", "w_encoder", "hyperstyle", "emotion", "attributes"):
        assert found.folder(PARTS[name]) == embedded.folder(PARTS[name])
    assert found.file("directions.npz") == embedded.file("directions.npz") is not None


def test_of_every_part_the_first_folder_counts(here):
    home = here.parent / "home"
    for name in ("generator", "emotion"):
        stand_in(home / "checkpoints" / "ffhq", name)
    stand_in(Path("checkpoints", "ffhq"), "emotion")
    found = bundle.find("ffhq")
    assert found.sha256(EMOTION) == "of checkpoints/ffhq"
    assert found.sha256(GENERATOR) == f"of {home}/checkpoints/ffhq"
    assert not found.has(ATTRIBUTES)
    stand_in(Path("ffhq"), "emotion")
    assert bundle.find("ffhq").sha256(EMOTION) == "of ffhq"


def test_a_path_is_that_folder_alone(here):
    stand_in(here / "some" / "ffhq", "emotion")
    stand_in(here / "checkpoints" / "ffhq", "generator")
    for path in ("some/ffhq", here / "some" / "ffhq"):
        assert bundle.find(path).has(EMOTION)
        assert not bundle.find(path).has(GENERATOR)


def test_new_parts_go_where_the_bundle_is(here):
    home = here.parent / "home" / "checkpoints"
    assert bundle.destination("new") == home / "new"
    (here / "checkpoints").mkdir()
    assert bundle.destination("new") == Path("checkpoints", "new")
    stand_in(home / "ffhq", "generator")
    assert bundle.destination("ffhq") == home / "ffhq"
    assert bundle.destination("ffhq", Path("other")) == Path("other", "ffhq")
    assert bundle.destination("some/ffhq") == Path("some", "ffhq")


def test_nothing_is_written_into_the_installed_package(here, monkeypatch):
    (here / "package" / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr(roots, "PACKAGE", here / "package")
    stand_in(here / "package" / "checkpoints" / bundle.DEFAULT, "generator")
    assert bundle.find(bundle.DEFAULT).has(GENERATOR)
    home = here.parent / "home" / "checkpoints"
    assert bundle.destination(bundle.DEFAULT) == home / bundle.DEFAULT


@pytest.mark.parametrize(
    ("platform", "variable", "wanted"),
    [
        ("linux", None, "~/.local/share/emojax"),
        ("linux", "XDG_DATA_HOME", "data/emojax"),
        ("darwin", None, "~/Library/Application Support/emojax"),
        ("win32", None, "~/AppData/Local/emojax"),
        ("win32", "LOCALAPPDATA", "data/emojax"),
        ("linux", "EMOJAX_HOME", "data"),
    ],
)
def test_the_home_is_the_users_data_folder(tmp_path, monkeypatch, platform, variable, wanted):
    for name in ("EMOJAX_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "data"))
    expected = wanted.replace("~", str(tmp_path / "user")).replace("data/", f"{tmp_path}/data/")
    assert roots.home() == Path(expected if "/" in wanted else tmp_path / wanted)


def test_a_user_without_a_home_has_the_embedded_bundle(here, monkeypatch):
    def none(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("EMOJAX_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(none))
    assert bundle.find(bundle.DEFAULT).has(GENERATOR)
    with pytest.raises(UserError, match="set EMOJAX_HOME to a folder, or make a folder named"):
        bundle.destination("ffhq")


def test_the_embedded_bundle_is_not_told_to_grow():
    with pytest.raises(UserError) as caught:
        bundle.find(bundle.DEFAULT).folder(INCEPTION)
    assert "get the published networks with 'emojax fetch ffhq', and give --bundle ffhq" in str(
        caught.value
    )


def test_finding_a_bundle_imports_no_jax():
    code = (
        "import sys\n"
        "from emojax.store import bundle, parts\n"
        "found = bundle.find(bundle.DEFAULT)\n"
        "found.sha256(parts.GENERATOR), found.has(parts.INCEPTION), found.file('directions.npz')\n"
        "heavy = {'jax', 'flax', 'orbax', 'tensorstore', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_table_of_parts():
    assert list(PARTS) == [
        *("generator", "psp", "w_encoder", "hyperstyle", "hfgi_encoder", "hfgi"),
        *("dualstylegan", "dualstylegan_encoder", "style_sampler"),
        *("emotion", "inception", "identity", "alexnet", "lpips_alexnet", "vgg16", "lpips_vgg16"),
        *("features", "attributes"),
    ]
    for name, part in PARTS.items():
        assert part.name == name
        assert part.config_class().__name__.endswith("Config")
        assert "config" in part.network_class().__init__.__annotations__
    assert all(part in PARTS.values() for parts in INVERTER_PARTS.values() for part in parts)
