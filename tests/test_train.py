"""The command `emojax train`, on the smallest networks."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from emojax import __main__
from emojax.faces import images
from emojax.latents import inversion, reconstruction
from emojax.runtime.cli import run_command
from emojax.store import bundle, parts
from tests.support import training_world
from tests.support.training_world import SIDE

ROOT = Path(__file__).parents[1]


def run(*arguments):
    return run_command(lambda: __main__.dispatch(["train", *map(str, arguments)]))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    training_world.write(folder / "tiny")
    training_world.write_photographs(folder / "photos")
    for name in ("happiness", "Fear"):
        training_world.write_photographs(folder / "labelled" / name, 4)
    return folder


def values(model):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model))]


def test_an_encoder_is_trained_and_written_beside_the_other_parts(
    world, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(reconstruction, "SAMPLES", 8)
    (world / "photos/broken.png").write_text("not a picture")
    line = ["psp", "--photos", world / "photos", "--bundle", world / "tiny", "--batch", "4"]
    line += ["--steps", "3", "--held-out", "0.3", "--generated", "0.5", "--rate", "0.001"]
    line += ["--work", tmp_path / "work", "--out", tmp_path / "mine"]
    assert run(*line) == 0
    said = capsys.readouterr()
    assert "PSNR dB " in said.out
    assert f"use it: --bundle {tmp_path / 'mine'}" in said.out
    assert "broken.png is not a picture" in said.err
    assert "no LPIPS: bundle" in said.err
    assert "split over 2 of 4 devices" in said.err
    before, after = (bundle.find(folder) for folder in (world / "tiny", tmp_path / "mine"))
    assert all(after.has(part) == before.has(part) for part in parts.PARTS.values())
    assert after.sha256(parts.GENERATOR) == before.sha256(parts.GENERATOR)
    moved = [
        np.abs(a - b).max()
        for a, b in zip(*(values(each.load(parts.PSP)) for each in (before, after)), strict=True)
    ]
    assert 0 < max(moved) < 0.1
    about = json.loads((tmp_path / "work/psp/result.json").read_text())
    assert about["photographs"] == 12
    assert about["held_out"] == 4
    assert about["before"].keys() == about["after"].keys() == {"l2", "psnr"}
    assert about["before"] != about["after"]
    source = after.metadata(parts.PSP).source
    assert source["generator_sha256"] == before.sha256(parts.GENERATOR)
    inverter = inversion.load(after, "psp")
    assert reconstruction.load(after, inverter).samples == 8
    page = (tmp_path / "work/psp/page.html").read_text()
    assert page.count("data:image/webp;base64,") == 2
    assert "no LPIPS" in page
    assert images.read(tmp_path / "work/psp/run/psp/sheet.png").shape[1] > 4 * SIDE
    assert run(*line) == 2
    assert "has a psp already: choose another --out, or give --replace" in capsys.readouterr().err
    assert run(*line, "--replace", "--steps", "4") == 2
    assert "another run (steps 3, now 4)" in capsys.readouterr().err
    (world / "photos/broken.png").unlink()
    assert run(*line, "--replace") == 2
    assert "another run (photographs 13 of photos, " in capsys.readouterr().err


def test_the_classifier_learns_labels_and_keeps_its_trunk(world, tmp_path, capsys):
    line = ["emotion", "--photos", world / "labelled", "--bundle", world / "tiny", "--batch", "4"]
    line += ["--steps", "2", "--held-out", "0.3", "--align", "never", "--work", tmp_path / "work"]
    assert run(*line, "--out", tmp_path / "mine") == 0
    assert re.search(r"^accuracy [01](\.\d+)?, was [01]", capsys.readouterr().out)
    found = bundle.find(tmp_path / "mine")
    models = [each.load(parts.EMOTION) for each in (bundle.find(world / "tiny"), found)]
    heads = [np.asarray(model.classifier.kernel[...]) for model in models]
    assert np.abs(heads[0] - heads[1]).max() > 0
    trunks = [values(model.stem) + values(model.stages) + values(model.head) for model in models]
    for a, b in zip(*trunks, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no folder nowhere: --photos wants a folder of photographs or tfds:NAME:SPLIT"),
        (["--photos", "{empty}"], "no pictures in"),
        (["--photos", "tfds:celeb_a"], "tfds:celeb_a is not tfds:NAME:SPLIT"),
        (["--steps", "0"], "--steps is 0, wanted 1 or more"),
        (["--rate", "0"], "--rate is 0, wanted more than 0"),
        (["--held-out", "1"], "--held-out is 1, wanted more than 0 and less than 1"),
        (["--average", "1"], "--average is 1, wanted 0 or more and less than 1"),
        (["--generated", "0.99"], "leaves no photographs"),
        (["--lpips", "-1"], "--lpips is -1, wanted 0 or more"),
        (["--hosts.process", "1"], "--hosts is given without --distributed"),
        (["--photos", "{photos}", "--out", "demo"], "--out is demo, the embedded bundle"),
        (["--photos", "{photos}", "--out", "{tiny}"], "has a psp already"),
        (["--photos", "{photos}", "--bundle", "{bare}"], "has no psp"),
        (["--photos", "{photos}", "--out", "{other}"], "has another generator than"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, sentence, world, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "photos": world / "photos", "tiny": world / "tiny"}
    for name, seed in (("bare", 0), ("other", 8)):
        places[name] = tmp_path / name
        network, config = parts.STYLEGAN2.network_class(), training_world.GENERATOR
        arrays = training_world.table(network, config, seed)
        bundle.save(places[name], parts.GENERATOR, config, arrays, {})
    line = ["psp", "--photos", "nowhere", "--bundle", world / "tiny", "--out", tmp_path / "out"]
    assert run(*line, *(each.format(**places) for each in arguments)) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("happiness",), "holds 1 folders of photographs: wanted one for each emotion"),
        (("happiness", "joy"), "holds the folder joy: wanted folders named after emotions"),
    ],
)
def test_folders_that_are_no_emotions_are_refused(names, sentence, world, tmp_path, capsys):
    for name in names:
        training_world.write_photographs(tmp_path / "labelled" / name, 1)
    line = ["emotion", "--photos", tmp_path / "labelled", "--bundle", world / "tiny"]
    assert run(*line, "--out", tmp_path / "out") == 2
    assert sentence in capsys.readouterr().err


STEPS = 120


def training(world, folder, devices, *more):
    """Start `emojax train psp` in a process with so many devices."""
    line = [sys.executable, "-m", "emojax", "train", "psp", "--photos", world / "photos"]
    line += ["--bundle", world / "tiny", "--batch", "8", "--steps", STEPS, "--generated", "0.5"]
    line += ["--rate", "0.001", "--save-every", "0", "--work", folder / "work"]
    line += ["--out", folder / "out", *more]
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([*map(str, line)], env=environment, **pipes)


def result(process, folder):
    """Wait for a process, and return the weights it has written."""
    said = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0, said
    return values(bundle.find(folder / "out").load(parts.PSP))


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return result(training(world, folder, 1), folder)


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(world, undisturbed, tmp_path):
    killed = training(world, tmp_path, 1)
    progress = tmp_path / "work/psp/run/psp/progress.json"
    while killed.poll() is None and not progress.is_file():
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert 0 < json.loads(progress.read_text())["step"] < STEPS
    for a, b in zip(undisturbed, result(training(world, tmp_path, 1), tmp_path), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_two_processes_of_two_devices_train_as_one(world, undisturbed, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    many = ["--distributed", "--hosts.coordinator", f"localhost:{port}", "--hosts.processes", 2]
    first, second = (
        training(world, tmp_path, 2, *many, "--hosts.process", number) for number in (0, 1)
    )
    found = result(first, tmp_path)
    result(second, tmp_path)
    began = values(bundle.find(world / "tiny").load(parts.PSP))
    moved = max(np.abs(a - b).max() for a, b in zip(began, undisturbed, strict=True))
    assert moved > 1e-3
    for a, b in zip(undisturbed, found, strict=True):
        # rounding in the order of sums: 1.2e-7 was found, where weights moved by 0.07
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * moved)
