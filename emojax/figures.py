"""Figures 3 to 10 of the paper, for any bundle, and one page that shows them.

    emojax figures
    emojax figures --scores scores/ --evaluation evaluation/ --out figures/
    emojax figures --bundle ffhq --sources faces/ --targets eight/ --pdf
    emojax figures --compare-directions svr.npz extremes.npz pca.npz tensor.npz

Writes figure3.png to figure10.png and report.html, which needs no other file. Faces are those of
--sources and --targets (one photograph per emotion, named after it); else those of the bundle's own
ground truth, if it has one; else its samples. Figures 6, 9 and 10 are drawn with --inverter, 7 and
8 with pSp and HyperStyle. With --compare-directions there is a figure11.png: one face edited by
directions of several sources (`emojax directions --method`). A figure is left out if what it needs
is missing: the bundle's networks, scores, or matplotlib for Figures 4 and 5. The page then says
what it needs.
"""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from emojax.faces import images
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, replacing
from emojax.runtime.flags import PipelineFlags, at_least, check_directions_files
from emojax.runtime.progress import progress
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR, INVERTER_PARTS, INVERTERS

if TYPE_CHECKING:  # jax is imported after the flags have been checked
    import numpy as np

    from emojax.evaluation.table import ResultTable
    from emojax.faces.photo_reader import Portrait
    from emojax.latents.directions import Directions
    from emojax.pipeline import Pipeline
    from emojax.report.html_page import Figure
    from emojax.report.paper_figures import PaperFigures, ShownFaces
    from emojax.store.score_table import ScoreTable

TITLES = {
    3: "What the directions order",
    4: "How often each emotion is seen",
    5: "Similarity of the directions",
    6: "Editing along each direction",
    7: "Transfer with pSp",
    8: "Transfer with HyperStyle",
    9: "From the source's expression to the target's",
    10: "With and without re-inversion",
}
BEYOND = {11: "One edit by directions of several sources"}
"""The figure that is not the paper's, with --compare-directions."""
PLOTS = (4, 5)
"""Figures that need matplotlib."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax figures`."""

    scores: str | None = None
    """Folder that emojax score filled, or its address, for Figure 4."""
    evaluation: str | None = None
    """Folder that emojax evaluate filled, or its address, for Table I."""
    sources: Path | None = None
    """Photographs, or a folder of them, whose faces are shown."""
    targets: Path | None = None
    """Folder of one photograph per emotion, named after it (anger.png, ...)."""
    faces: int = 4
    """Sources at most."""
    k: float | None = None
    """Figure 6 moves from minus this to this; default: over each direction's usable range."""
    compare_directions: tuple[Path, ...] = ()
    """Directions files (.npz) whose edits Figure 11 shows side by side."""
    pdf: bool = False
    """Write every figure as PDF too."""
    out: Path = Path("figures")
    """Folder for the figures."""
    common: tyro.conf.OmitArgPrefixes[PipelineFlags] = dataclasses.field(
        default_factory=PipelineFlags
    )


def main(options: Options) -> None:
    """Draw what can be drawn and write the page."""
    _check(options)
    table, scored = _table(options), _scores(options)
    compared = _compared(options)
    numbers = [*TITLES, *(BEYOND if compared else ())]
    with progress("reading the networks", len(numbers), "figures") as shown:
        from emojax.pipeline import Pipeline
        from emojax.report import html_page
        from emojax.report.paper_figures import PaperFigures

        pipe = Pipeline(options.common)
        faces = _faces(pipe, options)
        out, figures = make_folder(options.out), []
        drawer = PaperFigures(pipe, faces, options.k, compared)
        for number in numbers:
            shown.describe(f"drawing figure {number}")
            figures.append(_figure(number, drawer, scored, out))
            if options.pdf and figures[-1].file:
                _as_pdf(figures[-1].file)
            shown.advance()
    lead = (
        "Facial emotion editing and transfer with pretrained networks (Azak, Sahin), drawn by "
        f"emojax from the bundle {pipe.bundle}. {faces.origin}"
    )
    html_page.write(out / "report.html", f"Emotions: {pipe.bundle}", lead, figures, table)
    print(f"{sum(bool(each.file) for each in figures)} figures: {out}/report.html")
    for each in figures:
        if each.file is None:
            print(f"{each.title}: {each.caption}")


def _check(options: Options) -> None:
    """Refuse what no run could use, before anything slow.

    Raises:
        UserError: a flag out of range, a missing file, or a part that the bundle does not have.
    """
    options.common.check()
    at_least("--faces", options.faces, 1)
    if options.k is not None and not 0 < options.k < math.inf:
        raise UserError(f"--k is {options.k}, wanted a number above 0")
    check_directions_files(options.common.directions, options.compare_directions)
    for place in (options.sources, options.targets):
        if place:
            images.find([place])
    place = bundle.find(options.common.bundle)
    place.check(GENERATOR, *INVERTER_PARTS[options.common.inverter], EMOTION)


