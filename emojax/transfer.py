r"""Give one face the expression of another: the paper's Equations 2 to 4.

    emojax transfer
    emojax transfer --source me.jpg --target friend.jpg --bundle ffhq
    emojax transfer --source me.jpg --target friend.jpg --bundle ffhq --paste \
        --inverter hyperstyle --alpha 0..1 --steps 6 --video path.mp4
    emojax transfer --normaliser means --compare reinvert subspace

Writes the result, or with a range of alpha one picture for each; sheet.png (both faces, the result
beside that of another normaliser, the stages in between, and what the classifier says of each); and
transfer.json with every number. Without pictures it takes the bundle's own samples. The normalisers
are explained in `emojax.latents.normalisers`.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tyro

from emojax.faces import images, photo_reader
from emojax.faces.photo_reader import Photograph, Portrait, check_face
from emojax.film import loops
from emojax.runtime.choices import NORMALISERS, K, Normaliser, PasteForm, Projection
from emojax.runtime.cli import cli, warn
from emojax.runtime.files import make_folder, sha256, write_json
from emojax.runtime.flags import PipelineFlags, at_least, check_inverts, spread
from emojax.runtime.progress import Progress, progress
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR, INVERTER_PARTS

if TYPE_CHECKING:  # jax is imported after the flags have been checked
    from emojax.latents.bases import Prepared
    from emojax.pipeline import Faces, Pipeline

PATH_COLUMNS = 6
"""Pictures of a range in one row of the sheet."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax transfer`."""

    source: Path | None = None
    """Whose face it is; by default the bundle's sample."""
    target: Path | None = None
    """Whose expression it gets; by default the bundle's sample."""
    source_face: str = "only"
    """Which face of a source with several: largest, or a number counted from the left, from 1."""
    target_face: str = "only"
    """Which face of a target with several."""
    normaliser: Normaliser = "reinvert"
    """reinvert: the paper's, which draws the neutral face and inverts it again. none: without that.
    subspace, subspace-scores: a projection of the codes, without drawing anything. means: a step
    between the mean faces of the emotions, corrected until the classifier sees the target's."""
    compare: tuple[Normaliser, ...] = ("means",)
    """Normalisers whose result is shown beside it; --compare alone: none."""
    k: float = K
    """Step to the neutral face, for reinvert and none."""
    projection: Projection = "plain"
    """How the neutral coordinate is removed (plain, plane or layer), or whether a subspace is taken
    of the code as a whole (plain) or of each layer."""
    alpha: str = "1"
    """0: the source's own expression, 1: the target's; or a range, such as 0..1."""
    steps: int = 6
    """Pictures of a range."""
    video: Path | None = None
    """Also write a .mp4, .gif or .webp of the way to the last alpha and back."""
    frames: int = 48
    """Frames of the way there."""
    paste: bool = False
    """Also put the result back into the source photograph."""
    paste_form: PasteForm = "change"
    """change: what the transfer changes is added to the photograph within the face, so that hair,
    background, colours and grain stay the photograph's. crop: the generated face replaces the
    whole square that was cut out."""
    out: Path = Path("transferred")
    """Folder for the results."""
    common: tyro.conf.OmitArgPrefixes[PipelineFlags] = dataclasses.field(
        default_factory=PipelineFlags
    )


