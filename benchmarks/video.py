"""Video against its truth: flicker, emotion and identity, smoothed and frame by frame.

    python -m benchmarks.video
    python -m benchmarks.video --person 5 --emotion surprise --frames 50

A film of a drawn face whose pose and light move is edited three times: not at all (k = 0), frame by
frame (`--smoothing 0`), and as `emojax video` does it. A JSON line for each has

- code_flicker: mean absolute second difference over time of the edited codes;
- picture_flicker: the same of the pictures, in grey levels, at points that stay on the face (its
  true motion, turns of the head included), means over four by four points; that of k = 0 is what
  light, grain and encoding make by themselves;
- emotion_probability: the classifier's mean probability of the emotion;
- identity_error: mean absolute difference between the identity factors that the attribute regressor
  finds in the edited film and the true ones;
- frames_per_second, by the wall clock and by processor time, with everything compiled, and the
  processor seconds of each step.
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
from emojax.faces import align, images
from emojax.film import following, inverting, reading
from emojax.film.changes import usable_end
from emojax.film.chunk_store import ChunkStore
from emojax.film.smoothing import window_of
from emojax.models.efficientnet import EmotionNet
from emojax.pipeline import Pipeline
from emojax.runtime.choices import InverterName, PasteForm
from emojax.runtime.cli import cli
from emojax.scoring import classifier
from emojax.store.parts import ATTRIBUTES

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
    width: int = 320
    """Of the frames."""


class _Steps:
    """Progress that is not shown; takes the processor time of each step."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, float]] = []

    def advance(self, count: int = 1) -> None:
        """Do nothing."""

    def describe(self, doing: str) -> None:
        """Note that another step begins."""
        self.begun.append((doing.split()[0], time.process_time()))

    def seconds(self) -> dict[str, float]:
        """Return the processor seconds of each step up to now."""
        ends = [at for _, at in self.begun[1:]] + [time.process_time()]
        return {
            doing: round(end - at, 2) for (doing, at), end in zip(self.begun, ends, strict=True)
        }


def main(options: Options) -> None:
    """Measure and print a JSON line for each way."""
    pipe = emojax.load("demo", inverter=options.inverter, batch=8)
    what = scene.Scene(person=options.person, width=options.width, height=options.width * 3 // 4)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        scene.write(what, options.frames, film)
        _edit(pipe, film, options, 0.4, 1.0)  # everything is compiled
        for name, smoothing, share in _ways():
            figures = _measured(pipe, film, what, options, smoothing, share)
            about = {**dataclasses.asdict(options), **machine.describe()}
            print(json.dumps({"way": name, **figures, **about}), flush=True)


def _ways() -> Iterator[tuple[str, float, float]]:
    yield "not edited", 0.4, 0.0
    yield "frame by frame", 0.0, 1.0
    yield "smoothed", 0.4, 1.0


def _edit(
    pipe: Pipeline, film: Path, options: Options, smoothing: float, share: float
) -> tuple[Path, float, dict[str, float]]:
    """Return the edited film, how long it took, and the processor time of each step."""
    amount = share * usable_end(pipe, options.emotion)
    edit = emojax.VideoEdit(
        {options.emotion: amount}, smoothing=smoothing, paste_form=options.paste_form
    )
    out = film.with_name("out.mp4")
    clock, steps = time.perf_counter(), _Steps()
    emojax.edit_video(pipe, film, out, edit, shown=steps)
    return out, time.perf_counter() - clock, steps.seconds()


def _measured(
    pipe: Pipeline,
    film: Path,
    what: scene.Scene,
    options: Options,
    smoothing: float,
    share: float,
) -> dict[str, Any]:
    """Return the figures of one way."""
    out, clock, steps = _edit(pipe, film, options, smoothing, share)
    video = reading.describe(out)
    frames = [frame.picture for frame in reading.read(video)]
    numbers = np.arange(len(frames))
    quads = scene.quads(what, numbers)
    aligned = np.stack(
        [align.crop(each, quad - 0.5, 128) for each, quad in zip(frames, quads, strict=True)]
    )
    said = np.asarray(pipe.classify(aligned).probabilities)
    return {
        "code_flicker": round(_second_difference(_codes(pipe, film, smoothing)), 5),
        "picture_flicker": round(_second_difference(_on_the_face(frames, what)), 3),
        "emotion_probability": round(float(said[:, pipe.classes.index(options.emotion)].mean()), 3),
        "identity_error": round(_identity_error(pipe, aligned, what), 4),
        "frames_per_second": round(len(frames) / clock, 2),
        "frames_per_processor_second": round(len(frames) / sum(steps.values()), 2),
        "processor_seconds": steps,
    }


def _second_difference(values: np.ndarray) -> float:
    return float(np.abs(np.diff(values, 2, axis=0)).mean())


def _codes(pipe: Pipeline, film: Path, smoothing: float) -> np.ndarray:
    """Return the codes of a film's face; an edit by the same k in all frames adds a constant."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = ChunkStore(folder, following.CHUNK)
        video = reading.describe(film)
        found = following.follow(
            video, store, _Steps(), face="largest", smoothing=smoothing, flag="--face"
        )
        inverting.invert(pipe, found, store, _Steps())
        window = window_of(smoothing, found.rate)
        return inverting.read_codes(found, store, 0, np.arange(found.frames), window)


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