def _compared(options: Options) -> "dict[str, Directions]":
    """Read the directions that are compared, by the names of their files.

    Raises:
        UserError: one is damaged, or belongs to codes of another width than the bundle's.
    """
    if not options.compare_directions:
        return {}
    from emojax.latents import directions

    return directions.compared(bundle.find(options.common.bundle), options.compare_directions)


def _table(options: Options) -> "ResultTable | None":
    """Read Table I of an evaluation, if one is given."""
    from emojax.evaluation import table

    return table.read(options.evaluation) if options.evaluation else None


def _scores(options: Options) -> "ScoreTable | None":
    """Open the scores, if they are given.

    Raises:
        UserError: they are of another generator than the bundle's.
    """
    if options.scores is None:
        return None
    from emojax.store.score_table import ScoreTable

    scored, place = ScoreTable.open(options.scores), bundle.find(options.common.bundle)
    wanted = place.sha256(GENERATOR)
    if scored.settings.generator_sha256 != wanted:
        raise UserError(
            f"{options.scores} was scored with generator {scored.settings.generator_sha256[:12]}, "
            f"bundle {place} has {wanted[:12]}: give the bundle that was scored"
        )
    return scored


def _faces(pipe: "Pipeline", options: Options) -> "ShownFaces":
    """Return the sources and targets that are shown.

    Raises:
        UserError: a photograph is missing or bad, or the bundle has no faces of its own.
    """
    from emojax.evaluation import ground_truth
    from emojax.evaluation.inputs import target_files
    from emojax.report.paper_figures import ShownFaces

    truth = None
    if not (options.sources and options.targets) and ground_truth.is_known(pipe.bundle):
        truth = ground_truth.load(pipe.bundle, pipe.size)
    origin = "The faces are the photographs that were given."
    if options.sources:
        sources = [pipe.read(file) for file in images.find([options.sources])[: options.faces]]
    elif truth:
        origin = f"The faces are the bundle's faces with ground truth ({truth.fingerprint})."
        sources = [_portrait(each) for each in truth.people(range(options.faces)).pictures]
    else:
        origin = "The faces are the bundle's samples."
        sources = [pipe.read(pipe.sample_photo("source"))]
    if options.targets:
        files = target_files(options.targets, pipe.classes)
        targets = {name: pipe.read(file) for name, (file,) in files.items()}
    elif truth:
        targets = {name: _portrait(truth.targets(name)[0]) for name in pipe.classes}
    else:
        face = pipe.read(pipe.sample_photo("target"))
        picture = images.resize(face.face, pipe.size)[None]
        targets = {pipe.classes[int(pipe.classify(picture).logits[0].argmax())]: face}
    return ShownFaces(sources, targets, origin)


def _portrait(picture: "np.ndarray") -> "Portrait":
    from emojax.faces.photo_reader import Portrait

    return Portrait("a drawn face", picture, picture)


def _figure(
    number: int, drawer: "PaperFigures", scored: "ScoreTable | None", out: Path
) -> "Figure":
    """Draw a figure into its file, or say in its caption why it is left out."""
    from emojax.report import plots
    from emojax.report.cards import sheet
    from emojax.report.html_page import Figure
    from emojax.report.paper_figures import INVERTER_OF

    title, file, pipe = (
        f"Figure {number}. {(TITLES | BEYOND)[number]}",
        out / f"figure{number}.png",
        drawer.pipe,
    )
    missing = None
    if number == 4 and scored is None:
        missing = "it needs --scores, a folder that emojax score filled"
    elif number in PLOTS:
        missing = plots.missing()
    elif not drawer.has(number):
        missing = f"the bundle has no {INVERTERS[INVERTER_OF[number]].title}"
    if missing:
        return Figure(title, f"Left out: {missing}.", None)
    if number == 4 and scored:
        return Figure(title, _plot_scores(file, scored), file, is_plot=True)
    if number == 5:
        plots.similarity(file, pipe.directions.names, pipe.directions.similarity())
        caption = "Cosine similarity of each two directions."
        return Figure(title, caption, file, is_plot=True)
    drawn = drawer.draw(number)
    width = max(1280, 170 * max(map(len, drawn.rows)))
    images.write(file, sheet(drawn.rows, pipe.classes, width=width, most=220))
    return Figure(title, drawn.caption, file)


def _plot_scores(file: Path, scored: "ScoreTable") -> str:
    """Plot Figure 4 and return its caption."""
    from emojax.report import plots

    found, names = scored.read(), [name.lower() for name in scored.settings.classes]
    plots.thresholds(file, names, found.probabilities)
    return (
        f"Share of {len(found.ids):,} generated faces for which the classifier's probability of an "
        "emotion is above a threshold."
    )


def _as_pdf(file: Path) -> None:
    """Write a figure's picture as a page of PDF beside it."""
    from PIL import Image

    with replacing(file.with_suffix(".pdf")) as aside, Image.open(file) as picture:
        picture.convert("RGB").save(aside, "PDF", resolution=150)


if __name__ == "__main__":
    cli(main)
