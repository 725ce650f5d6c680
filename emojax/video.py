"""Edit the expression of a face in a video.

    emojax video film.mp4 --emotion happiness
    emojax video film.mp4 --emotion happiness --k 3 --preview --out happy.mp4
    emojax video film.mp4 --target friend.jpg --bundle ffhq --inverter hyperstyle
    emojax video film.mp4 --driver friend.mp4 --face 2

Writes the edited film, with sound, frame rate and the times of the frames as they were, and a
report beside it (edited.json); with --preview also the film before and after, side by side. Give
the same command again to go on with a run that was interrupted. Frames without a face stay as they
are. Needs PyAV (pip install "emojax[video]"), except for GIF and WebP in and out.

--align, --landmarks and --dlib-model are about the photograph of --target.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from emojax.faces import images
from emojax.faces.photo_reader import check_face
from emojax.film import reading, tracks, writing
from emojax.latents import directions
from emojax.runtime.choices import Normaliser, PasteForm, Unit
from emojax.runtime.cli import cli, warn
from emojax.runtime.errors import UserError
from emojax.runtime.files import write_json
from emojax.runtime.flags import PipelineFlags, check_inverts, layer_range
from emojax.runtime.progress import progress
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR, INVERTER_PARTS

if TYPE_CHECKING:  # jax is imported after the flags have been checked
    from emojax.film.changes import VideoEdit
    from emojax.pipeline import Pipeline

EMOTION_EDITED = "happiness"
"""The direction of an edit that names none."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax video`."""

    film: tyro.conf.Positional[Path]
    """A video (.mp4, .mov, .mkv, .webm and others), a GIF or an animated WebP."""
    emotion: str | None = None
    """A direction, or several to move along at once (fear,surprise); default: happiness."""
    k: float | None = None
    """How far; default: the end of the range in which the direction was measured to be usable."""
    unit: Unit = "norm"
    """What k counts. norm: the paper's, unit norm over all layers together. layer: unit norm in
    each layer. sigma: standard deviations among generated faces."""
    layers: str | None = None
    """Only these layers of the generator, such as 4:8: from the fifth to the eighth."""
    target: Path | None = None
    """A photograph whose expression the face gets, in place of an emotion."""
    target_face: str = "only"
    """Which face of a target with several: largest, or a number from the left, from 1."""
    driver: Path | None = None
    """A video whose expression the face gets, moment by moment; as long as the film or longer."""
    driver_face: str = "largest"
    """Which face of the driver: largest, or a number from the left, from 1."""
    alpha: float = 1.0
    """Share of the target's or driver's expression: 0 keeps the film's own."""
    normaliser: Normaliser = "subspace"
    """How the expression of target or driver is taken, as in `emojax transfer`."""
    face: str = "largest"
    """Which face of the film: largest (the one with the largest track), all, or a number from the
    left, from 1; the report lists them."""
    smoothing: float = 0.4
    """Seconds over which points and codes are smoothed; 0: every frame by itself."""
    paste_form: PasteForm = "change"
    """How the face goes back into the frame. change: what the edit changed is added within the
    face. crop: the whole square as the generator draws it, with soft edges, colours matched."""
    preview: bool = False
    """Also write the film before and after, side by side, as NAME-preview."""
    out: Path = Path("edited.mp4")
    """The film to write: .mp4, .mov, .mkv, .gif or .webp."""
    common: tyro.conf.OmitArgPrefixes[PipelineFlags] = dataclasses.field(
        default_factory=lambda: PipelineFlags(batch=8)
    )


def main(options: Options) -> None:
    """Edit one film and write what came of it."""
    total = check(options)
    with progress("reading the networks", total, "frames") as shown:
        from emojax.film.editing import edit_video
        from emojax.pipeline import Pipeline

        pipe = Pipeline(options.common)
        edit = _edit(pipe, options)
        preview = _preview_of(options.out) if options.preview else None
        done = edit_video(pipe, options.film, options.out, edit, preview=preview, shown=shown)
    report = {
        "film": str(options.film),
        "edit": edit.fingerprint(),
        "frames": done.frames,
        "edited": done.edited,
        "rate": round(done.rate, 4),
        "faces": done.faces,
        "warnings": done.warnings,
        **pipe.about(),
    }
    write_json(options.out.with_suffix(".json"), report)
    also = f", {done.preview}" if done.preview else ""
    print(
        f"{done.edited} of {done.frames} frames edited: {done.file}{also}, "
        f"{options.out.with_suffix('.json')}"
    )
    warn(done.warnings)


def check(options: Options) -> int | None:
    """Refuse what no run could use, before anything slow; return the number of the bar's steps.

    Raises:
        UserError: a flag out of range, an unknown emotion, flags that exclude each other, or a file
            that is missing or no video.
    """
    options.common.check()
    check_inverts(options.common.inverter, "a video holds")
    check_face(options.face, words=tracks.WORDS)
    check_face(options.target_face, "--target-face")
    check_face(options.driver_face, "--driver-face", words=tracks.WORDS[:1])
    layer_range(options.layers)
    given = {"--emotion": options.emotion, "--target": options.target, "--driver": options.driver}
    chosen = [flag for flag, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise UserError(f"{' and '.join(chosen)} are given: wanted one of them")
    if options.k is not None and chosen not in ([], ["--emotion"]):
        raise UserError(f"--k goes with --emotion, not with {chosen[0]}: leave it out")
    writing.check_name(options.out)
    if options.target:
        images.read(options.target)
    place = bundle.find(options.common.bundle)
    place.check(GENERATOR, *INVERTER_PARTS[options.common.inverter], EMOTION)
    if chosen in ([], ["--emotion"]):
        known = directions.chosen(place, options.common.directions)
        for name in _names(options):
            known.index(name)
    film = reading.describe(options.film)
    driver = None if options.driver is None else reading.describe(options.driver)
    return reading.steps(film, driver)


def _names(options: Options) -> list[str]:
    """Return the directions that the flags name."""
    return [name.strip().lower() for name in (options.emotion or EMOTION_EDITED).split(",")]


def _preview_of(out: Path) -> Path:
    return out.with_name(f"{out.stem}-preview{out.suffix}")


def _edit(pipe: "Pipeline", options: Options) -> "VideoEdit":
    """Return the edit that the flags ask for."""
    from emojax.film.changes import VideoEdit, usable_end

    amounts = {}
    if options.target is None and options.driver is None:
        amounts = {
            name: usable_end(pipe, name, options.unit) if options.k is None else options.k
            for name in _names(options)
        }
    return VideoEdit(
        amounts,
        target=options.target,
        driver=options.driver,
        face=options.face,
        driver_face=options.driver_face,
        target_face=options.target_face,
        alpha=options.alpha,
        normaliser=options.normaliser,
        unit=options.unit,
        layers=layer_range(options.layers),
        smoothing=options.smoothing,
        paste_form=options.paste_form,
    )


if __name__ == "__main__":
    cli(main)
