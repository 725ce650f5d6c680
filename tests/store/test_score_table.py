"""The score table on disk: it grows by whole samples, and rows that are there stay as they are."""

import dataclasses
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorstore as ts

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


# ---- damage: a chunk's codes and probabilities are one unit


def flip(file):
    """Change one bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def swap(a, b):
    """Exchange the contents of two files."""
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def cut(file):
    """Leave the first half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def reorder(settings):
    """Exchange two classes in the settings of a table."""
    text = settings.read_text().replace("Anger", "X").replace("Fear", "Anger").replace("X", "Fear")
    settings.write_text(text)


@pytest.mark.parametrize("damage", [flip, cut, lambda file: file.write_bytes(b"")])
def test_a_damaged_chunk_is_named_missing_and_healed(tmp_path, damage):
    table = ScoreTable.create(tmp_path, SETTINGS)
    fill(table, [0, 1, 2])
    damage(tmp_path / "rows" / "000001.npz")
    assert table.missing() == [1]
    with pytest.raises(UserError, match=r"chunk 1 \(faces 4 to 7\) .*'emojax score' with the") as e:
        table.read()
    assert "\n" not in str(e.value)
    fill(table, table.missing())
    assert_rows(table, list(range(10)))


def test_swapped_chunks_are_detected(tmp_path):
    table = ScoreTable.create(tmp_path, SETTINGS)
    fill(table, [0, 1, 2])
    swap(tmp_path / "rows" / "000000.npz", tmp_path / "rows" / "000001.npz")
    assert table.missing() == [0, 1]
    with pytest.raises(UserError, match=r"chunk 0 .*it is the file of another chunk"):
        table.read()


def test_classes_in_another_order_are_detected(tmp_path):
    fill(ScoreTable.create(tmp_path, SETTINGS), [0, 1, 2])
    reorder(tmp_path / "settings.json")
    table = ScoreTable.open(tmp_path)
    assert table.settings.classes == ("Fear", "Anger", "Joy")
    with pytest.raises(UserError, match=r"chunk 0 .*it was scored with classes \['Anger', 'Fear'"):
        table.read()
    assert table.missing() == [0, 1, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_no_rows(tmp_path, bad):
    table = ScoreTable.create(tmp_path, SETTINGS)
    fill(table, [0, 1, 2])
    codes = CODES[:4].copy()
    codes[2, 2] = bad
    table.write(0, codes, PROBABILITIES[:4])
    assert table.missing() == [0]
    with pytest.raises(UserError, match=r"chunk 0 .*codes holds NaN or infinity"):
        table.read()


def test_a_hostile_table_costs_what_its_files_weigh(tmp_path):
    """Settings that claim 2**32 samples in chunks of one row make no list of them."""
    large = dataclasses.replace(SETTINGS, samples=2**32, chunk=1)
    table = ScoreTable.create(tmp_path, large)
    table.write(7, CODES[:1], PROBABILITIES[:1])
    start = time.process_time()
    assert ScoreTable.open(tmp_path).read().ids.tolist() == [7]
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "change",
    [
        {"chunk": 0},
        {"width": -1},
        {"samples": "10"},
        {"codes": "int8"},
        {"classes": "abc"},
        {"x": 1},
    ],
)
def test_settings_of_other_types_are_refused(tmp_path, change):
    ScoreTable.create(tmp_path, SETTINGS)
    stored = json.loads((tmp_path / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**stored, **change}))
    with pytest.raises(UserError, match="is not settings of a score table"):
        ScoreTable.open(tmp_path)


# ---- tables of earlier releases


