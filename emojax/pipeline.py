"""What `python -m emojax.edit` and `python -m emojax.transfer` share: flags, networks, faces.

A studio is a bundle opened for one inverter: it reads photographs, inverts and draws faces, and
asks the classifier what they show.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from emojax import __name__ as package
from emojax.faces import images, photo_reader
from emojax.faces.photo_reader import Portrait
from emojax.latents import directions as direction_files
from emojax.latents import inversion
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inversion, Inverter
from emojax.runtime.choices import InverterName
from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing
from emojax.scoring import classifier
from emojax.store import bundle
from emojax.store.bundle import Bundle
from emojax.store.parts import EMOTION, GENERATOR, INVERTER_PARTS

SAMPLES = "samples"
"""Folder in a bundle with aligned pictures to try it on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(photo_reader.Options):
    """Networks and photographs."""

    bundle: str = bundle.DEFAULT
    """Name or folder of a bundle with a generator, an inverter, directions and a classifier."""
    inverter: InverterName = "psp"
    """psp: one look, a code only. hyperstyle: several, and changes of the generator's kernels."""
    passes: int = 5
    """HyperStyle's passes."""
    directions: Path | None = None
    """Another directions file (.npz) than the bundle's."""
    crop: classifier.Crop = "face"
    """What the classifier sees of an aligned picture."""
    batch: int = 2
    """Faces at a time."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16: faster on GPUs and TPUs, coarser."""


def check(options: Options) -> None:
    """Refuse what no run could use.

    Raises:
        UserError: a number out of range, or flags that exclude each other.
    """
    for name in ("passes", "batch"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} is {getattr(options, name)}, wanted 1 or more")
    photo_reader.check(options)


class Studio:
    """A bundle opened for one inverter; see `Options` for what it is opened with.

    Attributes:
        options: the flags.
        bundle: where the networks are from.
        inverter: its networks.
        directions: its directions, or those of the file given.
        judge: its classifier.
    """

    options: Options
    bundle: Bundle
    inverter: Inverter
    directions: Directions
    judge: classifier.EmotionNet

    def __init__(self, options: Options) -> None:
        """Load everything.

        Raises:
            UserError: a part is missing or damaged; says which command makes it.
        """
        check(options)
        self.options, self.bundle = options, bundle.find(options.bundle)
        generator = self.bundle.sha256(GENERATOR)
        self.bundle.metadata(EMOTION)  # before anything slow
        if options.directions:
            self.directions = Directions.load(options.directions)
        else:
            self.directions = direction_files.load(self.bundle, generator)
        self.inverter = inversion.load(self.bundle, options.inverter, bfloat16=options.bfloat16)
        self.judge = self.bundle.load(EMOTION)
        self._reader = photo_reader.Reader(options, self.inverter.resolution)

    @property
    def classes(self) -> tuple[str, ...]:
        """What the classifier knows, lower case, in the order of its probabilities."""
        return tuple(name.lower() for name in self.judge.config.classes)

    def read(self, file: Path) -> Portrait:
        """Read a photograph and cut its face out; the bundle's own samples are taken as they are.

        Raises:
            UserError: no picture, no face, or several and none chosen.
        """
        samples = [(folder / SAMPLES).resolve() for folder in self.bundle.folders]
        ours = file.resolve().parent in samples
        return self._reader.aligned(file) if ours else self._reader(file)

    def sample(self, name: str) -> Path:
        """Return a picture that comes with the bundle, aligned: "source" or "target".

        Raises:
            UserError: the bundle has none.
        """
        file = self.bundle.file(f"{SAMPLES}/{name}.png")
        if file is None:
            raise UserError(
                f"bundle {self.bundle} has no sample picture {SAMPLES}/{name}.png: give pictures "
                "of your own"
            )
        return file

    def invert(self, portraits: Sequence[Portrait]) -> Inversion:
        """Return the codes of some faces."""
        side = self.inverter.resolution
        faces = np.stack([images.to_float(images.resize(each.face, side)) for each in portraits])
        options = self.options
        return inversion.invert(self.inverter, faces, passes=options.passes, batch=options.batch)

    def draw(self, faces: Inversion) -> np.ndarray:
        """Return the pictures uint8 [N,S,S,3] of some codes, S the generator's size."""
        drawn = inversion.synthesize(self.inverter, faces, batch=self.options.batch)
        return images.to_uint8(drawn)

    def classify(self, pictures: np.ndarray) -> classifier.Judgement:
        """Return what the classifier says of pictures uint8 [N,S,S,3]."""
        return classifier.classify(
            self.judge, pictures, crop=self.options.crop, batch=self.options.batch
        )

    def about(self) -> dict[str, Any]:
        """Return what a result was made with, JSON-able: flags, hashes and versions."""
        options, parts = self.options, (GENERATOR, *INVERTER_PARTS[self.options.inverter], EMOTION)
        hashes = {part.name: self.bundle.sha256(part) for part in parts}
        file = options.directions or direction_files.file_of(self.bundle)
        return {
            "bundle": str(self.bundle),
            "inverter": options.inverter,
            "passes": options.passes if options.inverter == "hyperstyle" else 0,
            "crop": options.crop,
            "bfloat16": options.bfloat16,
            "weights_sha256": hashes,
            "directions": {"file": str(file), "sha256": sha256(file)},
            "made_by": package,
            "jax": jax.__version__,
        }


def spread(flag: str, text: str, steps: int) -> list[float]:
    """Return the number in `3`, or the `steps` evenly spaced ones of a range such as `-20..20`.

    Raises:
        UserError: the text is something else, or fewer than two steps for a range.
    """
    first, dots, last = text.partition("..")
    try:
        ends = [float(first), float(last)] if dots else [float(first)]
    except ValueError:
        ends = [np.nan]
    if not np.isfinite(ends).all():
        raise UserError(f"{flag} is {text!r}, wanted a number, or a range such as 0..1")
    if not dots:
        return ends
    if steps < 2:
        raise UserError(f"--steps is {steps}, wanted 2 or more for the range {flag} {text}")
    return [float(value) for value in np.linspace(*ends, steps)]


def named(values: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Return numbers by name, as they go into a JSON file."""
    return {name: round(float(value), 6) for name, value in zip(names, values, strict=True)}


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_json(file: Path, report: Mapping[str, Any]) -> None:
    """Write a report as indented JSON, aside and then renamed.

    Raises:
        UserError: it cannot be written.
    """
    with replacing(file) as aside:
        aside.write_text(json.dumps(report, indent=2) + "\n")
