"""Video against its truth: flicker, emotion and identity, smoothed and frame by frame.

    python -m benchmarks.video
    python -m benchmarks.video --person 5 --emotion surprise --frames 50 --inverter hyperstyle

A film of a drawn face whose pose and light move, with grain and without, is edited three times: not
at all (k = 0), frame by frame (`--smoothing 0`), and as `emojax video` does it. Beside them stand
the truth, the same film drawn with the emotion, and what no smoothing can go below: one edited face
laid along the true path, where nothing changes but the pixels it falls on. A JSON line for each has

- code_flicker: mean absolute second difference over time of the edited codes;
- picture_flicker: the same of the pictures before they are encoded, in grey levels, at points that
  stay on the face (its true motion, turns of the head included), means over four by four points;
  it includes what light and grain make in the film as it is;
- added_flicker: that of the edited film minus the film as it is: what the edit brings in;
- emotion_probability: the classifier's mean probability of the emotion;
- identity_error: mean absolute difference between the identity factors that the attribute regressor
  finds in the edited film and the true ones.

The last line has the speed: frames a second, by the wall clock and by processor time, with
everything compiled, and the processor time of each step in milliseconds a frame.
"""

import contextlib
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

import emojax
from benchmarks import machine
from emojax.demo import batches, scene
from emojax.demo.drawing.factors import FACTORS
from emojax.faces import align, images, paste
from emojax.film import detections, following, inverting, pasting, reading, writing
from emojax.film.changes import usable_end
from emojax.film.chunk_store import ChunkStore
from emojax.film.following import Followed
from emojax.film.smoothing import window_of
from emojax.latents.codes import Inversion
from emojax.models.efficientnet import EmotionNet
from emojax.pipeline import Faces, Pipeline
from emojax.runtime.choices import InverterName, PasteForm
from emojax.runtime.cli import cli
from emojax.scoring import classifier
from emojax.store.parts import ATTRIBUTES

WAYS = {"not edited": (0.4, 0.0), "frame by frame": (0.0, 1.0), "smoothed": (0.4, 1.0)}
"""Seconds of the filters' window, and share of the edit."""
SIDE = 96
"""Points across the face."""
MEAN = 4
"""Points whose mean is taken, so that the pixel grid does not count as flicker."""
IDENTITY = FACTORS[[each.name for each in FACTORS].index("skin_tone") :]
"""The factors that belong to the person, not to pose, light or expression."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.video`."""

    frames: int = 75
    """Length of the film."""
    person: int = 13
    """Number of the person."""
    emotion: str = "happiness"
    """The emotion that is edited, to the end of its usable range."""
    inverter: InverterName = "psp"
    """Inverter."""
    paste_form: PasteForm = "change"
    """How faces go back into the frame."""
    width: int = 640
    """Of the frames."""
    grain: tuple[float, ...] = (2.0, 0.0)
    """Standard deviations of the camera's noise in grey levels, a film for each."""


class _Steps:
    """Progress that is not shown; reads the frames before they are encoded for the last time."""

    def __init__(self, chunks: Path | None = None) -> None:
        self.chunks, self.frames = chunks, []

    def advance(self, count: int = 1) -> None:
        """Do nothing."""

    def describe(self, doing: str) -> None:
        """Read the finished chunks, which are lossless for a GIF."""
        if doing == "joining" and self.chunks is not None:
            for file in sorted(self.chunks.glob(f"*{writing.CHUNK_SUFFIX}")):
                self.frames += _frames(file)


def main(options: Options) -> None:
    """Measure and print a JSON line for each way, then one for the speed."""
    pipe = emojax.load("demo", inverter=options.inverter, batch=8)
    about = {**dataclasses.asdict(options), **machine.describe()}
    for grain in options.grain:
        height = options.width * 3 // 4
        what = scene.Scene(person=options.person, width=options.width, height=height, noise=grain)
        with tempfile.TemporaryDirectory() as folder:
            film = Path(folder) / "film.mp4"
            scene.write(what, options.frames, film)
            for name, figures in _ways(pipe, film, what, options):
                print(json.dumps({"way": name, "noise": grain, **figures, **about}), flush=True)
            if grain == options.grain[-1]:
                print(json.dumps({**_speed(pipe, film, options), **about}), flush=True)


