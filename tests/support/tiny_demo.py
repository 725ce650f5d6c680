"""Train stages of a demo for a few steps: `python -m tests.support.tiny_demo OUT STAGE ...`.

The stages and their processes are those of `emojax.demo.train`; only resolution, channels, networks
and lengths are smaller. Without a stage all are trained and the bundle is written; directions are
not fitted to it, since a classifier of two steps tells no faces apart.
"""

import dataclasses
import time
from pathlib import Path

import tyro

from emojax.demo.training import run as training
from emojax.demo.training.recipe import PROFILES, Profile
from emojax.models.efficientnet import EmotionConfig
from emojax.models.hyperstyle import HypernetConfig
from emojax.models.psp import Architecture, EncoderConfig
from emojax.runtime.cli import cli


class Tiny(Profile):
    """Networks that compile in seconds."""

    def _encoder(self, architecture: Architecture, average_rows: int) -> EncoderConfig:
        config = super()._encoder(architecture, average_rows)
        return dataclasses.replace(config, stem=16, widths=(16, 16, 16, 16), units=(1, 1, 1, 1))

    @property
    def hyperstyle(self) -> HypernetConfig:
        """A hypernetwork of the fewest layers."""
        sizes = {"widths": (16, 16, 16, 16), "units": (1, 1, 1, 1)}
        shared = {"shared_width": 8, "separate_width": 8}
        return dataclasses.replace(super().hyperstyle, **sizes, **shared)

    def _efficientnet(self, outputs: tuple[str, ...]) -> EmotionConfig:
        return EmotionConfig(width=0.1, depth=0.1, size=32, classes=outputs)


LENGTHS = {
    name: dataclasses.replace(length, steps=2, batch=2)
    for name, length in PROFILES["cpu"].lengths.items()
}
TINY = Tiny("cpu", 32, (8, 8, 8, 8), LENGTHS)


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags."""

    out: tyro.conf.Positional[Path]
    """Folder of everything."""
    stages: tyro.conf.Positional[tuple[str, ...]] = ()
    """Train only these and what they need, and write no bundle."""
    seconds: float = 0.0
    """Train by fused programs for this time; 0: two steps of each stage."""


def main(options: Options) -> None:
    """Train, and write the bundle to OUT/bundle; see `emojax.demo.train`."""
    end = time.time() + options.seconds if options.seconds else None
    run = training.Run(TINY, options.out / "work", 0, end is not None, end)
    names = options.stages or tuple(TINY.lengths)
    run.train_together(names, 2)
    networks = run.train(names)
    if not options.stages:
        training.write_bundle(run, options.out / "bundle", networks)


if __name__ == "__main__":
    cli(main)
