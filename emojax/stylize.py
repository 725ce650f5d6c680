r"""Draw faces in the style of an artistic portrait, by DualStyleGAN.

    emojax stylize --bundle cartoon --list
    emojax stylize --input me.jpg --bundle cartoon --style 26
    emojax stylize --input transferred/result.png --bundle cartoon --style 26 64 --structure 0.5
    emojax stylize --source me.jpg --target friend.jpg --bundle ffhq \
        --style-bundle cartoon --style 26

With --source or --target, an emotion is transferred first, by the paper's Equations 2 to 4, and the
result is stylized. Writes a picture for each face and style, sheet.png and stylize.json. 'emojax
convert dualstylegan' makes the networks and styles of a bundle.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import tyro

from emojax.faces import images, photo_reader
from emojax.faces.photo_reader import Photograph, PhotoReader, check_face
from emojax.latents import styles
from emojax.runtime.choices import Normaliser
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, sha256, write_json
from emojax.runtime.flags import PipelineFlags, check_inverts
from emojax.runtime.progress import Progress, progress
from emojax.runtime.version import VERSION
from emojax.store import bundle
from emojax.store.bundle import SAMPLES, Bundle
from emojax.store.parts import (
    DUALSTYLEGAN,
    DUALSTYLEGAN_ENCODER,
    EMOTION,
    GENERATOR,
    INVERTER_PARTS,
    STYLE_SAMPLER,
)

if TYPE_CHECKING:  # jax is imported after the flags have been checked
    from emojax.latents.stylization import Strength, Stylizer

COLUMNS = 5
"""Styles in one row of the sheet."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax stylize`."""

    input: tuple[Path, ...] = ()
    """Photographs, or results of other commands; by default the bundle's sample."""
    source: Path | None = None
    """In place of --input: whose face it is, before it gets another's expression."""
    target: Path | None = None
    """Whose expression the source gets."""
    style: tuple[str, ...] = ("0",)
    """Numbers or names of styles, see --list; all: every style."""
    random: tuple[int, ...] = ()
    """In place of --style: random styles of these numbers, by DualStyleGAN's sampler."""
    structure: float = 0.75
    """Weight of the style's structure, from 0 (the face's own) to 1."""
    colour: float = 1.0
    """Weight of the style's colours, from 0 to 1."""
    truncation: float = 0.75
    """Truncation psi of the face's own code, towards zero."""
    keep_colours: bool = False
    """Keep the face's colours."""
    list_styles: Annotated[bool, tyro.conf.arg(name="list")] = False
    """List the styles of the bundle, and draw nothing."""
    style_bundle: str | None = None
    """Bundle with DualStyleGAN and styles; default: --bundle."""
    face: str = "only"
    """Which face of a photograph with several: largest, or a number from the left, from 1."""
    normaliser: Normaliser = "reinvert"
    """Of the transfer, as in emojax transfer."""
    alpha: float = 1.0
    """Of the transfer: 0 the source's own expression, 1 the target's."""
    out: Path = Path("stylized")
    """Folder for the results."""
    common: tyro.conf.OmitArgPrefixes[PipelineFlags] = dataclasses.field(
        default_factory=PipelineFlags
    )

    @property
    def transfers(self) -> bool:
        """Whether an emotion is transferred first."""
        return self.source is not None or self.target is not None


class Shown(NamedTuple):
    """A picture that is on the way to its style.

    Attributes:
        name: for captions.
        picture: uint8 [S,S,3], an aligned face.
        probabilities: what the classifier says of it; None: not asked.
    """

    name: str
    picture: np.ndarray
    probabilities: np.ndarray | None = None


class Given(NamedTuple):
    """What the flags give.

    Attributes:
        place: bundle with DualStyleGAN.
        strength: weights.
        labels: names of the styles, for files.
        names: of the styles, for captions.
        extrinsic: codes [N,L,D] of the styles.
        photos: already decoded.
    """

    place: Bundle
    strength: "Strength"
    labels: list[str]
    names: list[str]
    extrinsic: np.ndarray
    photos: list[Photograph]


