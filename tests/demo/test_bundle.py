"""The embedded bundle: whole, small, and no special case anywhere."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from emojax.demo.drawing.expressions import EMOTIONS
from emojax.faces import images
from emojax.latents import directions, inversion
from emojax.store import bundle
from emojax.store.parts import GENERATOR, PARTS, STYLEGAN2

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "checkpoints" / bundle.DEFAULT


def test_it_is_small():
    size = sum(file.stat().st_size for file in DEMO.rglob("*") if file.is_file())
    assert size < 25e6


@pytest.mark.parametrize("method", ["psp", "hyperstyle"])
def test_inverters_belong_to_its_generator(method):
    inverter = inversion.load(bundle.find(DEMO), method)
    assert inverter.generator.config.size % inverter.resolution == 0


def test_every_part_says_what_made_it():
    for part in ("generator", "psp", "w_encoder", "hyperstyle", "emotion", "attributes"):
        source = bundle.find(DEMO).metadata(PARTS[part]).source
        assert source["made_by"].startswith("python -m emojax.demo.train")
        assert source["seconds"] > 0
        assert source["device"]
        assert source["last"]["step"] > 0


def test_directions_are_of_its_generator():
    found = directions.load(bundle.find(DEMO), bundle.find(DEMO).sha256(GENERATOR))
    assert found.names == EMOTIONS
    norms = np.linalg.norm(found.tiled(10).reshape(8, -1), axis=1)
    np.testing.assert_allclose(norms, np.ones(8), rtol=1e-5)


def test_samples_are_faces_of_its_size():
    side = bundle.find(DEMO).config(STYLEGAN2).size
    for name in ("source", "target"):
        assert images.read(DEMO / "samples" / f"{name}.png").shape == (side, side, 3)


def test_nothing_else_knows_the_demo_world():
    """Demo and published weights go down one code path."""
    rest = [
        file
        for folder in ("emojax", "convert")
        for file in (ROOT / folder).rglob("*.py")
        if "demo" not in file.relative_to(ROOT).parts
    ]
    mentions = {
        f"{file.name}: {node.value}"
        for file in rest
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.strip().lower() == "demo"
    }
    assert mentions == {"choices.py: demo"}
    imports = [
        file.name
        for file in rest
        if re.search(r"^\s*(from|import) emojax\.demo", file.read_text(), re.M)
    ]
    assert imports == []
