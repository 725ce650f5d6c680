"""Give one face the expression of another: the paper's Equations 2 to 4.

    python -m emojax.transfer
    python -m emojax.transfer --source me.jpg --target friend.jpg --bundle ffhq
    python -m emojax.transfer --source me.jpg --target friend.jpg --bundle ffhq --paste \\
        --inverter hyperstyle --alpha 0..1 --steps 6 --video path.mp4
    python -m emojax.transfer --normaliser subspace

Writes the result, or with a range of α one picture a step, sheet.png (both faces, what was made of
them and what the classifier says of each) and transfer.json with every number. Without pictures it
takes the bundle's own samples. The normalisers are explained in `emojax.latents.normalisers`.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from emojax import pipeline
from emojax.faces import images, photo_reader, video
from emojax.faces.paste import paste
from emojax.faces.photo_reader import Portrait
from emojax.latents import arithmetic, inversion, normalisers
from emojax.latents.inversion import Inversion
from emojax.latents.normalisers import Transferrer
from emojax.metrics.emotion_score import emotion_score
from emojax.pipeline import Studio
from emojax.report import cards
from emojax.report.cards import Card
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder

PATH_COLUMNS = 6


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.transfer`."""

    source: Path | None = None
    """Whose face it is; by default the bundle's sample."""
    target: Path | None = None
    """Whose expression it gets; by default the bundle's sample."""
    normaliser: normalisers.Normaliser = "reinvert"
    """reinvert: the paper's, four inversions. none: shows why it is needed. subspace and
    subspace-scores: two inversions."""
    k: float = arithmetic.K
    """The step to the neutral face, for reinvert and none."""
    projection: arithmetic.Projection = "plain"
    """How the neutral coordinate is taken out (plain, plane or layer), or whether a subspace counts
    for the code as a whole (plain) or layer by layer."""
    alpha: str = "1"
    """0: the source's own expression, 1: the target's; or a range, such as 0..1."""
    steps: int = 6
    """Pictures of a range."""
    video: Path | None = None
    """Also a .mp4, .gif or .webp of the way through the range (or up to the number) and back."""
    frames: int = 48
    """Pictures of the video's way there."""
    paste: bool = False
    """Also put the result back into the source photograph."""
    out: Path = Path("transferred")
    """Folder for the results."""
    common: tyro.conf.OmitArgPrefixes[pipeline.Options] = dataclasses.field(
        default_factory=pipeline.Options
    )


@dataclasses.dataclass(frozen=True)
class Stage:
    """One picture on the way, and what the classifier says of it: uint8 [S,S,3], logits and
    probabilities [K].
    """

    picture: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray


def main(options: Options) -> None:
    """Transfer one expression and write what came of it."""
    alphas = pipeline.spread("--alpha", options.alpha, options.steps)
    if options.video:
        video.check(options.video)
    if options.frames < 2:
        raise UserError(f"--frames is {options.frames}, wanted 2 or more")
    room, start = Studio(options.common), time.perf_counter()
    pair = [room.read(getattr(options, name) or room.sample(name)) for name in ("source", "target")]
    if options.paste and pair[0].quad is None:
        raise UserError(
            f"--paste puts the face back into its photograph, {pair[0].file} is an aligned "
            "face already: leave --paste out"
        )
    out = make_folder(options.out)
    faces = make(room, pair, options, alphas)
    seconds = time.perf_counter() - start
    files = _write_results(out, faces.results, pair[0], alphas, options)
    images.write(out / "sheet.png", _sheet(faces, alphas, room))
    report = _report(room, options, pair, faces, alphas, files)
    pipeline.write_json(out / "transfer.json", report | {"seconds": round(seconds, 3)})
    if options.video:
        video.write(options.video, _film(room, faces, alphas, options.frames))
    score = report["results"][-1]
    print(
        f"emotion score {score['emotion_score']:.3f} ({score['before']['emotion_score']:.3f} "
        f"before): {out}/{files[-1]}, {out}/sheet.png, {out}/transfer.json"
    )


@dataclasses.dataclass(frozen=True)
class Faces:
    """Everything that was drawn.

    Attributes:
        source, target: the prepared faces, one each.
        photos: source and target as the encoder was shown them, at the generator's size.
        stages: source and target by name: "inverted", "neutral" and, with re-inversion,
            "re-inverted".
        results: one for each α.
    """

    source: normalisers.Prepared
    target: normalisers.Prepared
    photos: list[Stage]
    stages: dict[str, list[Stage]]
    results: list[Stage]


