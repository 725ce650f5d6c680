"""Groups of flags that several commands share, and how their values are read; needs no jax."""

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from emojax.runtime.choices import DEFAULT_BUNDLE, Align, Crop, InverterName
from emojax.runtime.errors import UserError

InversionSteps = Annotated[int | None, tyro.conf.arg(name="inversion-steps")]
"""Length of an inversion by optimisation; `--steps` is the number of pictures of a series."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoFlags:
    """How faces are found in photographs."""

    align: Align = "auto"
    """auto: cut faces out of photographs as FFHQ did; pictures that are aligned already, and square
    ones of the encoder's or generator's size, are taken as they are. always: cut out of these too.
    never: take every picture as it is."""
    landmarks: Path | None = None
    """JSON of facial landmarks, {"photo.jpg": [[[x, y], ... 5 or 68]]}, instead of a detector."""
    dlib_model: Path | None = None
    """shape_predictor_68_face_landmarks.dat: find faces with dlib, as FFHQ's authors did."""

    def check(self) -> None:
        """Refuse what no photograph could be read with.

        Raises:
            UserError: two sources of landmarks are given, or a file is missing.
        """
        if self.landmarks and self.dlib_model:
            raise UserError("both --landmarks and --dlib-model are given: wanted one of them")
        for file in (self.landmarks, self.dlib_model):
            if file and not file.is_file():
                raise UserError(f"no file {file}: give the path of a file")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PipelineFlags(PhotoFlags):
    """Which networks, and how they run."""

    bundle: str = DEFAULT_BUNDLE
    """Name, folder or address (s3://..., gs://...) of a bundle with a generator, an inverter,
    directions and a classifier."""
    inverter: InverterName = "psp"
    """psp: one encoder pass to W+. hyperstyle: a code in W, and several passes that refine the
    generator's kernels. projection, projection-w: codes in W+ or W by optimisation. pti: a code in
    W, and a generator tuned to the face. none: generated faces only, of any generator."""
    passes: int = 5
    """Passes of HyperStyle."""
    steps: InversionSteps = None
    """Steps of an optimisation; default: 1000 of a projection, 350 of PTI's tuning, which a
    projection of 9 steps for every 7 precedes."""
    directions: Path | None = None
    """A directions file (.npz) in place of the bundle's."""
    crop: Crop = "face"
    """What the classifier sees: the face of an aligned picture, or the full picture."""
    batch: int = 2
    """Faces at a time."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16: faster on GPUs and TPUs, less exact."""

    def check(self) -> None:
        """Refuse what no run could use.

        Raises:
            UserError: a number out of range, a missing file, or flags that exclude each other.
        """
        super().check()
        at_least("--passes", self.passes, 1)
        check_inversion_steps(self.steps)
        at_least("--batch", self.batch, 1)
        check_directions_files(self.directions)


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Processes of a cluster that jax does not know; used with --distributed."""

    coordinator: str | None = None
    """HOST:PORT of process 0."""
    processes: int | None = None
    """Number of processes."""
    process: int | None = None
    """Number of this process, from 0."""


def check_inverts(inverter: InverterName, what: str) -> None:
    """Refuse to open photographs without an inverter.

    Args:
        inverter: the one that is given.
        what: who wants photographs, for the message.

    Raises:
        UserError: it is "none".
    """
    if inverter == "none":
        raise UserError(f"--inverter is none: {what} photographs, wanted one that inverts")


def check_directions_files(file: Path | None, compared: Sequence[Path] = ()) -> None:
    """Refuse directions files that are missing, or that their names do not tell apart.

    Args:
        file: of `--directions`.
        compared: of `--compare-directions`.

    Raises:
        UserError: says which.
    """
    for each in (*([file] if file else ()), *compared):
        if not each.is_file():
            raise UserError(f"no file {each}: give a directions file (.npz)")
    if len({each.stem for each in compared}) < len(compared):
        raise UserError("--compare-directions has two files of one name: wanted different names")


def check_inversion_steps(steps: int | None) -> None:
    """Refuse a number of steps that is too small; None stands for the inverter's own."""
    at_least("--inversion-steps", 1 if steps is None else steps, 1)


def at_least(flag: str, value: int, least: int) -> None:
    """Refuse a number that is too small.

    Raises:
        UserError: it is below `least`.
    """
    if value < least:
        raise UserError(f"{flag} is {value}, wanted {least} or more")


def spread(flag: str, text: str, steps: int) -> list[float]:
    """Return the number in `3`, or the `steps` evenly spaced ones of a range such as `-20..20`.

    Raises:
        UserError: the text is something else, or fewer than two steps for a range.
    """
    first, dots, last = text.partition("..")
    try:
        ends = [float(first), float(last)] if dots else [float(first)]
    except ValueError:
        ends = [math.nan]
    if not all(map(math.isfinite, ends)):
        raise UserError(f"{flag} is {text!r}, wanted a number, or a range such as 0..1")
    return between(*ends, steps=steps) if dots else ends


def between(first: float, last: float, steps: int) -> list[float]:
    """Return `steps` evenly spaced numbers from the first to the last.

    Raises:
        UserError: fewer than two steps.
    """
    if steps < 2:
        raise UserError(f"--steps is {steps}, wanted 2 or more for the range {first:g}..{last:g}")
    return [first + (last - first) * step / (steps - 1) for step in range(steps)]


def layer_range(text: str | None) -> slice:
    """Return the layers that `4:8`, `4:` or `:8` names; None: all.

    Raises:
        UserError: the text is something else.
    """
    if text is None:
        return slice(None)
    match = re.fullmatch(r"(\d{0,3}):(\d{0,3})", text)
    if match is None:
        raise UserError(f"--layers is {text!r}, wanted a range such as 4:8, 4: or :8")
    return slice(*(int(part) if part else None for part in match.groups()))
