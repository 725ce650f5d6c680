"""Where converters write, what they refuse at once, and what they cost before they start."""

import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from convert import directions, emotion, hyperstyle, inception, psp, stylegan, systems
from emojax.__main__ import dispatch
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.parts import GENERATOR
from tests.support import oracles

FILE = oracles.DATA / "files" / "ros_tiny.pt"
CONVERTERS = typing.get_args(systems.Converter)


def test_a_converted_bundle_is_found_from_every_folder(here, tmp_path, monkeypatch, capsys):
    stylegan.main(stylegan.Options(FILE, name="tiny"))
    said = capsys.readouterr().out
    assert f"written       {tmp_path}/home/checkpoints/tiny/generator" in said
    assert "use it        --bundle tiny" in said
    assert os.listdir(here) == []
    monkeypatch.chdir(tmp_path)
    assert bundle.find("tiny").load(GENERATOR).config.channels


def test_a_folder_with_checkpoints_keeps_its_own(here, tmp_path, capsys):
    (here / "checkpoints").mkdir()
    stylegan.main(stylegan.Options(FILE))
    assert bundle.find("ros_tiny").folder(GENERATOR) == Path("checkpoints/ros_tiny/generator")
    assert not (tmp_path / "home").exists()
    stylegan.main(stylegan.Options(FILE, checkpoints=tmp_path / "else"))
    assert f"use it        --bundle {tmp_path}/else/ros_tiny" in capsys.readouterr().out


REFUSED = {
    stylegan: stylegan.Options(FILE, bundle.DEFAULT),
    psp: psp.Options(FILE, bundle.DEFAULT),
    hyperstyle: hyperstyle.Options(FILE, bundle.DEFAULT, w_encoder=FILE),
    emotion: emotion.Options(FILE, bundle.DEFAULT),
    inception: inception.Options(FILE, bundle.DEFAULT),
    directions: directions.Options((FILE,), name=bundle.DEFAULT),
}


@pytest.mark.parametrize("converter", REFUSED, ids=lambda module: module.__name__)
def test_nothing_is_converted_into_the_embedded_bundle(here, tmp_path, converter):
    with pytest.raises(UserError, match=r"is the embedded bundle, .*: choose another --name$"):
        converter.main(REFUSED[converter])
    assert os.listdir(here) == []
    assert not (tmp_path / "home").exists()


def test_converters_parse_their_flags_without_jax():
    modules = ", ".join(f"convert.{name}" for name in CONVERTERS)
    code = f"import sys, {modules}; heavy = {{'jax', 'flax', 'orbax'}} & sys.modules.keys(); "
    subprocess.run([sys.executable, "-c", f"{code}assert not heavy, heavy"], check=True)


@pytest.mark.parametrize("name", CONVERTERS)
def test_help_is_in_lines(name, capsys):
    with pytest.raises(SystemExit) as end:
        dispatch(["convert", name, "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert f"emojax convert {name} " in said
    assert "--name" in said
    assert "Nothing in a file is executed" in " ".join(said.split())


def test_a_file_named_convert_py_is_not_in_the_way(tmp_path):
    """Of the `emojax` command; `python -m` looks into the current folder first."""
    (tmp_path / "convert.py").write_text("raise SystemExit('not this one')\n")
    code = "from emojax.__main__ import dispatch; dispatch(['convert', 'stylegan', '--help'])"
    line = [sys.executable, "-P", "-c", code]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "StyleGAN2" in done.stdout
