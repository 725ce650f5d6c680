"""Mutated files over all loaders, 500 and 1,500; twins show that each limit can be passed."""

import itertools
import time

import pytest

from tests.fuzz import registry, runner

FAMILIES = list(registry.FAMILIES)
WEIGHTS = [registry.find(name).weight for name in FAMILIES]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("cases", "seed"), [(500, 0), pytest.param(1500, 1, marks=pytest.mark.slow)]
)
def test_mutated_files(cases, seed, name):
    count = runner.shares(FAMILIES, WEIGHTS, cases)[name]
    report = runner.run({name: count}, seed=seed)[name]
    assert report.faults == []
    assert report.cases == count
    assert report.loaded >= registry.find(name).at_least * report.cases
    assert report.loaded < 0.95 * report.cases  # else the damage was too small


FAULTS = {
    "unsafe": "ran pickle.find_class",
    "running": "ran os.system",
    "writing": "ran open",
    "hungry": "bytes beyond three times its 5",
    "endless": "took longer than",
    "clumsy": "ZeroDivisionError",
    "wordy": "no short line",
    "dying": "the process ended with -6",
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_limit_can_be_passed(name, tmp_path):
    report = runner.run({name: 1}, keep=tmp_path)[name]
    assert len(report.faults) == 1
    assert FAULTS[name] in report.faults[0]
    assert report.faults[0].startswith(f"{name} case 0: ")
    if name != "dying":
        assert (tmp_path / name / "0" / "file").exists()


def test_the_same_seed_gives_the_same_cases(monkeypatch):
    family = registry.find("checkpoints")
    seeds = family.seeds()
    clock = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 1e9 + 3600 * next(clock))
    assert [family.case(3, i, seeds) for i in range(20)] == [
        family.case(3, i, seeds) for i in range(20)
    ]
    assert family.case(3, 0, seeds) != family.case(4, 0, seeds)
