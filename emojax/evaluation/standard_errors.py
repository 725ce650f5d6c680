"""Standard errors of means over sources and emotions, where every source takes one of P targets."""

import numpy as np

ROWS = {"sources": "standard error over sources", "targets": "standard error over targets"}
"""The two of them, and how tables call them."""


def of_mean(values: np.ndarray, people: int) -> dict[str, float]:
    """Return the standard errors of the mean of values [N,T]: those that can be told.

    Over sources: by the spread of the sources' means over the emotions. Over targets: for each
    emotion by the spread of the P people's means, each over the sources that took this person;
    those are other sources for each, so this error holds a part of the first. All targets are
    different people, so the emotions' errors are independent.

    Args:
        values: of N sources and T emotions; source i took person i mod P.
        people: P; with one nothing can be said of other targets.
    """
    count, emotions = values.shape
    found = {}
    if count > 1:
        found["sources"] = float(values.mean(1).std(ddof=1) / np.sqrt(count))
    if 1 < people <= count:
        means = np.stack([values[person::people].mean(0) for person in range(people)])
        each = means.std(0, ddof=1) / np.sqrt(people)
        found["targets"] = float(np.sqrt(np.square(each).sum()) / emotions)
    return found


def named(values: dict[str, np.ndarray], people: int) -> dict[str, float]:
    """Return the errors of several values [N,T], as "NAME se sources" and "NAME se targets"."""
    return {
        f"{name} se {over}": error
        for name, array in values.items()
        if np.isfinite(array).all()
        for over, error in of_mean(array, people).items()
    }
