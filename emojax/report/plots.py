"""Plots of scores and directions, Figures 4 and 5 of the paper, and curves of a training.

They need matplotlib, which is an extra; `missing` says whether it is there.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from emojax.latents.fit_directions import shares_above
from emojax.runtime.files import replacing


def missing() -> str | None:
    """Return a sentence that says how to install matplotlib; None where it is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed, 'pip install \"emojax[plots]\"' brings it"
    return None


def thresholds(file: Path, names: Sequence[str], probabilities: np.ndarray) -> None:
    """Plot the share of samples above each threshold, one line per emotion (Figure 4).

    Args:
        file: .png, .pdf or .svg.
        names: E emotions.
        probabilities: [n, E] of n samples.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # not pyplot: no global state, no window

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    levels = np.linspace(0, 1, 101)
    lines = shares_above(probabilities, levels).T
    for index, (name, line) in enumerate(zip(names, lines, strict=True)):
        axes.plot(levels, line, label=name, color=f"C{index}", lw=1.6)
    axes.set(xlabel="threshold", ylabel="share of samples above it", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"{len(probabilities):,} samples", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with replacing(file) as aside:
        figure.savefig(aside, dpi=160)


def similarity(file: Path, names: Sequence[str], cosines: np.ndarray) -> None:
    """Plot the cosines between directions as a matrix (Figure 5).

    Args:
        file: .png, .pdf or .svg.
        names: E directions.
        cosines: [E, E].

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(cosines, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(cosines):
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(shown, label="cosine")
    with replacing(file) as aside:
        figure.savefig(aside, dpi=160)


def curves(file: Path, steps: Sequence[float], series: Mapping[str, Sequence[float]]) -> None:
    """Plot what was logged while a network was trained, each series in axes of its own.

    Args:
        file: .png, .pdf or .svg.
        steps: n numbers of steps.
        series: n values, by name.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    rows = -(-len(series) // 2)
    figure = Figure(figsize=(8.4, 2.4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, 2, squeeze=False).flat)
    for one, (name, values) in zip(axes, series.items(), strict=False):
        one.plot(steps, values, color="C0", lw=1.4, marker="." if len(steps) < 3 else None)
        one.set_title(name, fontsize=10)
        one.set_xlabel("steps", fontsize=9)
        one.grid(alpha=0.3)
    for one in axes[len(series) :]:
        one.set_visible(False)
    with replacing(file) as aside:
        figure.savefig(aside, dpi=160)