class Given(NamedTuple):
    """What the flags give: the alphas, and the photographs, already decoded.

    Attributes:
        alphas: one for each result.
        source: None: the bundle's sample.
        target: None: the bundle's sample.
    """

    alphas: list[float]
    source: Photograph | None
    target: Photograph | None


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What one run draws.

    Attributes:
        normaliser: that of the results.
        photos: source and target as they were read.
        alphas: one for each result.
        prepared: source and target with their neutral codes and bases.
        stages: source and target by name: "photo", "inverted", "neutral" and, with re-inversion,
            "re-inverted".
        results: one for each alpha.
        compared: by the normaliser's name, its result at the last alpha.
    """

    normaliser: Normaliser
    photos: tuple[Portrait, Portrait]
    alphas: list[float]
    prepared: "Prepared"
    stages: "dict[str, Faces]"
    results: "Faces"
    compared: "dict[str, Faces]"


def main(options: Options) -> None:
    """Transfer one expression and write what came of it."""
    given = check(options)
    with progress("reading the networks", 4, "steps") as shown:
        from emojax.pipeline import Pipeline

        pipe = Pipeline(options.common)
        photos = _cut_out(pipe, given, options)
        out = make_folder(options.out)
        drawn = draw(pipe, photos, given.alphas, options, shown)
        doubts = [*drawn.stages["inverted"].doubts, *_left_out(pipe, options)]
    files = _write_results(out, drawn, options)
    _write_sheet(out / "sheet.png", pipe, drawn, doubts)
    report = _report(pipe, drawn, files, options)
    report["warnings"] = doubts
    write_json(out / "transfer.json", report)
    if options.video:
        loops.write(options.video, _film(drawn, options.frames))
    score = report["results"][-1]
    warn(doubts)
    print(
        f"emotion score {score['emotion_score']:.3f} ({score['before']['emotion_score']:.3f} "
        f"before): {out}/{files[-1]}, {out}/sheet.png, {out}/transfer.json"
    )


def check(options: Options) -> Given:
    """Refuse what no run could use, before anything slow; return what the flags give.

    Raises:
        UserError: a flag out of range, a picture that is missing or none, or a bundle without a
            part that is needed.
    """
    alphas = spread("--alpha", options.alpha, options.steps)
    at_least("--frames", options.frames, 2)
    options.common.check()
    check_inverts(options.common.inverter, "a transfer takes")
    check_face(options.source_face, "--source-face")
    check_face(options.target_face, "--target-face")
    if options.video:
        loops.check(options.video)
    files = (options.source, options.target)
    photos = [photo_reader.read(file) if file else None for file in files]
    place = bundle.find(options.common.bundle)
    place.check(GENERATOR, *INVERTER_PARTS[options.common.inverter], EMOTION)
    return Given(alphas, *photos)


def _cut_out(pipe: "Pipeline", given: Given, options: Options) -> tuple[Portrait, Portrait]:
    source = pipe.read(
        given.source or pipe.sample_photo("source"),
        face=options.source_face,
        flag="--source-face",
    )
    target = pipe.read(
        given.target or pipe.sample_photo("target"),
        face=options.target_face,
        flag="--target-face",
    )
    return source, target


def draw(
    pipe: "Pipeline",
    photos: tuple[Portrait, Portrait],
    alphas: list[float],
    options: Options,
    shown: Progress,
) -> Drawn:
    """Invert both faces, transfer, and draw and classify every stage.

    Args:
        pipe: an open bundle.
        photos: source and target.
        alphas: one for each result.
        options: normaliser, k and projection.
        shown: told what is being done.
    """
    _next(shown, "inverting both faces")
    inverted = pipe.invert(*photos)
    _next(shown, "removing their expressions")
    prepared = pipe.prepare(
        inverted, options.normaliser, k=options.k, projection=options.projection
    )
    stages = {"photo": _photographed(pipe, inverted), "inverted": inverted}
    stages["neutral"] = inverted.with_codes(prepared.neutral)
    if NORMALISERS[options.normaliser].inverts:
        stages["re-inverted"] = inverted.with_codes(prepared.base)
    results = _combined(inverted, prepared, alphas)
    compared = {
        name: _combined(inverted, _other(pipe, inverted, name, options), alphas[-1:])
        for name in dict.fromkeys(options.compare)
        if name != options.normaliser and name in pipe.normalisers
    }
    _next(shown, "drawing and classifying")
    pipe.render([*stages.values(), results, *compared.values()])
    _next(shown, "writing")
    return Drawn(options.normaliser, photos, alphas, prepared, stages, results, compared)


def _next(shown: Progress, doing: str) -> None:
    shown.advance()
    shown.describe(doing)


def _photographed(pipe: "Pipeline", inverted: "Faces") -> "Faces":
    """Return the inverted faces with the photographs, at the generator's size, as pictures."""
    faces = inverted.with_codes(inverted.codes)
    photos = [images.resize(each.face, pipe.size) for each in inverted.portraits]
    return faces.showing(np.stack(photos))


def _other(pipe: "Pipeline", inverted: "Faces", name: Normaliser, options: Options) -> "Prepared":
    """Return the faces prepared by another normaliser, by its own projection if need be."""
    known = NORMALISERS[name].projections
    projection = options.projection if options.projection in known else known[0]
    return pipe.prepare(inverted, name, k=options.k, projection=projection)


def _left_out(pipe: "Pipeline", options: Options) -> list[str]:
    """Return a sentence for each comparison that the bundle's directions lack something for."""
    return [
        f"no result by {name} beside it: the directions have no mean codes; fit them again with "
        f"'emojax directions'"
        for name in options.compare
        if name not in pipe.normalisers
    ]


def _combined(inverted: "Faces", prepared: "Prepared", alphas: list[float]) -> "Faces":
    from emojax.latents.normalisers import combine

    return inverted[0].with_codes(combine(prepared[0], prepared[1], np.asarray(alphas, np.float32)))


