"""Standard errors, the judge by action units, and the paper's claims, on made-up results."""

import dataclasses

import numpy as np
import pytest

from emojax.evaluation import paper, standard_errors, unit_judge
from emojax.evaluation.table import ALL, Row
from emojax.runtime.choices import EMOTIONS
from tests.support import small_world


def results(rng, people=16, sources=256):
    """Values that depend on the source, on the target person, and on chance: their deviations."""
    persons = rng.normal(0, 0.2, (people, 8))
    each = rng.normal(0, 0.3, (sources, 1)) + persons[np.arange(sources) % people]
    return each + rng.normal(0, 0.1, (sources, 8))


def test_errors_are_the_spread_of_repeated_experiments():
    rng = np.random.default_rng(0)
    means = [results(rng).mean() for _ in range(400)]
    found = [standard_errors.of_mean(results(rng), 16) for _ in range(40)]
    over_sources, over_targets = (np.mean([each[name] for each in found]) for name in found[0])
    targets_alone = 0.2 / np.sqrt(16 * 8)
    assert over_sources == pytest.approx(0.3 / 16, rel=0.1)
    assert targets_alone < over_targets < 1.6 * targets_alone  # holds a part of the other
    assert np.hypot(over_sources, over_targets) > 0.95 * np.std(means)


def test_of_one_person_nothing_is_said_of_targets():
    assert standard_errors.of_mean(np.ones((5, 2)), 1) == {"sources": 0.0}
    named = standard_errors.named({"a": np.ones((5, 2)), "b": np.full((5, 2), np.nan)}, 5)
    assert named == {"a se sources": 0.0, "a se targets": 0.0}


def test_units_tell_the_emotion_of_other_people():
    rng = np.random.default_rng(1)
    faces = rng.normal(0, 3, (8, 12))
    true = faces + rng.normal(0, 0.5, (40, 8, 12))
    right = unit_judge.recognised(true + rng.normal(0, 0.1, true.shape), true)
    assert right.mean() > 0.99
    assert unit_judge.recognised(np.roll(true, 1, axis=1), true).mean() < 0.05
    own = rng.normal(0, 3, (40, 8, 12))  # what people's own pictures say must not help them
    assert unit_judge.recognised(own, own).mean() < 0.25
    assert unit_judge.recognised(true[:4], true[:4]) is None


def rows(hyperstyle, psp):
    """Emotion scores of the paper's method, in the order of EMOTIONS."""
    for inverter, scores in (("hyperstyle", hyperstyle), ("psp", psp)):
        distance = paper.ORIGINALS[inverter]
        yield Row(inverter, "original", ALL, {"frechet": distance})
        yield Row(inverter, "none", ALL, {"top1": 0.15})
        yield Row(inverter, "reinvert", ALL, {"top1": 0.7})
        for emotion, score in zip(EMOTIONS, scores, strict=True):
            yield Row(inverter, "reinvert", emotion, {"emotion_score": score, "frechet": 30.0})


def test_the_papers_own_figures_confirm_its_claims():
    directions = small_world.directions()
    claims = paper.claims(list(rows(**paper.SCORES)), directions)
    assert [claim.holds for claim in claims[:3]] == [True, True, True]
    swapped = rows(hyperstyle=paper.SCORES["psp"], psp=paper.SCORES["hyperstyle"])
    claims = paper.claims(list(swapped), directions)
    assert [claim.holds for claim in claims[:3]] == [True, False, True]
    assert claims[1].found == "so for 0 of 8"
    beside = paper.table_one(list(rows(**paper.SCORES)))
    assert len(beside) == 2 * 9
    assert all(row.score == row.paper_score for row in beside)


def test_claims_of_directions():
    directions = small_world.directions()
    assert directions.names == EMOTIONS
    others = np.random.default_rng(0).normal(size=directions.coefficients.shape)
    raw = others.copy()
    neutral, fear, surprise = map(EMOTIONS.index, ("neutral", "fear", "surprise"))
    raw[surprise] = raw[fear] + 0.1 * raw[surprise]
    raw[neutral] = -(raw.sum(0) - raw[neutral])
    for coefficients, holds in ((raw, True), (others, False)):
        made = dataclasses.replace(directions, coefficients=coefficients)
        assert [claim.holds for claim in paper.claims([], made)] == [holds, holds]
