"""Fit emotion directions to scored samples: the paper's regression, or another method.

    emojax directions scores/ --bundle ffhq
    emojax directions scores/ --bundle ffhq --method extremes --out extremes.npz
    emojax directions scores/ --bundle ffhq --method tensor --faces people/ --out tensor.npz

Fits one direction per emotion, and for valence and arousal where the classifier tells them,
validates it on held-out samples, measures how far it can be followed before faces break, and writes
the file. Figures 4 and 5 of the paper are plotted into the
folder of the scores, if matplotlib is installed.
"""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from emojax.evaluation import ground_truth
from emojax.latents.directions import FILE, Directions
from emojax.latents.fit_config import FitConfig
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.flags import at_least
from emojax.store import bundle
from emojax.store.bundle import Bundle
from emojax.store.parts import GENERATOR, INVERTER_PARTS
from emojax.store.place import Place, at

if TYPE_CHECKING:
    from emojax.latents.structured_codes import StructuredCodes
    from emojax.store.score_table import Scored, ScoreSettings, ScoreTable

PEOPLE = 3
"""Seed of the people whose codes are decomposed: others than those that evaluations measure."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax directions`."""

    scores: tyro.conf.Positional[str]
    """Folder that emojax score filled, wholly or in part, or its address, s3://BUCKET/FOLDER."""
    bundle: str = bundle.DEFAULT
    """Name or folder of the bundle whose generator was scored, or its address."""
    out: Path | None = None
    """Write here (.npz); default: directions.npz of the bundle."""
    replace: bool = False
    """Replace directions that are there already, and write even what predicts nothing."""
    range: bool = True
    """Measure the usable range of each direction: the bundle's networks draw and classify some
    thousand faces. Also measure how well its inverters reconstruct faces of its own, by which
    photographs of another kind are told: reconstruction.json, not with --out."""
    faces: Path | None = None
    """tensor: folder of aligned faces in which every person shows every emotion, PERSON/EMOTION.png
    or PERSON/EMOTION/INTENSITY.png or PERSON/EMOTION/INTENSITY/VIEW.png; they are inverted by the
    bundle's pSp or e4e. Default: people of the bundle's ground truth, if it has one."""
    people: int = 64
    """tensor: how many of the latter."""
    plots: bool = True
    """Plot Figures 4 and 5 into the folder of the scores."""
    fit: tyro.conf.OmitArgPrefixes[FitConfig] = dataclasses.field(default_factory=FitConfig)


def main(options: Options) -> None:
    """Fit, validate, write and plot."""
    place = bundle.find(options.bundle)
    _check(options, place)
    from emojax.store.score_table import ScoreTable

    table = ScoreTable.open(options.scores)  # before the file that may be there
    home, name = _destination(place, options)
    _same_generator(place, table, options)
    from emojax.latents import fit_directions
    from emojax.runtime import devices
    from emojax.runtime.progress import progress

    devices.use_cores()
    scored = table.read()
    if len(scored.ids) < table.settings.samples:
        logging.info("%s of %s samples are scored", len(scored.ids), table.settings.samples)
    structured = None
    if options.fit.method == "tensor":
        structured = _structured(options, place, [n.lower() for n in table.settings.classes])
    with progress(f"fitting to {len(scored.ids):,} samples"):
        found = fit_directions.fit(scored, options.fit, structured)
    _refuse_doubtful(fit_directions.doubts(found), options)
    if options.range:
        found = _with_ranges(found, place, table.settings)
    with home.file(name) as aside:
        found.save(aside)
    if options.range and options.out is None:
        _write_distances(place, home)
    _report(found, f"{home}/{name}")
    if options.plots:
        _plot(found, scored, table.place, options.fit.method)


def _check(options: Options, place: Bundle) -> None:
    """Refuse flags that do not go together, and a bundle without what method "tensor" needs.

    Raises:
        UserError: as said.
    """
    at_least("--people", options.people, 2)
    if options.fit.method != "tensor":
        if options.faces:
            raise UserError("--faces is for --method tensor: the other methods need scores only")
        return
    place.check(*INVERTER_PARTS["psp"])
    if options.faces and not options.faces.is_dir():
        raise UserError(f"no folder {options.faces}: give one of faces, see --help")
    if not options.faces and not ground_truth.is_known(place):
        raise UserError(
            f"bundle {place} has no faces with ground truth: give --faces FOLDER, in which every "
            "person shows every emotion"
        )


def _structured(options: Options, place: Bundle, classes: list[str]) -> "StructuredCodes":
    """Return the codes that method "tensor" decomposes."""
    from emojax.latents import inversion, structured_codes
    from emojax.runtime.progress import progress

    inverter = inversion.load(place, "psp")
    with progress("inverting people", None, "faces") as shown:
        if options.faces:
            return structured_codes.of_folder(options.faces, inverter, shown.advance)
        truth = ground_truth.load(place, inverter.resolution, seed=PEOPLE)
        ids = range(options.people)
        return structured_codes.of_people(
            lambda emotion: truth.transferred(ids, emotion).pictures,
            classes,
            inverter,
            shown.advance,
        )


def _destination(place: Bundle, options: Options) -> tuple[Place, str]:
    """Return the folder or address to write to, and the name of the file there.

    Raises:
        UserError: it is there already, and --replace is not given.
    """
    present = options.out if options.out and options.out.exists() else None
    if options.out:
        home, name = at(options.out.parent), options.out.name
    elif place.address:
        home, name, present = at(place.address), FILE, place.file(FILE)
    else:
        # directions of a bundle are replaced where they are; new ones never go into the package
        present = place.file(FILE)
        home, name = at(present.parent if present else bundle.destination(options.bundle)), FILE
    if present and not options.replace:
        raise UserError(
            f"{home}/{name} is there already: give --replace to lose it, or --out for another place"
        )
    return home, name


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


def _write_distances(place: Bundle, home: Place) -> None:
    """Measure how well the bundle's inverters reconstruct its own faces, beside the directions."""
    from emojax.latents import reconstruction

    if reconstruction.methods(place):
        with home.file(reconstruction.FILE) as aside:
            reconstruction.write(aside, place)


def _report(found: Directions, file: str) -> None:
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


def _plot(found: Directions, scored: "Scored", place: Place, method: str) -> None:
    """Plot Figures 4 and 5 beside the scores, if matplotlib is there."""
    from emojax.report import plots

    if missing := plots.missing():
        print(f"no plots: {missing}")
        return
    files = "figure4_thresholds.png", f"figure5_similarity_{method}.png"
    with place.file(files[0]) as aside:
        classes = [name.lower() for name in scored.settings.classes]
        names = [name for name in found.names if name in classes]
        columns = [classes.index(name) for name in names]
        plots.thresholds(aside, names, scored.probabilities[:, columns])
    with place.file(files[1]) as aside:
        plots.similarity(aside, found.names, found.similarity())
    print("plots: " + ", ".join(f"{place}/{name}" for name in files))


if __name__ == "__main__":
    cli(main)
