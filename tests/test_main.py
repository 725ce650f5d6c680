"""The `emojax` command: its list, its commands, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emojax import __main__, __version__
from emojax.runtime.cli import run_command


def run(*arguments):
    return run_command(lambda: __main__.dispatch(arguments))


def test_commands_are_listed(capsys):
    assert run("--help") == 0
    said = capsys.readouterr().out
    for name in __main__.COMMANDS:
        assert f"\n  {name} " in said
    assert run("convert") == 0
    assert "stylegan" in capsys.readouterr().out
    assert run("--version") == 0
    assert capsys.readouterr().out == f"emojax {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["transfre"], "no command 'transfre': wanted one of transfer, edit"),
        (["convert", "gan"], "no file 'gan' and no converter of that name: wanted published files"),
        (["edit", "nowhere.jpg"], "no file nowhere.jpg"),
        (["edit", "--emotion", "joy"], "no direction 'joy'"),
        (["convert", "stylegan", "nowhere.pt"], "nowhere.pt"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, sentence, capsys):
    assert run(*arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("command", [*__main__.COMMANDS])
def test_every_command_has_help_with_examples(command):
    arguments = [command, "stylegan"] if command == "convert" else [command]
    done = subprocess.run(
        [sys.executable, "-m", "emojax", *arguments, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"usage: emojax {' '.join(arguments)}" in done.stdout
    assert f"emojax {' '.join(arguments)}" in done.stdout or f"emojax.{command}" in done.stdout
    assert "site-packages" not in done.stdout


def test_a_file_of_the_users_named_convert_is_not_in_the_way(tmp_path):
    (tmp_path / "convert.py").write_text("raise SystemExit('the wrong file')")
    done = subprocess.run(
        [sys.executable, "-m", "emojax", "convert", "stylegan", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__main__.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "usage: emojax convert stylegan" in done.stdout
