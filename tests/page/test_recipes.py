"""What is on the screen as a command line, as Python that runs, and as JSON."""

import shlex

import numpy as np
import pytest

import emojax
from emojax.page.recipes import Edit, Origin, Transfer, report
from emojax.page.scale import Scale
from emojax.runtime.flags import PipelineFlags


@pytest.fixture(scope="module")
def pipe():
    return emojax.load("demo", devices=1)


def test_an_edit_as_command_and_python():
    flags = PipelineFlags(bundle="my ffhq", inverter="hyperstyle")
    made = Edit(Origin("a b.jpg", face="2"), {"happiness": 3.0, "anger": -1.25}, (4, 8))
    assert made.command(flags) == (
        "emojax edit 'a b.jpg' --emotion happiness,anger --k=3,-1.25 --layers 4:8 --face 2 "
        "--bundle 'my ffhq' --inverter hyperstyle"
    )
    assert made.python(flags).splitlines()[2:] == [
        'pipe = emojax.load("my ffhq", inverter="hyperstyle")',
        'me = pipe.invert("a b.jpg", face="2")',
        'pipe.edit(me, happiness=3, anger=-1.25, layers=slice(4, 8)).image.save("edited.png")',
    ]


def test_names_are_quoted_in_both():
    made = Edit(Origin('x"; rm -rf $HOME; ".jpg'), {"fear": 1.0})
    assert shlex.split(made.command(PipelineFlags()))[2] == made.origin.name
    compile(made.python(PipelineFlags()), "shown", "exec")


def test_generated_faces_are_drawn_by_seed():
    origin = Origin(seed=7, style=9, style_layers=(3, 6))
    assert "me.mixed(pipe.sample(9, truncation=0.7), slice(3, 6))" in Edit(origin, {}).python(
        PipelineFlags()
    )
    plain = Edit(Origin(seed=7), {})
    assert plain.command(PipelineFlags()) == (
        "emojax sample --seeds 7 --truncation 0.7 --out faces/"
    )


def test_the_python_lines_run(pipe, tmp_path):
    me, friend = Origin("source.png", sample="source"), Origin("target.png", sample="target")
    for made, name in (
        (Edit(me, {"happiness": 3.0}), "edited.png"),
        (Transfer(me, friend, 0.5, "subspace"), "result.png"),
        (Edit(Origin(seed=3, style=4, style_layers=(2, 5)), {}), "face.png"),
    ):
        lines = made.python(pipe.settings).replace('emojax.load("demo")', "given")
        lines = lines.replace('.save("', f'.save("{tmp_path}/')
        exec(compile(lines, "shown", "exec"), {"given": pipe})
        assert (tmp_path / name).is_file()


def test_the_report_names_networks_and_no_paths(pipe):
    said = report(Edit(Origin("me.jpg"), {"fear": 1.0}), pipe, {})
    assert said["command"] == "emojax edit me.jpg --emotion fear --k=1"
    assert said["weights_sha256"]
    assert "file" not in said["directions"]


def test_sliders_and_k_agree_in_every_unit(pipe):
    scale = Scale(pipe)
    lowest, highest = pipe.directions.usable_range("happiness")
    assert scale.k("happiness", 100) == pytest.approx(highest)
    assert scale.k("happiness", -100) == pytest.approx(lowest)
    for unit in ("percent", "norm", "layer", "sigma"):
        value = scale.value("happiness", 0.5 * highest, unit)
        assert scale.k("happiness", value, unit) == pytest.approx(0.5 * highest, abs=0.05)
        ends = scale.range("happiness", unit)
        assert ends.lowest < 0 < ends.highest
        assert scale.value("happiness", 1e3, unit) == ends.highest


def test_neutral_is_equation_2(pipe):
    face = pipe.sample(5)
    k = Scale(pipe).to_neutral(face)
    moved = pipe.edit(face, neutral=k).w_plus
    # float32 sums in another order
    np.testing.assert_allclose(moved, pipe.neutralise(face).w_plus, rtol=0, atol=1e-4)
