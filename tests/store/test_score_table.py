"""The score table on disk: it grows by whole samples, and rows that are there stay as they are."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from emojax.runtime.errors import UserError
from emojax.store.score_table import ScoreSettings, ScoreTable

SETTINGS = ScoreSettings("g", "e", ("Anger", "Fear", "Joy"), width=5, samples=10, chunk=4)
RNG = np.random.default_rng(0)
CODES = RNG.standard_normal((40, 5)).astype(np.float32)
PROBABILITIES = RNG.uniform(size=(40, 3)).astype(np.float32)


def fill(table: ScoreTable, chunks: list[int]) -> None:
    for chunk in chunks:
        rows = table.settings.rows(chunk)
        table.write(chunk, CODES[rows], PROBABILITIES[rows])


def assert_rows(table: ScoreTable, ids: list[int]) -> None:
    scored = table.read()
    assert scored.ids.tolist() == ids
    np.testing.assert_array_equal(scored.codes, CODES[ids])
    np.testing.assert_array_equal(scored.probabilities, PROBABILITIES[ids])


def grown(folder, samples: int) -> ScoreTable:
    return ScoreTable.create(folder, dataclasses.replace(SETTINGS, samples=samples))


@pytest.mark.parametrize("samples", [11, 12, 13, 16, 23, 40])
def test_more_samples_leave_the_rows_that_are_there(tmp_path, samples):
    fill(ScoreTable.create(tmp_path, SETTINGS), [0, 1, 2])
    table = grown(tmp_path, samples)
    assert table.settings.samples == samples
    assert_rows(table, list(range(10)))
    assert table.missing() == list(range(2, -(-samples // 4)))  # the third was cut short
    fill(table, table.missing())
    assert_rows(table, list(range(samples)))
    assert ScoreTable.open(tmp_path).missing() == []
    assert json.loads((tmp_path / "settings.json").read_text())["samples"] == samples


def test_whole_chunks_stay_complete(tmp_path):
    fill(grown(tmp_path, 8), [0, 1])
    table = grown(tmp_path, 16)
    assert table.missing() == [2, 3]


def test_the_short_chunk_may_be_the_only_one(tmp_path):
    small = dataclasses.replace(SETTINGS, samples=3, chunk=256)
    fill(ScoreTable.create(tmp_path, small), [0])
    table = ScoreTable.create(tmp_path, dataclasses.replace(small, samples=30))
    assert_rows(table, [0, 1, 2])
    assert table.missing() == [0]
    fill(table, [0])
    assert_rows(table, list(range(30)))


def test_it_never_shrinks(tmp_path):
    fill(ScoreTable.create(tmp_path, SETTINGS), [0, 1, 2])
    with pytest.raises(
        UserError, match=r"another run \(samples 10, now 9\): give the same options"
    ):
        grown(tmp_path, 9)
    assert_rows(ScoreTable.open(tmp_path), list(range(10)))


def test_a_kill_between_settings_and_arrays_is_made_good(tmp_path):
    fill(ScoreTable.create(tmp_path, SETTINGS), [0, 1, 2])
    stored = json.loads((tmp_path / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**stored, "samples": 20}))
    assert_rows(ScoreTable.open(tmp_path), list(range(10)))
    assert ScoreTable.open(tmp_path).missing() == [2, 3, 4]


def test_processes_that_grow_it_together(tmp_path):
    fill(ScoreTable.create(tmp_path, SETTINGS), [0, 1, 2])
    tables = [grown(tmp_path, 20) for _ in range(2)]
    for table, chunks in zip(tables, ([2, 4], [3]), strict=True):
        fill(table, chunks)
    assert_rows(tables[0], list(range(20)))


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    """Layout and settings are what they were: an array of another shape is damage."""
    ScoreTable.create(tmp_path, SETTINGS)
    about = json.loads((tmp_path / "codes" / "zarr.json").read_text())
    assert about["shape"] == [10, 5]
    assert about["chunk_grid"]["configuration"]["chunk_shape"] == [4, 5]
    (tmp_path / "codes" / "zarr.json").write_text(json.dumps({**about, "shape": [99, 5]}))
    with pytest.raises(UserError, match=r"scores in .* are damaged .*wanted \[10, 5\]"):
        ScoreTable.open(tmp_path)


def test_opening_a_table_imports_no_jax():
    code = "import sys, emojax.store.score_table; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