def _write_results(out: Path, drawn: Drawn, options: Options) -> list[str]:
    """Write a picture for each alpha and normaliser; return the names of the results."""
    from emojax.faces.paste import put_back

    source, before = drawn.photos[0], drawn.stages["inverted"].pictures[0]
    marks = [""] if len(drawn.alphas) == 1 else [f"-{alpha:.2f}" for alpha in drawn.alphas]
    for mark, picture in zip(marks, drawn.results.pictures, strict=True):
        images.write(out / f"result{mark}.png", picture)
        if options.paste:
            photo = put_back(source, picture, before, options.paste_form)
            images.write(out / f"pasted{mark}.png", photo)
    for name, faces in drawn.compared.items():
        images.write(out / f"result-{name}.png", faces.pictures[0])
    return [f"result{mark}.png" for mark in marks]


def _write_sheet(file: Path, pipe: "Pipeline", drawn: Drawn, notes: list[str]) -> None:
    """Write the faces and the results, the stages below, and the range where there is one."""
    from emojax.report.cards import Card, sheet

    def card(label: str, faces: "Faces", row: int = 0) -> Card:
        return Card(label, faces.pictures[row], faces.probabilities[row])

    photos = drawn.stages["photo"]
    top = [card("source", photos, 0), card("target", photos, 1)]
    top.append(card(f"result ({drawn.normaliser})", drawn.results, -1))
    top += [card(f"result ({name})", faces) for name, faces in drawn.compared.items()]
    stages = [
        card(f"{whose} {name}", faces, row)
        for row, whose in enumerate(("source", "target"))
        for name, faces in drawn.stages.items()
        if name != "photo"
    ]
    rows, headings = [top, stages], ["", f"Stages of the transfer ({drawn.normaliser})"]
    if len(drawn.alphas) > 1:
        path = [card(f"alpha {a:.2g}", drawn.results, i) for i, a in enumerate(drawn.alphas)]
        rows += [path[i : i + PATH_COLUMNS] for i in range(0, len(path), PATH_COLUMNS)]
        headings += ["From the source's own expression to the target's", *[""] * (len(rows) - 3)]
    images.write(file, sheet(rows, pipe.classes, headings=headings, notes=notes))


def _film(drawn: Drawn, frames: int) -> list[np.ndarray]:
    """Return the pictures of the way from the first alpha to the last and back."""
    first = drawn.alphas[0] if len(drawn.alphas) > 1 else 0.0
    path = np.linspace(first, drawn.alphas[-1], frames)
    there = list(_combined(drawn.stages["inverted"], drawn.prepared, list(path)).pictures)
    return there + there[-2:0:-1]


def _report(pipe: "Pipeline", drawn: Drawn, files: list[str], options: Options) -> dict[str, Any]:
    """Return every number of the run, JSON-able."""
    wanted = np.asarray(drawn.stages["photo"].prediction.logits[1])
    before = _score(drawn.stages["inverted"], 0, wanted)

    def result(faces: "Faces", row: int, file: str) -> dict[str, Any]:
        said = {"file": file, "predictions": faces[row].emotions}
        return said | _score(faces, row, wanted) | {"before": before}

    return {
        "normaliser": options.normaliser,
        "projection": options.projection,
        "k": options.k if NORMALISERS[options.normaliser].steps else None,
        "source": _face(drawn, 0),
        "target": _face(drawn, 1),
        "results": [
            {"alpha": alpha} | result(drawn.results, row, file)
            for row, (alpha, file) in enumerate(zip(drawn.alphas, files, strict=True))
        ],
        "compared": {
            name: {"alpha": drawn.alphas[-1]} | result(faces, 0, f"result-{name}.png")
            for name, faces in drawn.compared.items()
        },
        **pipe.about(),
    }


def _face(drawn: Drawn, row: int) -> dict[str, Any]:
    """Return a photograph and what the classifier says of each of its stages."""
    file = drawn.photos[row].file
    said = {name: faces[row].emotions for name, faces in drawn.stages.items()}
    return {"file": str(file), "sha256": sha256(file) if file else None, "predictions": said}


def _score(faces: "Faces", row: int, target: np.ndarray) -> dict[str, float]:
    """Return the emotion scores of one face against the target photograph's logits [K]."""
    from emojax.metrics.emotion_score import emotion_score

    score = emotion_score(np.asarray(faces.prediction.logits[row])[None], target)
    return {
        "emotion_score": round(float(score.softmax[0]), 6),
        "emotion_score_log": round(float(score.log[0]), 6),
        "top1": int(score.top1[0]),
    }


if __name__ == "__main__":
    cli(main)
