"""`emojax score`: the same table however it came about, and whole after any kill."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax import score
from emojax.runtime import compile_cache
from emojax.runtime.errors import UserError
from emojax.scoring import classifier, sampling, sharing
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR
from emojax.store.score_table import ScoreTable
from tests.support import score_world
from tests.support.small_world import rel_err

SAMPLES, CHUNK = 300, 16
KILLS = int(os.environ.get("EMOJAX_KILLS", "1"))  # a minute for 20


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return score_world.write(tmp_path_factory.mktemp("checkpoints") / "tiny")


def options(world, out, **changes):
    common = {"bundle": str(world), "samples": SAMPLES, "chunk": CHUNK}
    return score.Options(out=str(out), **{**common, **changes})


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """Score on all four devices without a break; return the folder."""
    folder = tmp_path_factory.mktemp("whole") / "scores"
    score.main(options(world, folder))
    return folder


def assert_same(folder, whole):
    """Compare two tables' rows.

    Codes differ by float32 rounding. So do probabilities, but for samples whose picture has a value
    on the edge between two grey levels: these tiny random networks make up to 5e-3 of one level in
    one pixel of 16x16. 0.5 % of 4,096 samples were such, so here 2 % may be.
    """
    ours, theirs = ScoreTable.open(folder).read(), ScoreTable.open(whole).read()
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_allclose(ours.codes, theirs.codes, rtol=1e-5, atol=1e-5)
    off = np.abs(ours.probabilities - theirs.probabilities).max(1)
    assert off.max() < 2e-2
    assert (off > 1e-5).mean() < 0.02


def command(world, out, *more, chunk=CHUNK):
    """Return a command line that scores in a process of its own."""
    line = [sys.executable, "-m", "emojax.score", "--bundle", world, "--out", out]
    return [str(part) for part in (*line, "--samples", SAMPLES, "--chunk", chunk, *more)]


def environment(devices, **more):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_DEFAULT_MATMUL_PRECISION": "highest", **more}


def test_a_row_is_that_sample_drawn_and_judged_by_itself(world, whole):
    scored = ScoreTable.open(whole).read()
    assert scored.codes.shape == (SAMPLES, 16)
    assert scored.probabilities.std(0).min() > 1e-3  # faces are told apart
    generator, emotion = bundle.find(world).load(GENERATOR), bundle.find(world).load(EMOTION)
    ids = jnp.asarray([0, 17, SAMPLES - 1], jnp.uint32)
    codes = generator.mapping(sampling.draw_z(jax.random.key(0), ids, 16))
    pictures = jax.jit(sampling.sample)(generator, jax.random.key(0), ids)
    judged = classifier.classify(emotion, np.clip(pictures, -1, 1))
    assert rel_err(scored.codes[ids], codes) < 1e-6
    np.testing.assert_allclose(scored.probabilities[ids], judged.probabilities, atol=1e-4, rtol=0)


def test_one_device_makes_the_same_table(world, whole, tmp_path):
    score.main(options(world, tmp_path / "scores", batch=1))
    assert_same(tmp_path / "scores", whole)


def test_processes_leave_no_chunk_out_whatever_they_see_missing(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    seen = {0: range(20), 1: range(4, 20), 2: [1, 2, 5, 8, 11, 14, 17]}  # as they come to look
    done = []
    for process, chunks in seen.items():
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        done += sharing.share(chunks)
    assert sorted(done) == [c for c in range(20) if c != 1]  # 1 was there when its process looked


def test_kills_lose_nothing_that_was_written(world, whole, tmp_path):
    rng = random.Random(0)
    folder = tmp_path / "scores"
    cache = environment(2, **compile_cache.variables(tmp_path / "cache"))
    line = command(world, folder, chunk=2)

    def stored():
        return len(list(folder.glob("rows/*.npz")))

    for kill in range(KILLS):
        wanted = stored() + rng.randint(1, max(1, 60 // KILLS))
        process = subprocess.Popen(line, env=cache, stderr=subprocess.PIPE)
        while process.poll() is None and stored() < wanted:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"kill {kill} came too late"
        table = ScoreTable.open(folder)
        assert table.settings.chunks - len(table.missing()) == stored() >= wanted
        assert_same_rows(table.read(), whole)
    subprocess.run(line, env=cache, check=True, capture_output=True)
    assert ScoreTable.open(folder).missing() == []
    assert_same(folder, whole)


def assert_same_rows(part, whole):
    """The rows there are whole rows of the uninterrupted table."""
    codes = ScoreTable.open(whole).read().codes[part.ids]
    np.testing.assert_allclose(part.codes, codes, rtol=1e-5, atol=1e-5)


def test_only_missing_chunks_are_scored_again(world, whole, tmp_path, capsys):
    folder = tmp_path / "scores"
    score.main(options(world, folder))
    files = sorted((folder / "rows").iterdir())
    kept = {file: file.stat().st_mtime_ns for file in files}
    files[3].unlink()
    assert ScoreTable.open(folder).missing() == [int(files[3].stem)]
    score.main(options(world, folder))
    assert_same(folder, whole)
    assert {file for file in files if file.stat().st_mtime_ns != kept[file]} == {files[3]}


def test_a_table_is_taken_on_to_more_samples(world, whole, tmp_path, capsys):
    folder = tmp_path / "scores"
    score.main(options(world, folder, samples=40))
    assert "40 of 40 faces scored" in capsys.readouterr().out
    first = ScoreTable.open(folder).read()
    score.main(options(world, folder))
    assert_same(folder, whole)
    assert_same_rows(first, whole)
    assert "300 of 300 faces scored" in capsys.readouterr().out


def test_a_smaller_run_goes_on_to_more_samples(world, whole, tmp_path):
    """`--samples 40`, then `--samples 300`: the last chunk of 40, half full, is scored again."""
    folder = tmp_path / "scores"
    score.main(options(world, folder, samples=40))
    files = [folder / "rows" / name for name in ("000000.npz", "000001.npz")]
    kept = [file.stat().st_mtime_ns for file in files]
    score.main(options(world, folder))
    assert_same(folder, whole)
    assert [file.stat().st_mtime_ns for file in files] == kept
    with pytest.raises(UserError, match="samples 300, now 40"):
        score.main(options(world, folder, samples=40))


def test_help_needs_no_jax():
    told = "import sys; from emojax.runtime.cli import call; from emojax import score\n"
    told += "try: call(score.main, ['--help'])\nexcept SystemExit: print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_half_precision_codes(world, whole, tmp_path):
    score.main(options(world, tmp_path / "scores", codes="float16"))
    scored = ScoreTable.open(tmp_path / "scores").read()
    assert scored.codes.dtype == np.float16
    assert 0 < rel_err(scored.codes, ScoreTable.open(whole).read().codes) < 5e-4


def test_lower_resolution_says_how_far_it_is_off(world, whole, tmp_path, capsys):
    folder = tmp_path / "scores"
    score.main(options(world, folder, resolution=8, compare=20))
    said = json.loads((folder / "deviation.json").read_text())
    ours, full = (ScoreTable.open(f).read().probabilities[:20] for f in (folder, whole))
    assert said["samples"] == 20
    assert said["mean"] == pytest.approx(np.abs(ours - full).mean(), rel=1e-2)
    assert said["same_top"] == (ours.argmax(1) == full.argmax(1)).mean()
    expected = np.corrcoef(ours[:, 4], full[:, 4])[0, 1]
    assert said["correlation"]["Happiness"] == pytest.approx(expected, abs=1e-3)
    assert said["mean"] > 1e-2  # another picture was scored
    assert "at 8² instead of 16², 20 faces" in capsys.readouterr().out


def test_truncation_moves_codes_and_pictures(world, whole, tmp_path):
    score.main(options(world, tmp_path / "scores", truncation=0.5))
    half, full = (ScoreTable.open(f).read() for f in (tmp_path / "scores", whole))
    mean = np.asarray(bundle.find(world).load(GENERATOR).latent_avg[...])
    assert rel_err(half.codes, mean + 0.5 * (full.codes - mean)) < 1e-5
    assert np.abs(half.probabilities - full.probabilities).mean() > 1e-2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"truncation": 0.7}, "another run .truncation 1.0, now 0.7.: give the same options"),
        ({"samples": 301, "seed": 1}, r"another run \(seed 0, now 1\)"),
        ({"samples": 299}, r"another run \(samples 300, now 299\): give the same options"),
        ({"samples": 0}, "--samples is 0, wanted 1 or more"),
        ({"chunk": 2**22, "samples": 2**22}, r"--chunk is 4,194,304, wanted at most 2,785,280"),
        ({"batch": 0}, "--batch is 0, wanted 1 or more"),
        ({"resolution": 20}, r"--resolution is 20, this generator draws \[4, 8, 16\]"),
        ({"bundle": "nowhere"}, "no bundle 'nowhere'"),
        ({"hosts": score.Hosts(process=1)}, "--hosts is given without --distributed"),
        (
            {"hosts": score.Hosts(process=1), "distributed": True},
            "--hosts.coordinator and --hosts.processes not given",
        ),
    ],
)
def test_bad_arguments(world, whole, change, sentence):
    before = (whole / "settings.json").read_bytes()
    with pytest.raises(UserError, match=sentence):
        score.main(options(world, whole, **change))
    assert (whole / "settings.json").read_bytes() == before


def test_folders_of_something_else(world, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds something else than results"):
        score.main(options(world, tmp_path))
    with pytest.raises(UserError, match=r"no scores in .*: make them with 'emojax score"):
        ScoreTable.open(tmp_path)
    (tmp_path / "settings.json").write_text('{"classes": [1]}')
    with pytest.raises(UserError, match="is not settings of a score table"):
        ScoreTable.open(tmp_path)


def test_damage_is_one_sentence(world, whole, tmp_path):
    folder = tmp_path / "scores"
    score.main(options(world, folder))
    file = folder / "rows" / "000002.npz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"sound file of chunk 2 \(faces 32 to 47\).*score its"):
        ScoreTable.open(folder).read()
    score.main(options(world, folder))
    assert_same(folder, whole)


def test_scores_that_are_no_numbers_are_refused(world, tmp_path):
    table = score_world.emotion_table()
    table["classifier.kernel"] = np.full_like(table["classifier.kernel"], 3e38)
    bad = tmp_path / "bad"
    bundle.save(bad, EMOTION, score_world.EMOTION, table, {})
    (bad / "generator").symlink_to(world / "generator")
    with pytest.raises(UserError, match=r"sample \d+ has no finite score"):
        score.main(options(bad, tmp_path / "scores"))
    assert ScoreTable.open(tmp_path / "scores").missing() == list(range(19))


def test_settings_that_are_compared_are_all_there_is(whole):
    settings = ScoreTable.open(whole).settings
    assert settings.rows(18) == range(288, 300)
    assert settings.count([0, 18]) == 28
    stored = json.loads((whole / "settings.json").read_text())
    named = {field.name for field in dataclasses.fields(settings)}
    assert set(stored) == named - {"regressed"}  # only where a classifier tells more than classes