def make(room: Studio, pair: list[Portrait], options: Options, alphas: list[float]) -> Faces:
    """Invert both faces, transfer, draw every stage and have it judged."""
    transferrer = Transferrer(
        room.inverter,
        room.directions,
        options.normaliser,
        options.k,
        options.projection,
        options.common.batch,
    )
    with tqdm(total=4, delay=2, bar_format="{desc}: {n_fmt}/{total_fmt} {elapsed}") as progress:
        progress.set_description("inverting both faces")
        found = room.invert(pair)
        _next(progress, "making them neutral")
        both = transferrer.prepare(found)
        _next(progress, "drawing")
        names = {"inverted": both.face, "neutral": both.neutral}
        if options.normaliser == "reinvert":
            names["re-inverted"] = both.base
        source, target = both[0], both[1]
        drawn = _draw(room, [*names.values(), normalisers.combine(source, target, alphas)])
        _next(progress, "judging")
        side = room.inverter.generator.config.size
        photos = [images.resize(each.face, side) for each in pair]
        stages = _judged(room, np.concatenate([photos, drawn]))
        _next(progress, "done")
    parts = {name: stages[2 + 2 * i : 4 + 2 * i] for i, name in enumerate(names)}
    return Faces(source, target, stages[:2], parts, stages[2 + 2 * len(names) :])


def _next(progress: tqdm, doing: str) -> None:
    progress.update()
    progress.set_description(doing)


def _draw(room: Studio, parts: list[Inversion]) -> np.ndarray:
    """Draw several inversions by as few programs as possible: a path of one face has its own."""
    alone = [part for part in parts if part.is_shared]
    together = inversion.concatenate([part for part in parts if not part.is_shared])
    return np.concatenate([room.draw(together), *map(room.draw, alone)])


def _judged(room: Studio, pictures: np.ndarray) -> list[Stage]:
    said = room.classify(pictures)
    return [Stage(*row) for row in zip(pictures, said.logits, said.probabilities, strict=True)]


def _write_results(
    out: Path, results: list[Stage], source: Portrait, alphas: list[float], options: Options
) -> list[str]:
    """Write a picture for each α, and with --paste a photograph; return the pictures' names."""
    marks = [""] if len(alphas) == 1 else [f"-{alpha:.2f}" for alpha in alphas]
    for mark, stage in zip(marks, results, strict=True):
        images.write(out / f"result{mark}.png", stage.picture)
        if options.paste:
            photo = paste(source.photo, stage.picture, source.quad, size=photo_reader.SIZE)
            images.write(out / f"pasted{mark}.png", photo)
    return [f"result{mark}.png" for mark in marks]


def _sheet(faces: Faces, alphas: list[float], room: Studio) -> np.ndarray:
    """Return the sheet: both faces and the result, the stages, and the path where there is one."""

    def card(label: str, stage: Stage) -> Card:
        return Card(label, stage.picture, stage.probabilities)

    top = [card("source", faces.photos[0]), card("target", faces.photos[1])]
    top.append(card("result", faces.results[-1]))
    below = [
        card(f"{whose} {name}", stages[i])
        for i, whose in enumerate(("source", "target"))
        for name, stages in faces.stages.items()
    ]
    rows = [top, below]
    if len(alphas) > 1:
        path = [
            card(f"alpha {alpha:.2g}", stage)
            for alpha, stage in zip(alphas, faces.results, strict=True)
        ]
        rows += [path[i : i + PATH_COLUMNS] for i in range(0, len(path), PATH_COLUMNS)]
    return cards.sheet(rows, room.classes)


def _film(room: Studio, faces: Faces, alphas: list[float], frames: int) -> list[np.ndarray]:
    """Return the pictures of the way from the first α to the last and back."""
    first = alphas[0] if len(alphas) > 1 else 0.0
    path = np.linspace(first, alphas[-1], frames)
    there = list(room.draw(normalisers.combine(faces.source, faces.target, path)))
    return there + there[-2:0:-1]


def _report(
    room: Studio,
    options: Options,
    pair: list[Portrait],
    faces: Faces,
    alphas: list[float],
    files: list[str],
) -> dict[str, Any]:
    """Return every number of the run, JSON-able."""

    def face(i: int) -> dict[str, Any]:
        stages = {"photo": faces.photos, **faces.stages}
        said = {
            name: pipeline.named(stage[i].probabilities, room.classes)
            for name, stage in stages.items()
        }
        file = pair[i].file
        return {"file": str(file), "sha256": pipeline.sha256(file), "predictions": said}

    before = _score(faces.stages["inverted"][0].logits, faces.photos[1].logits)
    results = [
        {"alpha": alpha, "file": file, "predictions": pipeline.named(s.probabilities, room.classes)}
        | _score(s.logits, faces.photos[1].logits)
        | {"before": before}
        for alpha, file, s in zip(alphas, files, faces.results, strict=True)
    ]
    is_neutral = options.normaliser in ("reinvert", "none")
    return {
        "normaliser": options.normaliser,
        "projection": options.projection,
        "k": options.k if is_neutral else None,
        "source": face(0),
        "target": face(1),
        "results": results,
        **room.about(),
    }


def _score(result: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return the scores of one picture's logits [K] against the target photograph's."""
    score = emotion_score(result[None], target)
    return {
        "emotion_score": round(float(score.softmax[0]), 6),
        "emotion_score_log": round(float(score.log[0]), 6),
        "top1": int(score.top1[0]),
    }


if __name__ == "__main__":
    cli(main)
