"""Rows in batches of one shape: nothing lost, nothing twice, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.runtime.batching import batches, in_batches


@pytest.mark.parametrize(("count", "size"), [(1, 4), (4, 4), (5, 4), (8, 4), (9, 1), (3, 100)])
def test_every_row_comes_back_in_its_place(count, size):
    traced = []

    @jax.jit
    def double(rows):
        traced.append(1)
        return {"twice": 2 * rows["x"], "sum": rows["x"].sum(1)}

    x = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    seen = []
    result = in_batches(double, {"x": x}, size, advance=seen.append)
    np.testing.assert_array_equal(result["twice"], 2 * x)
    np.testing.assert_array_equal(result["sum"], x.sum(1))
    assert len(traced) == 1
    assert sum(seen) == count
    assert all(0 < rows <= size for rows in seen)


def test_batches_have_one_length_and_repeat_the_last_row():
    assert [list(each) for each in batches(5, 2)] == [[0, 1], [2, 3], [4, 4]]
    assert [list(each) for each in batches(1, 3)] == [[0]]
    assert batches(0, 3) == []
    assert [list(each) for each in batches(3, 2, multiple_of=2)] == [[0, 1], [2, 2]]
    assert [list(each) for each in batches(1, 8, multiple_of=4)] == [[0, 0, 0, 0]]


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        in_batches(lambda rows: rows, np.zeros((0, 3)), 2)


def test_jax_arrays_are_taken_too():
    x = jnp.arange(7.0)
    np.testing.assert_array_equal(in_batches(lambda rows: rows + 1, x, 3), np.arange(7.0) + 1)
