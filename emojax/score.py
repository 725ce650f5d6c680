"""Generate faces, score their emotions, keep codes and probabilities: the directions' raw material.

    python -m emojax.score                                300,000 faces of the default bundle
    python -m emojax.score --bundle ffhq --out scores/    the same command goes on after a stop
    python -m emojax.score --bundle ffhq --resolution 256 --out scores256/
    srun -n 8 python -m emojax.score --bundle ffhq --out scores/ --distributed

Uses every local device; with --distributed also every process of a cluster that jax knows (Slurm,
GKE, TPU pods, Open MPI). What is in --out is read by `python -m emojax.directions`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from tqdm import tqdm

from emojax.models.efficientnet import EmotionNet
from emojax.models.stylegan2 import Generator
from emojax.runtime import devices
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing
from emojax.scoring import classifier
from emojax.scoring import scorer as scoring
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR
from emojax.store.score_table import ScoreSettings, ScoreTable


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Processes on hosts that no cluster introduces to each other; used with --distributed."""

    coordinator: str | None = None
    """HOST:PORT of process 0."""
    processes: int | None = None
    """How many processes there are."""
    process: int | None = None
    """Number of this one, from 0."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.score`."""

    bundle: str = bundle.DEFAULT
    """Name or folder of a bundle with a generator and an emotion classifier."""
    samples: int = 300_000
    """Faces to score; their ids are 0, 1, ..."""
    out: Path = Path("scores")
    """Folder of the table; one begun with the same options is gone on with."""
    seed: int = 0
    """0 scores the faces that emojax.sample draws."""
    truncation: float = 1.0
    """ψ of the pictures and of the stored codes; 1 draws from the whole distribution."""
    resolution: int | None = None
    """Score the generator's intermediate picture of this size: quicker, and its deviation from the
    full picture's probabilities is reported."""
    compare: int = 64
    """Samples for that report."""
    crop: classifier.Crop = "face"
    """The face of FFHQ-aligned pictures, or the full picture."""
    batch: int | None = None
    """Faces a call, on all local devices together; default: what fits a device of this kind."""
    chunk: int = 256
    """Faces written at a time."""
    codes: Literal["float32", "float16"] = "float32"
    """Type the codes are stored in."""
    bfloat16_from: int | None = None
    """Compute blocks of this resolution and above in bfloat16."""
    distributed: bool = False
    """Share the work with the other processes of a cluster."""
    hosts: Hosts = dataclasses.field(default_factory=Hosts)
    """Where the cluster is unknown to jax."""


def main(options: Options) -> None:
    """Score what is missing in the table, then say what is in it."""
    _check(options)
    if options.distributed:
        devices.join_hosts(**dataclasses.asdict(options.hosts))
    devices.use_cores()
    place = bundle.find(options.bundle)
    generator = place.load(GENERATOR, bfloat16_from=options.bfloat16_from)
    emotion = place.load(EMOTION)
    settings = _settings(place, generator, options)
    table = ScoreTable.create(options.out, settings)
    scorer = scoring.Scorer(generator, emotion, settings, batch=options.batch)
    mine = scoring.share(range(settings.chunks))
    left = scoring.share(table.missing())
    total = settings.count(mine)
    with tqdm(total=total, initial=total - settings.count(left), unit="face", delay=2) as progress:
        scoring.run(scorer, table, left, advance=progress.update)
    if jax.process_index() == 0:
        _report(table)
        if options.resolution and options.compare:
            _report_deviation(table, generator, emotion, options)


def _check(options: Options) -> None:
    """Raise UserError where a flag makes no sense whatever the bundle."""
    least = {"samples": 1, "chunk": 1, "batch": 1, "compare": 0, "seed": 0, "truncation": 0}
    for name, bound in least.items():
        value = getattr(options, name)
        if value is not None and not bound <= value <= 2**32 - 1:
            raise UserError(f"--{name} is {value}, wanted {bound} or more, and less than 2³²")
    if not options.distributed and options.hosts != Hosts():
        raise UserError("--hosts is given without --distributed: give both")


def _settings(place: bundle.Bundle, generator: Generator, options: Options) -> ScoreSettings:
    """Return the settings that the flags ask for.

    Raises:
        UserError: the generator has no such resolution.
    """
    sizes = sorted(set(generator.config.noise_sizes))
    if options.resolution not in (None, *sizes):
        raise UserError(f"--resolution is {options.resolution}, this generator draws {sizes}")
    return ScoreSettings(
        generator_sha256=place.sha256(GENERATOR),
        emotion_sha256=place.sha256(EMOTION),
        classes=place.config(EMOTION).classes,
        width=generator.config.style_dim,
        samples=options.samples,
        seed=options.seed,
        truncation=options.truncation,
        resolution=options.resolution,
        crop=options.crop,
        bfloat16_from=options.bfloat16_from,
        codes=options.codes,
        chunk=options.chunk,
    )


def _report(table: ScoreTable) -> None:
    """Print how many rows there are and how often each class is the most probable."""
    scored = table.read()
    print(f"{len(scored.ids):,} of {table.settings.samples:,} faces scored: {table.folder}")
    top = np.bincount(scored.probabilities.argmax(1), minlength=len(table.settings.classes))
    for name, count in zip(table.settings.classes, top, strict=True):
        print(f"  {name:<10} most probable in {count / max(len(scored.ids), 1):7.2%}")


def _report_deviation(
    table: ScoreTable, generator: Generator, emotion: EmotionNet, options: Options
) -> None:
    """Score some of the rows at full resolution and print and keep how far off the table's are."""
    scored = table.read()
    ids = scored.ids[: options.compare].tolist()
    full = dataclasses.replace(table.settings, resolution=None, samples=len(ids))
    scorer = scoring.Scorer(generator, emotion, full, batch=options.batch)
    rows = [part for _, _, part in scorer.results(scoring.split(ids, scorer.batch))]
    found = scoring.deviation(scored.probabilities[: len(ids)], np.concatenate(rows), full.classes)
    with replacing(table.folder / "deviation.json") as aside:
        aside.write_text(json.dumps(found._asdict(), indent=2) + "\n")
    print(
        f"at {options.resolution}² instead of {generator.config.size}², {found.samples} faces: "
        f"probabilities differ by {found.mean:.4f} on average and {found.most:.4f} at most, "
        f"{found.same_top:.1%} keep their most probable class"
    )
    for name, value in found.correlation.items():
        print(f"  {name:<10} correlation {value:.4f}")


if __name__ == "__main__":
    cli(main)