def main(options: Options) -> None:
    """Stylize the faces and write what came of it."""
    place = bundle.find(options.style_bundle or options.common.bundle)
    if options.list_styles:
        for number, name in enumerate(styles.load(place).names):
            print(f"{number:4d}  {name}")
        return
    photos = check(options, place)
    with progress("reading the networks", unit="pictures") as shown:
        given = _given(options, place, photos)
        from emojax.latents import stylization
        from emojax.runtime.devices import everywhere, mesh_for

        stylizer = stylization.load(place, bfloat16=options.common.bfloat16)
        stylizer = everywhere(stylizer, mesh_for(options.common.batch))
        faces, about = _faces(options, given, stylizer, shown)
        shown.describe("drawing in the style")
        drawn = _drawn(stylizer, faces[-1:] if options.transfers else faces, given, options)
    out = make_folder(options.out)
    results = _write(out, faces, drawn, given, options)
    report = _report(options, given, stylizer, results) | about
    write_json(out / "stylize.json", report)
    print(f"{len(results)} pictures: {out}/sheet.png, {out}/stylize.json")


def check(options: Options, place: Bundle) -> list[Photograph]:
    """Refuse what no run could use, before anything slow; return the photographs, decoded.

    Raises:
        UserError: a flag out of range, flags that exclude each other, a picture that is missing or
            none, or a bundle without a part that is needed.
    """
    options.common.check()
    check_face(options.face)
    if options.input and options.transfers:
        raise UserError("--input is given with --source or --target: wanted one or the other")
    if not options.style and not options.random:
        raise UserError("--style is empty: wanted numbers or names of styles, see --list")
    if options.random and min(options.random) < 0:
        raise UserError(f"--random is {min(options.random)}, wanted 0 or more")
    for name in ("structure", "colour", "truncation", "alpha"):
        if not 0 <= getattr(options, name) <= 1:
            raise UserError(f"--{name} is {getattr(options, name)}, wanted 0 to 1")
    place.check(DUALSTYLEGAN, DUALSTYLEGAN_ENCODER, *([STYLE_SAMPLER] if options.random else []))
    if not options.random:
        known = styles.load(place)
        for each in () if options.style == ("all",) else options.style:
            known.index(each)
    common = bundle.find(options.common.bundle)
    if options.transfers:
        check_inverts(options.common.inverter, "a transfer takes")
        common.check(GENERATOR, *INVERTER_PARTS[options.common.inverter], EMOTION)
        files = [options.source or sample(common, "source")]
        files.append(options.target or sample(common, "target"))
    else:
        files = list(options.input) or [sample(place, "source")]
    return [photo_reader.read(file) for file in files]


def sample(place: Bundle, name: str) -> Path:
    """Return a sample picture of a bundle.

    Raises:
        UserError: the bundle has none.
    """
    file = place.file(f"{SAMPLES}/{name}.png")
    if file is None:
        raise UserError(
            f"bundle {place} has no sample picture {SAMPLES}/{name}.png: give pictures with "
            "--input, or --source and --target"
        )
    return file


def _given(options: Options, place: Bundle, photos: list[Photograph]) -> Given:
    from emojax.latents import stylization
    from emojax.latents.stylization import Strength

    strength = Strength(options.structure, options.colour, options.truncation, options.keep_colours)
    if options.random:
        labels = [f"random{number}" for number in options.random]
        extrinsic = stylization.random_styles(place, list(options.random))
        return Given(place, strength, labels, labels, extrinsic, photos)
    numbers, known = stylization.chosen(place, options.style)
    labels = [f"style{number}" for number in numbers]
    names = [f"{number}: {known.names[number]}" for number in numbers]
    return Given(place, strength, labels, names, known.codes[numbers], photos)


def _faces(
    options: Options, given: Given, stylizer: "Stylizer", shown: Progress
) -> tuple[list[Shown], dict[str, Any]]:
    """Return the faces to show, and what the report says of them; of a transfer its last face."""
    if options.transfers:
        return _transferred(options, given.photos, shown)
    common = options.common
    reader = PhotoReader(
        stylizer.sizes,
        align=common.align,
        landmarks_file=common.landmarks,
        dlib_model=common.dlib_model,
    )
    shown.describe("finding the faces")
    faces = []
    for photo in given.photos:
        whole = _is_sample(photo, given.place)
        portrait = reader.aligned(photo) if whole else reader(photo, options.face)
        faces.append(Shown(Path(portrait.name).stem, portrait.face))
    about = {"input": [_file(photo) for photo in given.photos]}
    return faces, about


