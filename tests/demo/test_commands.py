"""The demo's commands: help, refused values, the printed report, directions of a new bundle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emojax.demo import dataset, faces, report, train
from emojax.demo.training import run as training
from emojax.demo.training.recipe import PROFILES
from emojax.latents import directions, reconstruction, usable_range
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.parts import GENERATOR
from tests.support import small_world

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["train", "report", "dataset", "faces"])
def test_help_names_the_command_and_needs_no_jax(name):
    run = (
        "import runpy, sys\n"
        f"sys.argv = ['-m', '--help']\n"
        "try:\n"
        f"    runpy.run_module('emojax.demo.{name}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "late = {'jax', 'flax', 'optax', 'tensorflow_datasets'} & set(sys.modules)\n"
        "raise SystemExit(f'late {sorted(late)}')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    ended = subprocess.run(
        [sys.executable, "-c", run], capture_output=True, text=True, check=False, env=environment
    )
    assert ended.stderr.splitlines()[-1] == "late []"
    assert ended.stdout.startswith(f"usage: python -m emojax.demo.{name} ")
    assert f"    python -m emojax.demo.{name} --" in ended.stdout
    assert "site-packages" not in ended.stdout
    assert str(ROOT) not in ended.stdout


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        (faces, {"out": Path("o"), "resolution": 8}, "--resolution is 8, wanted 16 to 1024"),
        (report, {"samples": 30}, "--samples is 30, wanted a multiple of 20"),
        (dataset, {"data_dir": Path("d"), "train": 0}, "--train is 0, wanted 1 or more"),
        (train, {"scored": 1}, "--scored is 1, wanted 4 or more"),
    ],
)
def test_bad_values_are_one_sentence(command, options, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence):
        command.main(command.Options(**options))
    assert not list(tmp_path.iterdir())


def test_the_report_is_a_readable_table():
    stored = json.loads((ROOT / "checkpoints/demo/report.json").read_text())
    text = report.table(stored, stored["samples"])
    assert not set("{}[]") & set(text)
    rows = dict(
        line.split(maxsplit=1) for line in text.splitlines() if "  " in line and "%" in line
    )
    assert rows["fear"].split() == ["0.7%", "100.0%", "5", "93.0%", "97.5%"]
    widths = {len(line) for line in text.splitlines() if line.split()[:1] == ["fear"]}
    assert widths == {len(line) for line in text.splitlines() if line.startswith("emotion ")}
    assert "PSNR on the photo domain           " in text


@pytest.mark.slow
def test_directions_of_a_new_bundle_are_fitted_to_its_own_faces(tmp_path, monkeypatch):
    for name, few in {"FACES": 4, "OTHERS": 8, "STEPS": 2}.items():
        monkeypatch.setattr(usable_range, name, few)
    monkeypatch.setattr(reconstruction, "SAMPLES", 8)
    folder = small_world.write_whole(tmp_path / "small")
    before = directions.load(bundle.find(folder))
    run = training.Run(PROFILES["cpu"], tmp_path / "work", 0)
    (run.work / "scores").mkdir(parents=True)
    (run.work / "scores" / "settings.json").write_text("{}")  # of an earlier run, not reused
    training.fit_bundle_directions(run, folder, 96)
    found = directions.load(bundle.find(folder), bundle.find(folder).sha256(GENERATOR))
    assert found.names == before.names
    assert found.coefficients.shape == before.coefficients.shape
    assert np.abs(found.coefficients - before.coefficients).max() > 1e-3
    assert found.metadata["samples"] + found.metadata["held_out"] == 96
    assert found.usable is not None