def write_zarr(folder, rows: int) -> None:
    """Write a table as releases before 2026-11-27 did."""
    fill(ScoreTable.create(folder, SETTINGS), [])
    for name, array in (("codes", CODES), ("probabilities", PROBABILITIES)):
        width = array.shape[1]
        grid = {"name": "regular", "configuration": {"chunk_shape": [4, width]}}
        codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(folder / name)},
            "metadata": {
                "data_type": "float32",
                "chunk_grid": grid,
                "codecs": codecs,
                "fill_value": "NaN",
                "shape": [10, width],
            },
        }
        store = ts.open(spec, open=True, create=True).result()
        store[:rows].write(array[:rows]).result()


def test_a_table_of_an_earlier_release_is_read_and_taken_on(tmp_path):
    write_zarr(tmp_path, 8)
    table = ScoreTable.open(tmp_path)
    assert_rows(table, list(range(8)))
    assert table.missing() == [2]
    table = grown(tmp_path, 16)
    assert table.missing() == [2, 3]
    fill(table, [2, 3])
    assert_rows(ScoreTable.open(tmp_path), list(range(16)))


@pytest.mark.parametrize("name", ["codes", "probabilities"])
@pytest.mark.parametrize("damage", [flip, lambda file: file.unlink()])
def test_damage_of_an_earlier_table_is_named_and_healed(tmp_path, name, damage):
    """A lost chunk of codes was read as NaN, and `missing` was empty."""
    write_zarr(tmp_path, 10)
    damage(tmp_path / name / "c" / "1" / "0")
    table = ScoreTable.open(tmp_path)
    assert table.missing() == [1]
    if (tmp_path / "probabilities" / "c" / "1" / "0").exists():
        with pytest.raises(UserError, match=r"chunk 1 \(faces 4 to 7\) of the scores in") as error:
            table.read()
        assert len(str(error.value)) < 400
    fill(table, [1])
    assert_rows(table, list(range(10)))


def test_opening_a_table_imports_no_jax():
    code = "import sys, emojax.store.score_table; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_regressed_scores_are_columns_behind_the_classes(tmp_path):
    settings = dataclasses.replace(SETTINGS, regressed=("Valence", "Arousal"))
    table = ScoreTable.create(tmp_path, settings)
    scores = np.concatenate([PROBABILITIES, 1 - 2 * PROBABILITIES[:, :2]], axis=1)
    for chunk in range(3):
        table.write(chunk, CODES[settings.rows(chunk)], scores[settings.rows(chunk)])
    found = ScoreTable.open(tmp_path).read()
    assert found.settings == settings
    assert found.settings.scores == ("anger", "fear", "joy", "valence", "arousal")
    np.testing.assert_array_equal(found.scores, scores[:10])
    np.testing.assert_array_equal(found.probabilities, PROBABILITIES[:10])
    assert table.missing() == []
    assert table.listed() == {0, 1, 2}  # by the sizes of their files
    with pytest.raises(ValueError, match="3 scores a sample, wanted anger, fear, joy, valence"):
        table.write(0, CODES[:4], PROBABILITIES[:4])
    with pytest.raises(ValueError, match="two scores have one name"):
        dataclasses.replace(SETTINGS, regressed=("fear",))


def test_tables_with_and_without_regressed_scores_are_not_mixed(tmp_path):
    with_both = dataclasses.replace(SETTINGS, regressed=("Valence", "Arousal"))
    fill(ScoreTable.create(tmp_path / "plain", SETTINGS), [0])
    assert "regressed" not in (tmp_path / "plain" / "settings.json").read_text()
    with pytest.raises(UserError, match=r"another run \(regressed None, now \['Valence'"):
        ScoreTable.create(tmp_path / "plain", with_both)
    ScoreTable.create(tmp_path / "both", with_both)
    with pytest.raises(UserError, match=r"another run \(regressed \['Valence'"):
        ScoreTable.create(tmp_path / "both", SETTINGS)
    (tmp_path / "both" / "rows").mkdir()
    (tmp_path / "plain" / "rows" / "000000.npz").rename(tmp_path / "both/rows/000000.npz")
    assert 0 in ScoreTable.open(tmp_path / "both").missing()