def _is_sample(photo: Photograph, place: Bundle) -> bool:
    samples = [(folder / SAMPLES).resolve() for folder in place.folders]
    return photo.file is not None and photo.file.resolve().parent in samples


def _transferred(
    options: Options, photos: list[Photograph], shown: Progress
) -> tuple[list[Shown], dict[str, Any]]:
    """Return source, target and the source with the target's expression."""
    from emojax.pipeline import Pipeline

    pipe = Pipeline(options.common)
    both = [pipe.read(photo, face=options.face) for photo in photos]
    shown.describe("transferring the emotion")
    source, target = pipe.invert(*both)
    result = pipe.transfer(source, target, alpha=options.alpha, normaliser=options.normaliser)
    faces = []
    for name, portrait in zip(("source", "target"), both, strict=True):
        face = images.resize(portrait.face, pipe.size)
        probabilities = np.asarray(pipe.classify(face[None]).probabilities)[0]
        faces.append(Shown(name, face, probabilities))
    faces.append(Shown("result", result.pictures[0], result.probabilities[0]))
    about = {
        "source": _file(photos[0]),
        "target": _file(photos[1]),
        "normaliser": options.normaliser,
        "alpha": options.alpha,
        "predictions": {
            each.name: dict(zip(pipe.classes, map(float, each.probabilities), strict=True))
            for each in faces
            if each.probabilities is not None
        },
        "transfer": pipe.about(),
    }
    return faces, about


def _file(photo: Photograph) -> dict[str, Any]:
    return {"file": str(photo.file), "sha256": sha256(photo.file) if photo.file else None}


def _drawn(
    stylizer: "Stylizer", faces: Sequence[Shown], given: Given, options: Options
) -> np.ndarray:
    """Return the pictures uint8 [F,N,S,S,3] of F faces in N styles."""
    from emojax.latents import stylization

    batch = options.common.batch
    contents = np.stack([stylization.content(stylizer, each.picture) for each in faces])
    codes = stylization.encode(stylizer, contents, batch=batch)
    count = len(given.extrinsic)
    rows, extrinsic = np.repeat(codes, count, 0), np.tile(given.extrinsic, (len(codes), 1, 1))
    drawn = stylization.draw(stylizer, rows, extrinsic, given.strength, batch=batch)
    return images.to_uint8(drawn).reshape(len(codes), count, *drawn.shape[1:])


def _write(
    out: Path, faces: Sequence[Shown], drawn: np.ndarray, given: Given, options: Options
) -> list[dict[str, Any]]:
    """Write a picture for each face and style, and the sheet; return what the report says."""
    from emojax.report.cards import Card, sheet

    results, rows = [], []
    stylized = faces[-1:] if options.transfers else faces
    stems = [each.name for each in stylized]
    if options.transfers:
        rows.append([Card(each.name, each.picture) for each in faces])
    for number, (face, pictures) in enumerate(zip(stylized, drawn, strict=True)):
        stem = face.name if stems.count(face.name) == 1 else f"{face.name}{number}"
        cards = [] if options.transfers else [Card(face.name, face.picture)]
        for label, name, picture in zip(given.labels, given.names, pictures, strict=True):
            file = f"{stem}-{label}.png"
            images.write(out / file, picture)
            results.append({"file": file, "face": face.name, "style": name})
            cards.append(Card(name, picture))
        rows += [cards[start : start + COLUMNS] for start in range(0, len(cards), COLUMNS)]
    images.write(out / "sheet.png", sheet(rows, ()))
    return results


def _report(
    options: Options, given: Given, stylizer: "Stylizer", results: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what the pictures were made with, JSON-able."""
    parts = (DUALSTYLEGAN, DUALSTYLEGAN_ENCODER, *([STYLE_SAMPLER] if options.random else []))
    return {
        **dataclasses.asdict(given.strength),
        "results": results,
        "style_bundle": str(given.place),
        "weights_sha256": {part.name: given.place.sha256(part) for part in parts},
        "space": stylizer.space,
        "made_by": f"emojax {VERSION}",
    }


if __name__ == "__main__":
    cli(main)
