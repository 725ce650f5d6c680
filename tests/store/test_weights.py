"""Tables on disk: Orbax's format both ways, in pieces, and damage without stray exceptions."""

import gc
import shutil
import sys
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest

from emojax.runtime.errors import UserError
from emojax.store import bundle, weights
from emojax.store.fingerprint import fingerprint
from emojax.store.parts import PARTS

RNG = np.random.default_rng(0)
TABLE = {
    "a.0.kernel": RNG.standard_normal((5, 3, 2)).astype(np.float32),
    "a.0.transposed": RNG.standard_normal((4, 6)).astype(np.float32).T,
    "a.10.half": RNG.standard_normal(7).astype(np.float16),
    "b.brain": RNG.standard_normal((2, 2)).astype(ml_dtypes.bfloat16),
    "b.scalar": np.array(3.5, np.float32),
    "b.steps": np.arange(4, dtype=np.int32),
    "zeros": np.zeros((9, 2), np.float32),
}


def assert_equal(found: dict, wanted: dict = TABLE) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(array), name)


@pytest.mark.parametrize("piece", [1, 16, 2**25])
def test_round_trip_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(weights, "PIECE", piece)
    weights.write(tmp_path / "w", TABLE)
    assert_equal(weights.read(tmp_path / "w"))
    with ocp.StandardCheckpointer() as checkpointer:
        assert_equal(checkpointer.restore(tmp_path / "w"))


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_large_arrays_are_read_into_pages_of_their_own(tmp_path: Path, dtype: type) -> None:
    """From a mebibyte on; each is a new array, which may be changed and outlives the table."""
    large = np.random.default_rng(0).standard_normal((1030, 1021)).astype(dtype)
    weights.write(tmp_path / "w", {"large": large})
    stored = weights.read(tmp_path / "w")["large"]
    first, second = np.asarray(stored), np.asarray(stored)
    first[:] = 0
    del stored
    np.testing.assert_array_equal(second, large)


def test_a_table_can_be_copied_from_disk_to_disk(tmp_path: Path) -> None:
    weights.write(tmp_path / "a", {**TABLE, "b.steps": jnp.arange(4, dtype=jnp.int32)})
    weights.write(tmp_path / "b", weights.read(tmp_path / "a"))
    assert_equal(weights.read(tmp_path / "b"))


def test_orbax_restores_into_a_target(tmp_path: Path) -> None:
    weights.write(tmp_path / "w", TABLE)
    target = {name: jnp.zeros(array.shape, array.dtype) for name, array in TABLE.items()}
    with ocp.StandardCheckpointer() as checkpointer:
        assert_equal(checkpointer.restore(tmp_path / "w", target))


@pytest.mark.parametrize("options", [{}, {"use_ocdbt": False}, {"use_zarr3": True}])
def test_what_orbax_wrote_is_read(tmp_path: Path, options: dict[str, bool]) -> None:
    tree = {
        "a": {
            "0": {"kernel": TABLE["a.0.kernel"], "transposed": jnp.asarray(TABLE["a.0.transposed"])}
        },
        "b.scalar": TABLE["b.scalar"],
    }
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options)) as checkpointer:
        checkpointer.save(tmp_path / "w", tree)
    names = ["a.0.kernel", "a.0.transposed", "b.scalar"]
    assert_equal(weights.read(tmp_path / "w"), {name: TABLE[name] for name in names})


def test_what_another_release_of_orbax_wrote_is_read() -> None:
    """The embedded bundle was written once; CI reads it with the oldest and the newest release."""
    embedded = bundle.find(bundle.DEFAULT)
    parts = [part for part in PARTS.values() if embedded.has(part)]
    assert len(parts) >= 6
    for part in parts:
        stored = weights.read(embedded.folder(part) / "weights")
        assert fingerprint(stored) == embedded.sha256(part)


def test_damage_is_one_sentence_and_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orbax's restoring left about six exceptions a try in its closed event loop."""
    stray = []
    monkeypatch.setattr(sys, "unraisablehook", stray.append)
    weights.write(tmp_path / "whole", {f"layer.{i}": np.full(500, i) for i in range(12)})
    for trial in range(20):
        place = shutil.copytree(tmp_path / "whole", tmp_path / str(trial))
        files = [place / "_METADATA"] if trial == 0 else place.rglob("d/*")
        for file in files:
            file.write_bytes(file.read_bytes()[: file.stat().st_size * trial // 25])
        with pytest.raises(
            UserError, match=r"is damaged \(.+\): convert the file again, or copy the whole"
        ) as error:
            fingerprint(weights.read(place))
        assert "\n" not in str(error.value)
    gc.collect()
    assert stray == []


def test_a_lost_piece_is_not_taken_for_zeros(tmp_path: Path) -> None:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as checkpointer:
        checkpointer.save(tmp_path / "w", {"kernel": TABLE["a.0.kernel"]})
    (tmp_path / "w" / "kernel" / "0.0.0").unlink()
    with pytest.raises(UserError, match="is damaged"):
        np.asarray(weights.read(tmp_path / "w")["kernel"])


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000))
    with pytest.raises(UserError, match=r"w \(it takes 4 MB and 2 MB are free\): make room"):
        weights.write(tmp_path / "w", {"large": np.zeros(1_000_000, np.float32)})
    assert not list(tmp_path.iterdir())
