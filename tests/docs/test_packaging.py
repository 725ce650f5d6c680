"""What pyproject.toml, CITATION.cff and the package say of each other."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import emojax
from tests.docs.blocks import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DISTRIBUTIONS = {"PIL": "pillow", "orbax": "orbax-checkpoint", "sklearn": "scikit-learn"}
OPTIONAL = {"dlib", "tensorflow"}
"""Imported where a user has them, with a message that says so where not."""


def test_every_package_is_in_the_wheel():
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in ("emojax", "convert")
        for file in (ROOT / top).rglob("__init__.py")
    }
    assert {*PROJECT["tool"]["setuptools"]["packages"]} == found | {"emojax.checkpoints"}


def test_published_sets_are_in_the_wheel():
    assert PROJECT["tool"]["setuptools"]["package-data"]["convert.sets"] == ["*.toml"]


def test_citation_has_the_version():
    assert f"\nversion: {emojax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_licence_is_named_and_whole():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_type_checkers_are_told_of_the_annotations():
    assert (Path(emojax.__file__).parent / "py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["emojax"]


def test_every_imported_package_is_a_dependency():
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    used = [extras[name] for name in ("cloud", "plots", "train", "video", "heic", "web")]
    listed = " ".join([*project["dependencies"], *(each for extra in used for each in extra)])
    for name in sorted(_imports()):
        wanted = DISTRIBUTIONS.get(name, name).replace("_", "-")
        assert re.search(rf"\b{re.escape(wanted)}\b", listed), name


def test_contributing_lists_the_layers_in_their_order():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    folders = [name for layer in layers for name in layer.split(" | ")]
    folders = [name for name in folders if (ROOT / "emojax" / name).is_dir()]
    places = [text.find(f"`{name}/`") for name in folders]
    assert -1 not in places
    assert places == sorted(places)


def _imports():
    names = set()
    for top in ("emojax", "convert"):
        for file in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add((node.module or "").split(".")[0])
    return names - set(sys.stdlib_module_names) - {"emojax", "convert"} - OPTIONAL


def test_settings_page_lists_every_variable():
    files = [file for top in ("emojax", "convert") for file in (ROOT / top).rglob("*.py")]
    used = {name for file in files for name in re.findall(r"EMOJAX_[A-Z_]+", file.read_text())}
    page = (ROOT / "docs/settings.md").read_text()
    assert not [name for name in sorted(used) if f"`{name}`" not in page]
