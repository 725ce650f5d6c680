"""`emojax stylize` and `Pipeline.stylize`, on small networks."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import emojax
from emojax import stylize
from emojax.__main__ import dispatch
from emojax.faces import images
from emojax.latents import stylization
from emojax.latents.stylization import Strength
from emojax.runtime.cli import run_command
from emojax.store import bundle
from tests.support import small_world, style_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle for transfers, with a small DualStyleGAN through its converter."""
    folder = small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "whole")
    style_set.write_bundle(folder)
    return folder


def run(folder, out, *arguments):
    dispatch(["stylize", "--bundle", str(folder), "--out", str(out), *arguments])
    return json.loads((out / "stylize.json").read_text())


def test_photographs_in_styles(folder, tmp_path, capsys):
    photo = str(folder / "samples" / "target.png")
    report = run(folder, tmp_path, "--input", photo, "--style", "1", "style_b")
    names = [each["file"] for each in report["results"]]
    assert names == ["target-style1.png", "target-style2.png"]
    assert [each["style"] for each in report["results"]] == ["1: style_a.jpg", "2: style_b.jpg"]
    assert (report["structure"], report["colour"], report["truncation"]) == (0.75, 1.0, 0.75)
    assert (tmp_path / "sheet.png").exists()
    assert "2 pictures" in capsys.readouterr().out
    # each is what the networks make of the photograph
    place = bundle.find(folder)
    stylizer = stylization.load(place)
    content = stylization.content(stylizer, images.read(photo))[None]
    codes = stylization.encode(stylizer, content, batch=1, devices=1)
    (number,), known = stylization.chosen(place, ["style_b"])
    drawn = stylization.draw(stylizer, codes, known.codes[[number]], batch=1, devices=1)
    wanted = images.to_uint8(drawn)[0].astype(int)
    assert np.abs(images.read(tmp_path / names[1]).astype(int) - wanted).max() <= 1
    assert np.abs(images.read(tmp_path / names[0]).astype(int) - wanted).max() > 20
    plain = Strength(0, 0)
    same = [
        stylization.draw(stylizer, codes, known.codes[[n]], plain, batch=1, devices=1)
        for n in (0, 1)
    ]
    np.testing.assert_array_equal(*same)
    kept = Strength(keeps_colours=True)
    coloured = stylization.draw(stylizer, codes, known.codes[[number]], kept, batch=1, devices=1)
    assert small_world.rel_err(coloured, drawn) > 0.01


@pytest.mark.slow
def test_a_stylised_transfer_is_one_command(folder, tmp_path):
    source, target = (str(folder / "samples" / f"{name}.png") for name in ("source", "target"))
    transfer = ("--source", source, "--target", target)
    report = run(folder, tmp_path, *transfer, "--random", "7", "--structure", "0.5")
    assert [each["file"] for each in report["results"]] == ["result-random7.png"]
    assert set(report["predictions"]) == {"source", "target", "result"}
    pipe = emojax.load(folder)
    result = pipe.transfer(source, target)
    stylizer = stylization.load(bundle.find(folder))
    content = stylization.content(stylizer, result.pictures[0])[None]
    codes = stylization.encode(stylizer, content, batch=2)
    random = stylization.random_styles(bundle.find(folder), [3, 7])[1:]
    drawn = stylization.draw(stylizer, codes, random, Strength(0.5), batch=2)
    found = images.read(tmp_path / "result-random7.png").astype(int)
    assert np.abs(found - images.to_uint8(drawn)[0]).max() <= 1
    # the API's way, and a photograph by itself
    styled = pipe.stylize(result, "style_b", structure=0.5)
    assert styled.pictures.shape == (1, *drawn.shape[1:])
    assert (styled.codes.w_plus == result.codes.w_plus).all()
    assert (pipe.stylize(source, 1).pictures != pipe.stylize(source, 2).pictures).any()


def test_styles_are_listed(folder, capsys):
    dispatch(["stylize", "--bundle", str(folder), "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        [str(i), name] for i, name in enumerate(style_set.NAMES)
    ]


def test_the_encoder_may_give_codes_in_w_plus(folder):
    place = bundle.find(folder)
    stylizer = stylization.load(place)
    codes = jnp.ones((1, 8, 32))
    known = jnp.asarray(stylization.chosen(place, ["all"])[1].codes[:1])
    for space, given in (("z+", False), ("w+", True)):
        used = dataclasses.replace(stylizer, space=space)
        w_plus, style = stylization.mapped(used, codes, known)
        assert np.array_equal(w_plus, codes) == given
        np.testing.assert_array_equal(style, stylizer.generator.mapping(known))
        _, kept = stylization.mapped(used, codes, known, keeps_colours=True)
        np.testing.assert_array_equal(kept[:, :3], style[:, :3])
        np.testing.assert_array_equal(kept[:, 3:], w_plus[:, 3:])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--style", "9"], "no style '9': wanted a number from 0 to 2, or one of the names"),
        (["--structure", "2"], "--structure is 2.0, wanted 0 to 1"),
        (["--colour", "nan"], "--colour is nan, wanted 0 to 1"),
        (["--input", "a.jpg", "--target", "b.jpg"], "--input is given with --source or --target"),
        (["--input", "none.jpg"], "no file none.jpg"),
        (["--random", "-1"], "--random is -1, wanted 0 or more"),
        (["--style-bundle", "none"], "no bundle 'none'"),
    ],
)
def test_bad_arguments_are_one_sentence(folder, tmp_path, capsys, arguments, sentence):
    line = ["stylize", "--bundle", str(folder), "--out", str(tmp_path / "out"), *arguments]
    assert run_command(lambda: dispatch(line)) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bundle_without_it_names_the_command(tmp_path, capsys):
    assert run_command(lambda: dispatch(["stylize", "--out", str(tmp_path / "out")])) == 2
    said = capsys.readouterr().err
    assert "bundle demo has no dualstylegan" in said
    assert "make it with 'emojax convert dualstylegan generator.pt --name NAME'" in said
    assert stylize.Options().style == ("0",)
