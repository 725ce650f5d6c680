"""Table I: many faces, each with the expression of every target, by both inverters.

    python -m emojax.evaluate
    python -m emojax.evaluate --bundle ffhq --sources celeba/ --samples 2000 --out table1/
    python -m emojax.evaluate --bundle ffhq --tfds celeb_a_hq/256 --samples 2000
    python -m emojax.evaluate --bundle ffhq --sources mine/ --targets eight/ --inverters psp

Sources are aligned faces: a folder, a prepared TFDS data set (read without TensorFlow), or the
world that the bundle itself names, where the true result of every transfer is known. A run that was
stopped goes on when the same command is given again, and one that is complete takes further
inverters and normalisers. Writes table.md, table.csv and table.json; what the columns mean stands
below the table.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from emojax.evaluation import aggregate, faces, ground_truth, run
from emojax.evaluation import table as evaluation_table
from emojax.evaluation.faces import Sources, Targets
from emojax.evaluation.ground_truth import World
from emojax.evaluation.run import Evaluation, Judges
from emojax.faces import images
from emojax.latents import arithmetic, inversion
from emojax.latents import directions as direction_files
from emojax.latents import normalisers as transferring
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inverter
from emojax.latents.normalisers import Transferrer
from emojax.runtime.choices import InverterName
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import sha256
from emojax.scoring import classifier
from emojax.scoring.classifier import Crop
from emojax.store import bundle
from emojax.store.block_store import BlockStore
from emojax.store.parts import ATTRIBUTES, EMOTION, GENERATOR


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.evaluate`."""

    bundle: str = bundle.DEFAULT
    """Name or folder of a bundle with a generator, inverters, directions and a classifier."""
    sources: Path | None = None
    """Folder of aligned faces."""
    tfds: str | None = None
    """A prepared data set of aligned faces instead, such as celeb_a_hq/256."""
    split: str = "train"
    """Of the data set."""
    data_dir: Path | None = None
    """Where data sets are prepared, if not in TFDS's default place."""
    world: str = ground_truth.SOURCES
    """Without pictures: which people of the bundle's own world."""
    seed: int = 0
    """Of that world."""
    samples: int = 512
    """The first so many sources; the paper has 2000."""
    targets: Path | None = None
    """Folder of one face an emotion, named after it (anger.png, ...). By default the world's, or of
    the sources those in which the classifier sees most of an emotion."""
    emotions: tuple[str, ...] = ()
    """Only these targets."""
    inverters: tuple[InverterName, ...] = ("psp", "hyperstyle")
    """Which inverters."""
    normalisers: tuple[transferring.Normaliser, ...] = ("reinvert", "none", "subspace")
    """Which normalisers, see python -m emojax.transfer."""
    k: float = arithmetic.K
    """The step to the neutral face, for reinvert and none."""
    passes: int = 5
    """HyperStyle's passes."""
    directions: Path | None = None
    """Another directions file (.npz) than the bundle's."""
    crop: Crop = "face"
    """What the classifier sees of an aligned picture."""
    batch: int = 8
    """Pictures at a time."""
    block: int = 32
    """Sources whose results are kept together: what a stop can cost."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16: faster on GPUs and TPUs, coarser."""
    out: Path = Path("evaluation")
    """Folder of the results."""


class Setting(NamedTuple):
    """What the flags open: the bundle's parts, and whose faces.

    Attributes:
        place: the bundle.
        inverters: in the order of the flag.
        directions: those of the bundle or of the file given.
        judges: what measures.
        world: the bundle's own, where no pictures are given.
        sources: whose faces.
        wanted: the targets' emotions.
        given: the targets' pictures; None where they are to be found among the sources.
    """

    place: bundle.Bundle
    inverters: list[Inverter]
    directions: Directions
    judges: Judges
    world: World | None
    sources: Sources
    wanted: list[str]
    given: dict[str, np.ndarray] | None

    @property
    def side(self) -> int:
        """Size of the generator's pictures."""
        return self.inverters[0].generator.config.size


def main(options: Options) -> None:
    """Measure what is missing, then tabulate."""
    _check(options)
    setting = _open(options)
    about = _settings(setting, options)
    store = BlockStore.create(options.out, about)
    batch = min(options.batch, store.block)
    _measure_sources(setting, store, batch)
    targets = _targets(setting, store, batch, options.out)
    job = Evaluation(
        store,
        setting.judges,
        setting.sources,
        targets,
        _methods(setting, targets, batch, options),
        setting.world,
        setting.side,
        options.passes,
        batch,
    )
    with tqdm(total=job.steps, unit="block", delay=2) as progress:
        for name in job.run():
            progress.set_description(name)
            progress.update()
    device = f"{jax.local_devices()[0].device_kind}, jax {jax.__version__}"
    about |= {"bundle": str(setting.place), "batch": batch, "device": device}
    table = _tabulate(job, setting, about)
    evaluation_table.write(options.out, table, about)
    print(evaluation_table.markdown(table))
    print(f"{options.out}/table.md, table.csv, table.json")


def _check(options: Options) -> None:
    """Raise UserError where a flag makes no sense whatever the bundle."""
    least = {"samples": 2, "passes": 1, "batch": 1, "block": 1, "seed": 0}
    for name, bound in least.items():
        if not bound <= getattr(options, name) < 2**31:
            raise UserError(
                f"--{name} is {getattr(options, name)}, wanted {bound} or more, and less than 2³¹"
            )
    for name in ("inverters", "normalisers"):
        chosen = getattr(options, name)
        if not chosen or len(set(chosen)) < len(chosen):
            raise UserError(f"--{name} is {' '.join(chosen)!r}, wanted one or more, each once")
    if options.sources and options.tfds:
        raise UserError("both --sources and --tfds are given: wanted one of them")


