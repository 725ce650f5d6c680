"""`emojax score --out s3://...`: the table of an undisturbed run, bit for bit, whatever happens."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from emojax import directions, score
from emojax.latents.directions import Directions
from emojax.runtime import compile_cache
from emojax.runtime.errors import UserError
from emojax.scoring import sharing
from emojax.store import place
from emojax.store.score_table import ScoreSettings, ScoreTable
from tests.support import score_world
from tests.support.object_server import BUCKET

KILLS = int(os.environ.get("EMOJAX_KILLS", "1"))
EXAMPLES = Path(__file__).parents[1] / "examples"
SAMPLES, CHUNK = 192 * KILLS, 4


@pytest.fixture
def address(object_server, monkeypatch, request):
    object_server.use(monkeypatch, failing=0.1)
    return f"s3://{BUCKET}/{request.node.name}"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return score_world.write(tmp_path_factory.mktemp("checkpoints") / "tiny")


def bytes_of(location):
    """Return every file of a table by name."""
    found = place.at(location)
    names = ["settings.json", *found.sizes("rows")]
    return {name: found.read(name, 2**20) for name in names}


def start(world, out, cache, object_server, program=(sys.executable, "-m", "emojax.score")):
    line = [*program, "--bundle", world, "--out", out]
    line += ["--samples", SAMPLES, "--chunk", CHUNK, "--batch", CHUNK]
    one = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    return subprocess.Popen(
        [str(part) for part in line],
        env={**os.environ, **object_server.environment, **compile_cache.variables(cache), **one},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(*processes):
    """Wait for processes; return what they said."""
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whole(world, cache, object_server, tmp_path_factory):
    """The files of the table that one process makes in a folder."""
    folder = tmp_path_factory.mktemp("whole") / "scores"
    finished(start(world, folder, cache, object_server))
    return bytes_of(folder)


def test_kills_two_strangers_and_refused_writes_change_no_bit(
    world, address, object_server, whole, cache
):
    """Processes are killed at any moment; then two that know nothing of each other finish."""
    rng, remote = random.Random(0), place.at(address)
    failed = sum(object_server.failed.values())
    for kill in range(KILLS):
        wanted = len(remote.sizes("rows")) + rng.randint(1, 8)
        process = start(world, address, cache, object_server)
        while process.poll() is None and len(remote.sizes("rows")) < wanted:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"kill {kill} came too late"
        part = bytes_of(address)
        assert part == {name: whole[name] for name in part}
    said = finished(*(start(world, address, cache, object_server) for _ in range(2)))
    assert bytes_of(address) == whole
    done = f"{SAMPLES:,} of {SAMPLES:,} faces scored: {address}"
    assert all(done in each for each in said)
    assert sum(object_server.failed.values()) > failed


def test_two_processes_of_jax_distributed_make_the_same_bits(
    world, address, object_server, whole, cache, monkeypatch
):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        monkeypatch.setenv("PORT", str(probe.getsockname()[1]))
    monkeypatch.setenv("PYTHON", sys.executable)
    (said,) = finished(start(world, address, cache, object_server, [EXAMPLES / "two_processes.sh"]))
    assert bytes_of(address) == whole
    assert said.count("faces scored") == 1  # process 1 says nothing


def test_a_table_in_a_store_is_healed_and_refused_like_a_folder(world, address):
    options = score.Options(bundle=str(world), samples=20, chunk=8, out=address)
    score.main(options)
    whole, remote = bytes_of(address), place.at(address)
    damaged = bytearray(whole["rows/000001.npz"])
    damaged[len(damaged) // 2] ^= 4
    remote.write("rows/000001.npz", bytes(damaged))
    remote.write("rows/000000.npz", whole["rows/000002.npz"])
    table = ScoreTable.open(address)
    assert table.missing() == [0, 1]
    assert table.listed() == {1, 2}
    with pytest.raises(UserError, match=r"s3://.*/rows/000000.npz is not a sound file of chunk 0"):
        table.read()
    score.main(options)
    assert bytes_of(address) == whole
    with pytest.raises(UserError, match=r"holds results of another run \(seed 0, now 1\)"):
        score.main(score.Options(bundle=str(world), samples=20, chunk=8, seed=1, out=address))
    with pytest.raises(UserError, match=r"holds something else than results"):
        score.main(score.Options(bundle=str(world), samples=20, out=f"{address}/rows"))


def test_directions_are_fitted_to_a_table_in_a_store(world, address, whole, tmp_path, capsys):
    remote, file = place.at(address), tmp_path / "found.npz"
    for name, data in whole.items():
        remote.write(name, data)
    directions.main(directions.Options(scores=address, bundle=str(world), out=file, range=False))
    assert Directions.load(file).metadata["samples"] > SAMPLES / 2
    assert f"plots: {address}/figure4_thresholds.png" in capsys.readouterr().out
    assert remote.read("figure4_thresholds.png", 2**20).startswith(b"\x89PNG")
    other = directions.Options(scores=f"{address}/none", bundle=str(world))
    with pytest.raises(UserError, match=r"no scores in s3://.*/none: make them with 'emojax score"):
        directions.main(other)


def test_strangers_share_the_chunks(tmp_path):
    """Eight processes score each chunk once, but for a few that two take at the same time."""
    settings = ScoreSettings("g", "e", ("a",), width=1, samples=400, chunk=1)
    table, scored, told = ScoreTable.create(tmp_path, settings), [], []
    missing = table.missing()
    table.write(7, np.zeros((1, 1), np.float32), np.full((1, 1), np.nan, np.float32))  # damaged
    takers = [
        sharing.untaken(table, missing, rng=random.Random(number), advance=told.append)
        for number in range(8)
    ]
    while takers:
        taken = [(taker, next(taker, None)) for taker in takers]  # all look before any writes
        takers = [taker for taker, chunk in taken if chunk is not None]
        for _, chunk in taken:
            if chunk is not None:
                scored.append(chunk)
                table.write(chunk, np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    assert table.missing() == []
    assert set(scored) == set(range(400))
    assert len(scored) < 400 + 2 * 8 * (1 + np.log(400 / 8))
    assert sum(told) + len(scored) == 8 * 400