def _ways(
    pipe: Pipeline, film: Path, what: scene.Scene, options: Options
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the figures of the truth and of each way."""
    plain = _frames(film)
    drawn = dataclasses.replace(what, emotion=options.emotion)
    truth = list(scene.pictures(drawn, options.frames))
    yield "the truth", _figures(pipe, truth, plain, drawn, options)
    for name, (smoothing, share) in WAYS.items():
        out = film.with_name("out.gif")
        steps = _Steps(out.with_name("out.gif.parts") / "frames")
        emojax.edit_video(pipe, film, out, _change(pipe, options, smoothing, share), shown=steps)
        codes = {"code_flicker": round(_second_difference(_codes(pipe, film, smoothing)), 5)}
        yield name, codes | _figures(pipe, steps.frames, plain, what, options)
    held = _one_face(pipe, film, what, options)
    yield "one face along the true path", _figures(pipe, held, plain, what, options)


def _one_face(pipe: Pipeline, film: Path, what: scene.Scene, options: Options) -> list[np.ndarray]:
    """Return the film with the edit of one frame's face in every frame, where the face truly is."""
    with _followed(pipe, film, 0.4) as (found, store):
        (track,) = found.tracks
        best, window = inverting.reference(track), window_of(0.4, found.rate)
        code = inverting.read_codes(found, store, 0, np.arange(best, best + 1), window)
        rows = Inversion(jnp.asarray(code), made_with=pipe.inverter.made_with)
        before = Faces(pipe, inverting.with_kernels(rows, store, 0))
    both = before, pipe.edit(before, _change(pipe, options).amounts)
    drawn, after = (images.to_levels(pipe.synthesize(each.codes))[0] for each in both)
    side, plain = inverting.crop_side(track, pipe.inverter.resolution), _frames(film)
    places = scene.quads(what, np.arange(len(plain))) - 0.5
    return [
        paste.paste_change(frame, after, drawn, quad, size=side)
        for frame, quad in zip(plain, places, strict=True)
    ]


def _change(
    pipe: Pipeline, options: Options, smoothing: float = 0.4, share: float = 1.0
) -> emojax.VideoEdit:
    """Return the edit, a share of the usable range."""
    amounts = {options.emotion: share * usable_end(pipe, options.emotion)}
    return emojax.VideoEdit(amounts, smoothing=smoothing, paste_form=options.paste_form)


def _figures(
    pipe: Pipeline,
    frames: list[np.ndarray],
    plain: list[np.ndarray],
    what: scene.Scene,
    options: Options,
) -> dict[str, Any]:
    """Return the figures of an edited film.

    Args:
        pipe: the demo's bundle.
        frames: of the edited film, uint8 [H,W,3] each.
        plain: of the film as it was.
        what: the scene.
        options: which emotion.
    """
    quads = scene.quads(what, np.arange(len(frames)))
    aligned = np.stack(
        [align.crop(each, quad - 0.5, 128) for each, quad in zip(frames, quads, strict=True)]
    )
    said = np.asarray(pipe.classify(aligned).probabilities)
    edited, before = _on_the_face(frames, what), _on_the_face(plain, what)
    return {
        "picture_flicker": round(_second_difference(edited), 3),
        "added_flicker": round(_second_difference(edited - before), 3),
        "emotion_probability": round(float(said[:, pipe.classes.index(options.emotion)].mean()), 3),
        "identity_error": round(_identity_error(pipe, aligned, what), 4),
    }


def _speed(pipe: Pipeline, film: Path, options: Options) -> dict[str, Any]:
    """Return frames a second, and the processor time of each step, with everything compiled."""
    change, out = _change(pipe, options), film.with_name("out.mp4")
    spent = []
    for _ in range(2):  # the first time compiles
        start = time.perf_counter(), time.process_time()
        done = emojax.edit_video(pipe, film, out, change, shown=_Steps())
        spent = [done.frames / (time.perf_counter() - start[0])]
        spent.append(done.frames / (time.process_time() - start[1]))
    return {
        "frames_per_second": round(spent[0], 2),
        "frames_per_processor_second": round(spent[1], 2),
        "processor_ms_a_frame": _steps(pipe, film, change),
    }


def _steps(pipe: Pipeline, film: Path, change: emojax.VideoEdit) -> dict[str, float]:
    """Return the processor time of each step of an edit, in milliseconds a frame."""
    with _followed(pipe, film, change.smoothing) as (found, store):
        (track,) = found.tracks
        video, count = found.video, len(track.points)
        begun = [("decode", time.process_time())]

        def begin(step: str) -> None:
            begun.append((step, time.process_time()))

        frames = list(reading.read(video))[track.start : track.stop]
        begin("detect")
        list(detections.detect(iter(frames), 0, found.chunk, _Steps()))
        begin("align")
        faces = np.stack([inverting.aligned(f, track, pipe.inverter.resolution) for f in frames])
        begin("invert")
        pipe.encode(inverting.padded(faces, 8))
        begin("edit")
        window = window_of(change.smoothing, found.rate)
        codes = inverting.read_codes(found, store, 0, np.arange(track.start, track.stop), window)
        rows = Inversion(jnp.asarray(inverting.padded(codes, 8)), made_with=pipe.inverter.made_with)
        before = Faces(pipe, inverting.with_kernels(rows, store, 0))
        both = before, pipe.edit(before, change.amounts)
        pictures = [images.to_levels(pipe.synthesize(each.codes)) for each in both]
        begin("paste")
        side = inverting.crop_side(track, pipe.inverter.resolution)
        pasted = [
            pasting.put_back(frame.picture, after, drawn, points, size=side)
            for frame, drawn, after, points in zip(frames, *pictures, track.points, strict=False)
        ]
        begin("encode")
        with writing.chunk_writer(film.with_name("chunk.nut"), video) as put:
            for frame, picture in zip(frames, pasted, strict=True):
                put(frame.pts, picture)
        begin("")
    ends = [at for _, at in begun]
    spent = zip(begun, ends[1:], strict=False)
    return {step: round(1000 * (end - at) / count, 2) for (step, at), end in spent}


def _second_difference(values: np.ndarray) -> float:
    return float(np.abs(np.diff(values, 2, axis=0)).mean())


def _codes(pipe: Pipeline, film: Path, smoothing: float) -> np.ndarray:
    """Return the codes of a film's face; an edit by the same k in all frames adds a constant."""
    with _followed(pipe, film, smoothing) as (found, store):
        window = window_of(smoothing, found.rate)
        (track,) = found.tracks
        return inverting.read_codes(found, store, 0, np.arange(track.start, track.stop), window)


@contextlib.contextmanager
def _followed(
    pipe: Pipeline, film: Path, smoothing: float
) -> Iterator[tuple[Followed, ChunkStore]]:
    """Follow and invert a film's face, and yield it with the store of its codes."""
    with tempfile.TemporaryDirectory() as folder:
        store, video = ChunkStore(Path(folder), following.CHUNK), reading.describe(film)
        found = following.follow(
            video, store, _Steps(), face="largest", smoothing=smoothing, flag="--face"
        )
        inverting.invert(pipe, found, store, _Steps())
        yield found, store


def _frames(film: Path) -> list[np.ndarray]:
    """Return the frames of a film, uint8 [H,W,3] each."""
    return [frame.picture for frame in reading.read(reading.describe(film))]


def _on_the_face(frames: list[np.ndarray], what: scene.Scene) -> np.ndarray:
    """Return the grey levels [T,S,S,3] of points that stay on the face."""
    places = scene.surface(what, np.arange(len(frames)), SIDE) - 0.5
    small = SIDE // MEAN
    rows = []
    for picture, place in zip(frames, places, strict=True):
        at = place.transpose(2, 0, 1)[::-1]  # rows, columns
        levels = [
            ndimage.map_coordinates(channel, at, np.float32, order=1, mode="nearest")
            for channel in picture.transpose(2, 0, 1)
        ]
        rows.append(np.stack(levels, -1).reshape(small, MEAN, small, MEAN, 3).mean((1, 3)))
    return np.stack(rows)


def _identity_error(pipe: Pipeline, aligned: np.ndarray, what: scene.Scene) -> float:
    """Return the mean error of the person's factors, whose ranges are -1 to 1."""
    regressor = pipe.bundle.load(ATTRIBUTES)
    found = np.asarray(_attributes(regressor, jnp.asarray(images.to_float(aligned))))
    true = np.asarray(batches.attributes(scene.faces(what, np.arange(len(aligned)))))
    chosen = [batches.ATTRIBUTES.index(each.name) for each in IDENTITY]
    return float(np.abs(found[:, chosen] - true[:, chosen]).mean())


@jax.jit
def _attributes(regressor: EmotionNet, pictures: jax.Array) -> jax.Array:
    x = classifier.preprocess(pictures, regressor.config.size, crop="full", as_uint8=False)
    return regressor(x)


if __name__ == "__main__":
    cli(main)
