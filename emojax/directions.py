"""Fit emotion directions to scored samples: the paper's regression, or another method.

    python -m emojax.directions scores/ --bundle ffhq
    python -m emojax.directions scores/ --bundle ffhq --method extremes --out extremes.npz

Fits, validates on held-out samples, writes the file and plots Figures 4 and 5 of the paper beside
the scores.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Literal

import tyro

from emojax.latents import fit_directions
from emojax.latents.directions import FILE, Directions
from emojax.report import plots
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.parts import GENERATOR
from emojax.store.score_table import ScoreTable
from emojax.svr import SVRConfig


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.directions`."""

    scores: tyro.conf.Positional[Path]
    """Folder that emojax.score filled, wholly or in part."""
    bundle: str = bundle.DEFAULT
    """Name or folder of the bundle whose generator was scored."""
    out: Path | None = None
    """Write here (.npz); default: the bundle's directions.npz."""
    method: Literal["svr", "extremes", "pca"] = "svr"
    """Support vector regression (the paper's), a classifier of the highest and lowest samples
    (InterfaceGAN's), or principal components (GANSpace's)."""
    loss: Literal["squared", "absolute"] = "squared"
    """svr: loss beyond epsilon. The absolute one fits medians, which rare emotions hardly move."""
    C: float = 4e-4
    """svr: weight of the loss, a sum over samples. At scikit-learn's 1 nothing keeps directions out
    of the axes in which codes hardly differ, where a move changes nothing; too little shrinks them
    towards the axes in which codes differ most."""
    epsilon: float = 0.0
    """svr: error without loss."""
    intercept: Literal["penalised", "free"] = "free"
    """svr: as scikit-learn's SVR (free) or its LinearSVR (penalised). The vectors of emotions whose
    probabilities sum to one sum to zero with a free one only."""
    tol: float = 1e-4
    """svr: relative duality gap."""
    extremes: int = 10_000
    """extremes: samples an emotion at either end."""
    held_out: float = 0.1
    """Share of the samples to validate on."""
    plots: bool = True
    """Plot Figures 4 and 5 into the folder of the scores; wants matplotlib."""


def main(options: Options) -> None:
    """Fit, say how well, write and plot."""
    if options.plots:
        plots.require()
    config = fit_directions.Config(
        options.method,
        SVRConfig(
            loss=f"{options.loss}_epsilon_insensitive".removeprefix("absolute_"),
            C=options.C,
            epsilon=options.epsilon,
            intercept=options.intercept,
            tol=options.tol,
        ),
        options.extremes,
        options.held_out,
    )
    place, table = bundle.find(options.bundle), ScoreTable.open(options.scores)
    _same_generator(place, table.settings.generator_sha256, options)
    scored = table.read()
    if len(scored.ids) < table.settings.samples:
        logging.info("%s of %s samples are scored", len(scored.ids), table.settings.samples)
    found = fit_directions.fit(scored, config)
    file = options.out or bundle.destination(options.bundle) / FILE
    found.save(file)
    _report(found, file)
    if options.plots:
        plots.thresholds(
            options.scores / "figure4_thresholds.png", found.names, scored.probabilities
        )
        plots.similarity(
            options.scores / f"figure5_similarity_{options.method}.png",
            found.names,
            found.similarity(),
        )
        print(f"plots: {options.scores}/figure*.png")


def _same_generator(place: bundle.Bundle, scored: str, options: Options) -> None:
    present = place.sha256(GENERATOR)
    if present != scored:
        raise UserError(
            f"{options.scores} was scored with generator {scored[:12]}, bundle {place} has "
            f"{present[:12]}: give the bundle that was scored with --bundle"
        )


def _report(found: Directions, file: Path) -> None:
    """Print the validation of a fit."""
    facts = found.metadata
    print(f"{facts['method']} on {facts['samples']:,} samples, held out {facts['held_out']:,}")
    print(f"  {'':<10} {'R²':>7} {'Spearman':>9} {'sigma':>7}")
    for name, sigma in zip(found.names, found.sigma, strict=True):
        r2, spearman = facts["r2"][name], facts["spearman"][name]
        print(f"  {name:<10} {r2:7.3f} {spearman:9.3f} {sigma:7.3f}")
    if "neutral_cosine" in facts:
        print(
            f"neutral against minus the sum of the others: cosine {facts['neutral_cosine']:.5f}, "
            f"what is left of the sum of all {facts['neutral_residual']:.1%} of neutral's length"
        )
    print(f"written: {file}")


if __name__ == "__main__":
    cli(main)
