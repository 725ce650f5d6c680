"""Conversion tables: nothing is computed before it is asked for, and nothing is kept."""

import jax
import numpy as np
import pytest

from convert import rules
from convert.rules import Rule, apply
from emojax.runtime.errors import LONGEST, UserError
from tests.convert.reader.test_formats import resident_file_bytes


def expected(*shape: int) -> dict[str, jax.ShapeDtypeStruct]:
    return {"kernel": jax.ShapeDtypeStruct(shape, np.float32)}


def test_tensors_are_made_when_they_are_asked_for() -> None:
    weight, made = np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1), []

    def conv(array: np.ndarray) -> np.ndarray:
        made.append(np.may_share_memory(array, weight))
        return rules.conv(array)

    table, left = apply([Rule("kernel", "w", conv)], [], expected(2, 1, 3, 4), {"w": weight})
    assert left == {}
    assert (table["kernel"].shape, table["kernel"].dtype) == ((2, 1, 3, 4), np.float32)
    assert made == [False]  # the shape alone
    array = np.asarray(table["kernel"])
    np.testing.assert_array_equal(array, weight.transpose(2, 3, 1, 0))
    assert array.flags.c_contiguous
    assert np.asarray(table["kernel"], np.float16).dtype == np.float16
    assert made == [False, True, True]


def test_results_never_share_memory_with_the_file() -> None:
    weight = np.arange(6, dtype=np.float32)
    table, _ = apply([Rule("kernel", "w")], [], expected(6), {"w": weight})
    np.asarray(table["kernel"])[...] = 0
    assert weight[5] == 5


def test_pages_of_a_mapped_file_are_given_back(tmp_path) -> None:
    size = 2**24  # 64 MiB of float32
    np.save(tmp_path / "large.npy", np.ones(size, np.float32))
    mapped = np.load(tmp_path / "large.npy", mmap_mode="r")
    table, _ = apply([Rule("kernel", "w")], [], expected(size), {"w": mapped})
    before = resident_file_bytes()
    assert np.asarray(table["kernel"]).sum() == size
    assert resident_file_bytes() - before < 8 * 2**20
    assert mapped.sum() == size
    assert resident_file_bytes() - before > 56 * 2**20  # what looking at the file itself costs


def test_names_of_a_hostile_file_stay_on_their_line() -> None:
    names = ["\x1b[31mred", "a\nerror: all is well", "x" * 10_000]
    with pytest.raises(UserError) as caught:
        apply([Rule("kernel", "w")], [], {}, {name: np.ones(1) for name in names})
    said = [str(caught.value), *caught.value.notes]
    assert len(said) == 4
    assert all(len(line) <= LONGEST and line.isprintable() for line in said)


def test_transforms_that_cannot_be_are_shapes_that_do_not_fit() -> None:
    rule = Rule("kernel", "w", lambda array: array.reshape(5, -1))
    with pytest.raises(UserError, match=r"misshapen: w is \[6\], kernel wants \[5, 1\]"):
        apply([rule], [], expected(5, 1), {"w": np.ones(6, np.float32)})
