"""Fit emotion directions to scored samples: the paper's regression, or another method.

    emojax directions scores/ --bundle ffhq
    emojax directions scores/ --bundle ffhq --method extremes --out extremes.npz

Fits one direction per emotion, validates it on held-out samples, measures how far it can be
followed before faces break, and writes the file. Figures 4 and 5 of the paper are plotted into the
folder of the scores, if matplotlib is installed.
"""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from emojax.latents.directions import FILE, Directions
from emojax.latents.fit_config import FitConfig
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store import bundle, run_settings
from emojax.store.bundle import Bundle
from emojax.store.parts import GENERATOR

if TYPE_CHECKING:
    from emojax.store.score_table import Scored, ScoreSettings, ScoreTable


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax directions`."""

    scores: tyro.conf.Positional[Path]
    """Folder that emojax score filled, wholly or in part."""
    bundle: str = bundle.DEFAULT
    """Name or folder of the bundle whose generator was scored."""
    out: Path | None = None
    """Write here (.npz); default: directions.npz of the bundle."""
    replace: bool = False
    """Replace directions that are there already, and write even what predicts nothing."""
    range: bool = True
    """Measure the usable range of each direction: the bundle's networks draw and classify some
    thousand faces. Also measure how well its inverters reconstruct faces of its own, by which
    photographs of another kind are told: reconstruction.json, not with --out."""
    plots: bool = True
    """Plot Figures 4 and 5 into the folder of the scores."""
    fit: tyro.conf.OmitArgPrefixes[FitConfig] = dataclasses.field(default_factory=FitConfig)


def main(options: Options) -> None:
    """Fit, validate, write and plot."""
    place = bundle.find(options.bundle)
    if not (options.scores / run_settings.FILE).is_file():  # before the file that may be there
        raise UserError(
            f"no scores in {options.scores}: make them with 'emojax score --out {options.scores}'"
        )
    file = _destination(place, options)
    from emojax.store.score_table import ScoreTable  # late, as all that imports jax

    table = ScoreTable.open(options.scores)
    _same_generator(place, table, options)
    from emojax.latents import fit_directions
    from emojax.runtime import devices
    from emojax.runtime.progress import progress

    devices.use_cores()
    scored = table.read()
    if len(scored.ids) < table.settings.samples:
        logging.info("%s of %s samples are scored", len(scored.ids), table.settings.samples)
    with progress(f"fitting to {len(scored.ids):,} samples"):
        found = fit_directions.fit(scored, options.fit)
    _refuse_doubtful(fit_directions.doubts(found), options)
    if options.range:
        found = _with_ranges(found, place, table.settings)
    found.save(file)
    if options.range and options.out is None:
        _write_distances(place, file)
    _report(found, file)
    if options.plots:
        _plot(found, scored, options)


def _destination(place: Bundle, options: Options) -> Path:
    """Return the file to write.

    Raises:
        UserError: it is there already, and --replace is not given.
    """
    # directions of a bundle are replaced where they are; new ones never go into the package
    file = options.out or place.file(FILE) or bundle.destination(options.bundle) / FILE
    if file.exists() and not options.replace:
        raise UserError(
            f"{file} is there already: give --replace to lose it, or --out for another place"
        )
    return file


def _same_generator(place: Bundle, table: "ScoreTable", options: Options) -> None:
    """Compare the generator that was scored with the bundle's.

    Raises:
        UserError: they differ.
    """
    scored, present = table.settings.generator_sha256, place.sha256(GENERATOR)
    if present != scored:
        raise UserError(
            f"{options.scores} was scored with generator {scored[:12]}, bundle {place} has "
            f"{present[:12]}: give the bundle that was scored with --bundle"
        )


def _refuse_doubtful(doubts: list[str], options: Options) -> None:
    """Say what speaks against a fit.

    Raises:
        UserError: something does, and the fit would go into the bundle without --replace.
    """
    for sentence in doubts:
        logging.warning("warning: %s", sentence)
    if doubts and options.out is None and not options.replace:
        raise UserError(
            "the directions are not written into the bundle: score more samples, or give --replace "
            "to write them all the same, or --out for another place"
        )


def _with_ranges(found: Directions, place: Bundle, settings: "ScoreSettings") -> Directions:
    """Return directions with their usable ranges, measured with the bundle's networks."""
    from emojax.latents import usable_range
    from emojax.metrics import distance_network
    from emojax.runtime.progress import progress

    if distance_network.part_of(place) is None:
        logging.warning(
            "warning: bundle %s has neither Inception nor a feature network: whether faces are "
            "still faces is not measured, only how far the classifier's answer changes",
            place,
        )
    with progress("measuring usable ranges", usable_range.STEPS, "steps") as shown:
        return usable_range.measure_in(place, found, settings, advance=shown.advance)


def _write_distances(place: Bundle, directions_file: Path) -> None:
    """Measure how well the bundle's inverters reconstruct its own faces, beside the directions."""
    from emojax.latents import reconstruction
    from emojax.runtime.progress import progress

    count = reconstruction.SAMPLES * len(reconstruction.methods(place))
    with progress("inverting own faces", count, "faces") as shown:
        file = directions_file.with_name(reconstruction.FILE)
        reconstruction.write(file, place, shown.advance)


def _report(found: Directions, file: Path) -> None:
    """Print the validation of a fit, and where it is."""
    facts = found.metadata
    print(f"{facts['method']} on {facts['samples']:,} samples, held out {facts['held_out']:,}")
    ranges = f" {'usable k':>16}" if found.usable is not None else ""
    print(f"  {'':<10} {'R²':>7} {'Spearman':>9} {'sigma':>7}{ranges}")
    for index, (name, sigma) in enumerate(zip(found.names, found.sigma, strict=True)):
        r2, spearman = facts["r2"][name], facts["spearman"][name]
        line = f"  {name:<10} {r2:7.3f} {spearman:9.3f} {sigma:7.3f}"
        if found.usable is not None:
            low, high = found.usable[index]
            line += f" {low:7.2f}..{high:7.2f}"
        print(line)
    if "neutral_cosine" in facts:
        print(
            f"neutral and minus the sum of the others: cosine {facts['neutral_cosine']:.5f}; the "
            f"sum of all has {facts['neutral_residual']:.1%} of neutral's length"
        )
    print(f"written: {file}")


def _plot(found: Directions, scored: "Scored", options: Options) -> None:
    """Plot Figures 4 and 5, if matplotlib is there."""
    from emojax.report import plots

    if missing := plots.missing():
        print(f"no plots: {missing}")
        return
    folder, method = options.scores, options.fit.method
    files = [folder / "figure4_thresholds.png", folder / f"figure5_similarity_{method}.png"]
    plots.thresholds(files[0], found.names, scored.probabilities)
    plots.similarity(files[1], found.names, found.similarity())
    print(f"plots: {files[0]}, {files[1]}")


if __name__ == "__main__":
    cli(main)
