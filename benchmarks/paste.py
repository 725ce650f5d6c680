"""Pasting a result back into its photograph, against the true picture of the same person.

    python -m benchmarks.paste
    python -m benchmarks.paste --people 64 --inverter hyperstyle

Drawn people of the demo's photo domain are photographed from farther away, so that the face is a
quarter of the picture, and get the expressions of eight targets. For each form of pasting the
script prints the PSNR, in dB, of the whole photograph against the photograph of the same person
with the target's expression, and that of the photograph left as it is. Each is a mean over people.
"""

import dataclasses
import json
from typing import get_args

import numpy as np

from benchmarks import machine
from emojax import load
from emojax.demo import truth, wide_photos
from emojax.demo.drawing.expressions import EMOTIONS
from emojax.pipeline import Pipeline
from emojax.runtime.choices import InverterName, Normaliser, PasteForm
from emojax.runtime.cli import cli

SEED = 1_000_003
"""Of the people, none of whom the networks were trained on."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.paste`."""

    people: int = 64
    """Photographs, a multiple of 8: as many for each expression."""
    resolution: int = 256
    """Side of the photographs."""
    inverter: InverterName = "psp"
    """Inverter."""
    normaliser: Normaliser = "subspace"
    """Of the transfer."""


def main(options: Options) -> None:
    """Measure and print one JSON line."""
    pipe = load("demo", inverter=options.inverter, batch=8)
    found = measure(pipe, options.people, options.resolution, options.normaliser)
    means = {name: round(float(values.mean()), 2) for name, values in found.items()}
    print(json.dumps({"psnr_db": means, **dataclasses.asdict(options), **machine.describe()}))


def measure(
    pipe: Pipeline, people: int, resolution: int, normaliser: Normaliser = "subspace"
) -> dict[str, np.ndarray]:
    """Return the PSNR [people] of whole photographs by form of pasting, and of the originals.

    Args:
        pipe: the demo's bundle.
        people: as in `Options`.
        resolution: as in `Options`.
        normaliser: as in `Options`.
    """
    found: dict[str, list[float]] = {name: [] for name in ("unchanged", *get_args(PasteForm))}
    each = people // len(EMOTIONS)
    for number, emotion in enumerate(EMOTIONS):
        ids = range(number * each, (number + 1) * each)
        before = wide_photos.take(ids, resolution, SEED)
        wanted = wide_photos.take(ids, resolution, SEED, emotion=emotion).photos
        target = pipe.invert(truth.sources(pipe.size, SEED).targets(emotion)[0])
        sources = pipe.invert(*before.portraits())
        results = pipe.transfer(sources, target, normaliser=normaliser)
        found["unchanged"] += _psnr(before.photos, wanted)
        for form in get_args(PasteForm):
            found[form] += _psnr(np.stack(results.paste(form)), wanted)
    return {name: np.array(values) for name, values in found.items()}


def _psnr(pictures: np.ndarray, wanted: np.ndarray) -> list[float]:
    """Return the PSNR in dB of each picture uint8 [N,H,W,3]."""
    error = np.square(pictures.astype(float) - wanted).mean((1, 2, 3))
    return (10 * np.log10(255**2 / error)).tolist()


if __name__ == "__main__":
    cli(main)
