"""The benchmark of pasting."""

import numpy as np
import pytest

import emojax
from benchmarks import paste


@pytest.mark.slow
def test_the_change_is_nearer_to_the_truth_than_the_whole_square():
    found = paste.measure(emojax.load("demo", batch=8), people=8, resolution=256)
    assert found.keys() == {"unchanged", "change", "crop"}
    assert all(values.shape == (8,) and np.isfinite(values).all() for values in found.values())
    assert found["change"].mean() > found["crop"].mean() + 3
