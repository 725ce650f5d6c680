"""Score the emotions of generated faces: the samples that directions are fitted to.

    emojax score                                       300,000 faces of the embedded bundle
    emojax score --bundle ffhq --out scores/           the same command resumes a stopped run
    emojax score --bundle ffhq --resolution 256 --out scores256/
    emojax score --bundle ffhq --out s3://BUCKET/scores
    srun -n 8 emojax score --bundle ffhq --out scores/ --distributed

Writes a table of codes w and emotion probabilities, which `emojax directions` reads; a classifier
that tells valence and arousal adds both. A later run with more --samples adds to it. Uses every
local device. The same command given on several machines, at any time, shares the work on one table,
in a folder that all see or in an object store. With --distributed the processes of a cluster that
jax knows (Slurm, GKE, TPU pods, Open MPI) divide it beforehand.
"""

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np

from emojax.runtime.choices import DEFAULT_BUNDLE, Crop
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import json_bytes
from emojax.runtime.flags import Hosts
from emojax.runtime.progress import progress
from emojax.store import bundle
from emojax.store.bundle import Bundle
from emojax.store.parts import EMOTION, GENERATOR

if TYPE_CHECKING:  # jax is imported after the flags have been checked
    from emojax.models.efficientnet import EmotionNet
    from emojax.models.generator import Generator
    from emojax.store.score_table import ScoreSettings, ScoreTable


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax score`."""

    bundle: str = DEFAULT_BUNDLE
    """Name, folder or address (s3://..., gs://...) of a bundle with a generator and an emotion
    classifier."""
    samples: int = 300_000
    """Faces to score; their ids are 0, 1, ..."""
    out: str = "scores"
    """Folder of the table, or an address such as s3://BUCKET/FOLDER or gs://BUCKET/FOLDER; one that
    was begun with the same flags is continued."""
    seed: int = 0
    """Seed of the random key; 0 scores the faces that emojax sample draws."""
    truncation: float = 1.0
    """Truncation psi of pictures and stored codes; 1 draws from the whole distribution."""
    resolution: int | None = None
    """Score the generator's intermediate picture of this size: faster; how far its probabilities
    are from the full picture's is reported."""
    compare: int = 64
    """Samples for that report."""
    crop: Crop = "face"
    """What the classifier sees: the face of an aligned picture, or the full picture."""
    batch: int | None = None
    """Faces per call, on all local devices together; default: what fits a device of this kind."""
    chunk: int = 256
    """Faces written at a time."""
    check: bool = True
    """Read the chunks that are there and score damaged ones again; --no-check goes by their names
    and sizes, for tables of terabytes."""
    codes: Literal["float32", "float16"] = "float32"
    """Type the codes are stored in."""
    bfloat16_from: int | None = None
    """Compute blocks of this resolution and above in bfloat16."""
    distributed: bool = False
    """Share the work with the other processes of a cluster."""
    hosts: Hosts = dataclasses.field(default_factory=Hosts)
    """Where jax does not know the cluster."""


def main(options: Options) -> None:
    """Score the samples that the table does not have yet, then print what is in it."""
    _check(options)
    place = bundle.find(options.bundle)
    place.check(GENERATOR, EMOTION)
    import jax  # late: it takes seconds

    from emojax.runtime import devices
    from emojax.scoring import scorer as scoring
    from emojax.scoring import sharing
    from emojax.store.score_table import ScoreTable

    if options.distributed:
        devices.join_hosts(**dataclasses.asdict(options.hosts))
    devices.use_cores()
    generator = place.load(GENERATOR, bfloat16_from=options.bfloat16_from)
    emotion = place.load(EMOTION)
    settings = _settings(place, generator, options)
    table = ScoreTable.create(options.out, settings)
    scorer = scoring.Scorer(generator, emotion, settings, batch=options.batch)
    mine = sharing.share(range(settings.chunks))
    left = sharing.share(_missing(table, options))
    total, remaining = settings.count(mine), settings.count(left)
    with progress("scoring", total, "faces", done=total - remaining) as shown:
        chunks = sharing.untaken(table, left, advance=shown.advance)
        scoring.run(scorer, table, chunks, advance=shown.advance)
    if jax.process_index() == 0:
        _report(table, options)
        if options.resolution and options.compare:
            _report_deviation(table, generator, emotion, options)


def _missing(table: "ScoreTable", options: Options) -> list[int]:
    if options.check:
        return table.missing()
    there = table.listed()
    return [chunk for chunk in range(table.settings.chunks) if chunk not in there]


def _check(options: Options) -> None:
    """Refuse what no bundle could be scored with.

    Raises:
        UserError: a number is out of range, or flags do not go together.
    """
    least = {"samples": 1, "chunk": 1, "batch": 1, "compare": 0, "seed": 0, "truncation": 0}
    for name, bound in least.items():
        value = getattr(options, name)
        if value is not None and not bound <= value <= 2**32 - 1:
            raise UserError(f"--{name} is {value}, wanted {bound} or more, and less than 2³²")
    if not options.distributed and options.hosts != Hosts():
        raise UserError("--hosts is given without --distributed: give both")


def _settings(place: Bundle, generator: "Generator", options: Options) -> "ScoreSettings":
    """Return the settings of the table.

    Raises:
        UserError: the generator has no such resolution or no truncation, or a chunk is too large.
    """
    from emojax.scoring.sampling import check_resolution, truncation_of
    from emojax.store.score_table import ScoreSettings

    check_resolution(generator.config, options.resolution)
    truncation = truncation_of(generator.config, options.truncation)
    try:
        return ScoreSettings(
            generator_sha256=place.sha256(GENERATOR),
            emotion_sha256=place.sha256(EMOTION),
            classes=place.config(EMOTION).classes,
            regressed=place.config(EMOTION).regressed,
            width=generator.config.style_dim,
            samples=options.samples,
            seed=options.seed,
            truncation=truncation,
            resolution=options.resolution,
            crop=options.crop,
            bfloat16_from=options.bfloat16_from,
            codes=options.codes,
            chunk=options.chunk,
        )
    except UserError:
        raise
    except ValueError as error:  # of the chunk: all else has been checked
        raise UserError(f"--{error}") from error


def _report(table: "ScoreTable", options: Options) -> None:
    """Print the number of rows, how often each class is the most probable, and other means."""
    settings = table.settings
    if not options.check:
        count = settings.count(table.listed())
        print(f"{count:,} of {settings.samples:,} faces scored: {table.place}")
        return
    classes = len(settings.classes)
    count, top, total = 0, np.zeros(classes, np.int64), np.zeros(len(settings.regressed))
    for ids, rows in table.parts():
        count += len(ids)
        top += np.bincount(rows.scores[:, :classes].argmax(1), minlength=len(top))
        total += rows.scores[:, classes:].sum(0, dtype=np.float64)
    print(f"{count:,} of {settings.samples:,} faces scored: {table.place}")
    for name, times in zip(settings.classes, top.tolist(), strict=True):
        print(f"  {name:<10} most probable in {times / max(count, 1):7.2%}")
    for name, value in zip(settings.regressed, total.tolist(), strict=True):
        print(f"  {name:<10} on average {value / max(count, 1):+.3f}")


def _report_deviation(
    table: "ScoreTable", generator: "Generator", emotion: "EmotionNet", options: Options
) -> None:
    """Compare some rows with the full picture's scores; print and write the differences."""
    from emojax.scoring import scorer as scoring

    scored = table.read(options.compare)
    ids = scored.ids[: options.compare].tolist()
    full = dataclasses.replace(table.settings, resolution=None, samples=len(ids))
    scorer = scoring.Scorer(generator, emotion, full, batch=options.batch)
    rows = [part for _, _, part in scorer.results(scoring.split(ids, scorer.batch))]
    found = scoring.deviation(scored.scores[: len(ids)], np.concatenate(rows), full)
    table.place.write("deviation.json", json_bytes(found._asdict()))
    print(
        f"at {options.resolution}² instead of {generator.config.size}², {found.samples} faces: "
        f"probabilities differ by {found.mean:.4f} on average and {found.most:.4f} at most, "
        f"{found.same_top:.1%} keep their most probable class"
    )
    for name, value in found.correlation.items():
        print(f"  {name:<10} correlation {value:.4f}")


if __name__ == "__main__":
    cli(main)
