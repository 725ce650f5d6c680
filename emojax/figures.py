"""Figures 3 to 10 of the paper, for any bundle, and one page that shows them.

    python -m emojax.figures
    python -m emojax.figures --scores scores/ --evaluation evaluation/ --out figures/
    python -m emojax.figures --bundle ffhq --sources faces/ --targets eight/ --pdf

Writes figure3.png to figure10.png and report.html, one file that needs nothing beside it. Faces are
those of --sources and --targets (one photograph for each emotion, named after it), or the bundle's
faces with ground truth, or its samples. Figures 6, 9 and 10 are drawn with --inverter, 7 and 8 with
pSp and HyperStyle. A figure that lacks its input is left out, and the page says what it needs.
"""

import dataclasses
from pathlib import Path

import numpy as np
import tyro
from PIL import Image
from tqdm import tqdm

from emojax.evaluation import ground_truth
from emojax.evaluation import table as evaluation_table
from emojax.evaluation.inputs import target_files
from emojax.faces import images
from emojax.faces.photo_reader import Portrait
from emojax.pipeline import Pipeline
from emojax.report import html_page, plots
from emojax.report.cards import sheet
from emojax.report.html_page import Figure
from emojax.report.paper_figures import INVERTER_OF, INVERTER_TITLES, PaperFigures, ShownFaces
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, replacing
from emojax.runtime.flags import PipelineFlags
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


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.figures`."""

    scores: Path | None = None
    """What emojax.score wrote, for Figure 4."""
    evaluation: Path | None = None
    """What emojax.evaluate wrote, for Table I."""
    sources: Path | None = None
    """Photographs, or a folder of them, whose faces are shown."""
    targets: Path | None = None
    """Folder of one photograph an emotion, named after it (anger.png, ...)."""
    faces: int = 4
    """Sources at most."""
    k: float | None = None
    """Figure 6 moves from -k to k; default: over the usable range of each direction."""
    pdf: bool = False
    """Write every figure as PDF too."""
    out: Path = Path("figures")
    """Folder for the figures."""
    common: tyro.conf.OmitArgPrefixes[PipelineFlags] = dataclasses.field(
        default_factory=PipelineFlags
    )


def main(options: Options) -> None:
    """Draw what can be drawn and write the page."""
    if options.faces < 1:
        raise UserError(f"--faces is {options.faces}, wanted 1 or more")
    if options.k is not None and not (np.isfinite(options.k) and options.k > 0):
        raise UserError(f"--k is {options.k}, wanted a number above 0")
    plots.require("Figures 4 and 5 are such")
    table = evaluation_table.read(options.evaluation) if options.evaluation else None
    scored = ScoreTable.open(options.scores) if options.scores else None
    room = Pipeline(options.common)
    if scored:
        _same_generator(scored, room, options)
    faces = _faces(room, options)
    out = make_folder(options.out)
    figures = []
    with tqdm(total=len(TITLES), unit="figure", delay=2) as progress:
        gallery = PaperFigures(room, faces, options.k)
        for number in TITLES:
            progress.set_description(f"figure {number}")
            figures.append(_figure(number, gallery, scored, out))
            if options.pdf and figures[-1].file:
                _as_pdf(figures[-1].file)
            progress.update()
    lead = (
        "Facial emotion editing and transfer with pretrained networks (Azak, Sahin), drawn by "
        f"emojax from the bundle {room.bundle}. {faces.origin}"
    )
    html_page.write(out / "report.html", f"Emotions: {room.bundle}", lead, figures, table)
    print(f"{sum(bool(each.file) for each in figures)} figures: {out}/report.html")


def _same_generator(scored: ScoreTable, room: Pipeline, options: Options) -> None:
    wanted = room.about()["weights_sha256"]["generator"]
    if scored.settings.generator_sha256 != wanted:
        raise UserError(
            f"{options.scores} was scored with generator {scored.settings.generator_sha256[:12]}, "
            f"bundle {room.bundle} has {wanted[:12]}: give the bundle that was scored"
        )


def _faces(room: Pipeline, options: Options) -> ShownFaces:
    """Return whose faces and expressions are shown.

    Raises:
        UserError: a photograph is missing or bad, or the bundle has no faces of its own.
    """
    truth, side = None, room.size
    if not (options.sources and options.targets) and ground_truth.is_known(room.bundle):
        truth = ground_truth.load(room.bundle, side)
    origin = "The faces are the photographs that were given."
    if options.sources:
        sources = [room.read(file) for file in images.find([options.sources])[: options.faces]]
    elif truth:
        origin = f"The faces are the bundle's faces with ground truth ({truth.fingerprint})."
        sources = [_portrait(each) for each in truth.people(range(options.faces)).pictures]
    else:
        origin = "The faces are the bundle's samples."
        sources = [room.read(room.sample_photo("source"))]
    if options.targets:
        files = target_files(options.targets, room.classes)
        targets = {name: room.read(file) for name, file in files.items()}
    elif truth:
        targets = {name: _portrait(truth.target(name)) for name in room.classes}
    else:
        face = room.read(room.sample_photo("target"))
        picture = images.resize(face.face, side)[None]
        targets = {room.classes[int(room.classify(picture).logits[0].argmax())]: face}
    return ShownFaces(sources, targets, origin)


def _portrait(picture: np.ndarray) -> Portrait:
    return Portrait("a drawn face", picture, picture)


def _figure(number: int, gallery: PaperFigures, scored: ScoreTable | None, out: Path) -> Figure:
    """Draw a figure into its file; one whose material is missing says in its caption what it is."""
    title, file, room = (
        f"Figure {number}. {TITLES[number]}",
        out / f"figure{number}.png",
        gallery.pipe,
    )
    if number == 4 and scored is None:
        caption = "Left out: it wants --scores, a folder that python -m emojax.score filled."
        return Figure(title, caption, None)
    if not gallery.has(number):
        inverter = INVERTER_TITLES[INVERTER_OF[number]]
        return Figure(title, f"Left out: the bundle has no {inverter}.", None)
    if number == 4:
        caption = _plot_scores(file, scored)
        return Figure(title, caption, file, is_plot=True)
    if number == 5:
        plots.similarity(file, room.directions.names, room.directions.similarity())
        caption = "Cosine between the directions of each two emotions."
        return Figure(title, caption, file, is_plot=True)
    drawn = gallery.draw(number)
    width = max(1280, 170 * max(map(len, drawn.rows)))
    images.write(file, sheet(drawn.rows, room.classes, width=width, most=220))
    return Figure(title, drawn.caption, file)


def _plot_scores(file: Path, scored: ScoreTable) -> str:
    """Plot Figure 4 and return its caption."""
    found, names = scored.read(), [name.lower() for name in scored.settings.classes]
    plots.thresholds(file, names, found.probabilities)
    return (
        f"Share of {len(found.ids):,} generated faces to which the classifier gives more of an "
        "emotion than a threshold."
    )


def _as_pdf(file: Path) -> None:
    """Write a figure's picture as a page of PDF beside it."""
    with replacing(file.with_suffix(".pdf")) as aside, Image.open(file) as picture:
        picture.convert("RGB").save(aside, "PDF", resolution=150)


if __name__ == "__main__":
    cli(main)
