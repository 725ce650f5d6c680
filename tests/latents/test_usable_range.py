"""How far directions can be followed: the rule on made-up curves, and the demo's stored ranges."""

import dataclasses

import numpy as np
import pytest

from emojax.latents import directions, usable_range
from emojax.latents.usable_range import Curve
from emojax.store import bundle
from emojax.store.score_table import ScoreSettings

K = np.arange(0.0, 21.0)


def curve(change, recognised=None):
    return Curve(K, change, np.ones(21) if recognised is None else recognised)


def test_a_range_ends_where_the_answer_has_made_most_of_its_change():
    rising = np.minimum(K, 10.0)  # then it stays
    assert usable_range.usable_end(curve(rising)) == pytest.approx(9.5)
    turning = 10 - np.abs(K - 10)  # then it falls again
    assert usable_range.usable_end(curve(turning)) == pytest.approx(9.5)
    assert usable_range.usable_end(curve(-K)) == 0.0  # it falls where it should rise


def test_a_range_ends_where_faces_are_no_longer_recognised():
    lost = np.clip(1.5 - K / 10, 0, 1)  # 0.75 at k = 7.5
    assert usable_range.usable_end(curve(K, lost), by_answer=False) == pytest.approx(7.5)
    assert usable_range.usable_end(curve(K, lost)) == pytest.approx(0.95 * 7.5)
    assert usable_range.usable_end(curve(K), by_answer=False) == 20.0


def test_a_curve_may_end_with_its_first_step():
    two = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 0.5]))
    assert usable_range.usable_end(two) == pytest.approx(0.475)


def test_log_odds_are_of_the_softmax():
    logits = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    p = np.exp(logits.astype(float))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(usable_range._log_odds(logits), np.log(p / (1 - p)), rtol=1e-6)
    sure = usable_range._log_odds(np.array([[200.0, 0.0]], np.float32))
    np.testing.assert_allclose(sure, [[200, -200]])  # no infinity, where p rounds to 1


def test_faces_are_recognised_among_others():
    own, others = np.eye(4)[:3], np.array([[0, 0, 0, 1.0], [1, 1, 1, 1]])
    assert usable_range._recognised(own + 0.1, own, others) == 1
    assert usable_range._recognised(np.ones((3, 4)), own, others) == 0
    assert usable_range._recognised(np.zeros((3, 0)), np.zeros((3, 0)), np.zeros((2, 0))) == 1


def test_the_demos_ranges_end_before_its_faces_break():
    """Looked at: mouths are smeared from happiness +8, surprise -14 and neutral +22 on.

    Contempt's faces, whose skin and background change too, are whole to 30.
    """
    found = directions.load(bundle.find(bundle.DEFAULT))
    ranges = dict(zip(found.names, found.usable, strict=True))
    assert 3 < ranges["happiness"][1] < 8
    assert -14 < ranges["surprise"][0] < -4
    for name, (low, high) in ranges.items():
        end = 20 if name in ("contempt", "neutral") else 16
        assert -end < low < -4, name
        assert name == "happiness" or 4 < high < end, name


@pytest.mark.slow
def test_the_demos_ranges_are_what_is_measured():
    place = bundle.find(bundle.DEFAULT)
    stored = directions.load(place)
    row = [stored.index("happiness")]
    arrays = {name: getattr(stored, name)[row] for name in ("coefficients", "intercepts", "sigma")}
    one = dataclasses.replace(stored, names=("happiness",), usable=None, **arrays)
    settings = ScoreSettings("", "", (), 96, 1)
    steps = []
    found = usable_range.measure_in(place, one, settings, advance=lambda: steps.append(1))
    # float32 rounding may tip one of 32 faces over the edge between two steps
    np.testing.assert_allclose(found.usable[0], stored.usable[row[0]], atol=0.3, rtol=0)
    assert len(steps) == usable_range.STEPS
    assert found.metadata["usable_range"]["others"] == 1000
    assert found.metadata["usable_range"]["network"]