def _open(options: Options) -> Setting:
    """Return everything that the flags ask for.

    Raises:
        UserError: a part of the bundle or a picture is missing; says what to do.
    """
    place = bundle.find(options.bundle)
    place.metadata(EMOTION)  # before anything slow
    inverters = [
        inversion.load(place, method, bfloat16=options.bfloat16) for method in options.inverters
    ]
    generator = place.sha256(GENERATOR)
    directions = (
        Directions.load(options.directions)
        if options.directions
        else direction_files.load(place, generator)
    )
    judges = run.load_judges(place, options.crop)
    wanted = [name.lower() for name in options.emotions]
    for name in wanted:
        classifier.index(judges.emotion, name)
    world, given = None, None
    if options.tfds:
        sources = faces.of_data_set(options.tfds, options.split, options.data_dir)
    elif options.sources:
        sources = faces.of_folder(options.sources)
    else:
        world = _world(place, inverters[0].generator.config.size, options)
        sources = faces.of_world(world)
    everything = wanted or [name.lower() for name in judges.emotion.config.classes]
    if options.targets:
        files = faces.target_files(options.targets, judges.emotion, wanted)
        given = {name: images.read(file) for name, file in files.items()}
    elif world:
        given = {name: world.target(name) for name in everything}
    return Setting(
        place, inverters, directions, judges, world, sources, list(given or everything), given
    )


def _world(place: bundle.Bundle, side: int, options: Options) -> World:
    """Return the bundle's world, whose truth its own judge must be able to read."""
    world = ground_truth.load(place, side, name=options.world, seed=options.seed)
    if place.has(ATTRIBUTES):
        judged = place.config(ATTRIBUTES).classes
        if judged != tuple(world.attributes):
            raise UserError(
                f"{place.folder(ATTRIBUTES)} judges {len(judged)} attributes, not the "
                f"{len(world.attributes)} of the bundle's world: train it on this world"
            )
    return world


def _settings(setting: Setting, options: Options) -> dict[str, Any]:
    """Return all that the results depend on, but inverters and normalisers: those are parts."""
    count = setting.sources.count
    samples = options.samples if count is None else min(options.samples, count)
    judging = (EMOTION, run.distance_part(setting.place), ATTRIBUTES)
    judges = {
        part.name: setting.place.sha256(part)
        for part in judging
        if part and setting.place.has(part)
    }
    targets = dict.fromkeys(setting.wanted, "of the sources the one with most of it")
    for name, picture in (setting.given or {}).items():
        targets[name] = hashlib.sha256(picture.tobytes()).hexdigest()[:16]
    return {
        "sources": setting.sources.fingerprint,
        "samples": samples,
        "block": min(options.block, samples),
        "side": setting.side,
        "targets": targets,
        "judges": judges,
        "directions": sha256(options.directions or direction_files.file_of(setting.place)),
        "k": options.k,
        "passes": options.passes,
        "crop": options.crop,
        "bfloat16": options.bfloat16,
    }


def _measure_sources(setting: Setting, store: BlockStore, batch: int) -> None:
    blocks = run.measure_sources(
        store, setting.judges, setting.sources, setting.world, side=setting.side, batch=batch
    )
    for _ in tqdm(blocks, total=store.blocks, desc=run.SOURCES, unit="block", delay=2):
        pass


def _targets(setting: Setting, store: BlockStore, batch: int, out: Path) -> Targets:
    """Return the targets, and write their pictures where they can be looked at."""
    given = setting.given
    if given is None:
        logits = store.read(run.SOURCES, ("logits",))["logits"]
        given = faces.strongest(setting.sources, logits, setting.judges.emotion, setting.wanted)
    shown = run.resized(list(given.values()), setting.side)
    for name, picture in zip(given, shown, strict=True):
        images.write(out / f"target_{name}.png", picture)
    logits = run.measure(setting.judges, shown, batch=batch)["logits"]
    return Targets(tuple(given), list(given.values()), logits)


def _methods(
    setting: Setting, targets: Targets, batch: int, options: Options
) -> dict[str, run.Method]:
    """Return every inverter with the chosen normalisers, by its part of the store."""
    return {
        run.part(inverter): run.Method(
            inverter,
            {
                name: Transferrer(inverter, setting.directions, name, options.k, batch=batch)
                for name in options.normalisers
            },
            targets.pictures,
            options.passes,
            batch,
        )
        for inverter in setting.inverters
    }


def _tabulate(job: Evaluation, setting: Setting, about: dict[str, Any]) -> evaluation_table.Table:
    classes = [name.lower() for name in setting.judges.emotion.config.classes]
    found = aggregate.Tabulation(
        job.store, job.targets.names, job.targets.logits, classes, job.world
    )
    rows = found.of_truth()
    for name, method in job.methods.items():
        inverter = method.inverter.method
        rows += found.of_original(inverter, name)
        for normaliser in method.transferrers:
            rows += found.of_normaliser(inverter, name, normaliser)
    part = run.distance_part(setting.place)
    distance = part and part.name
    said = aggregate.notes(found, distance=distance, about=about)
    return evaluation_table.Table(rows, evaluation_table.titles(distance), said)


if __name__ == "__main__":
    cli(main)
