"""Everything an evaluation needs: networks and faces are opened, results are summarised."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from emojax.evaluation import ground_truth, inputs, paper, run
from emojax.evaluation.aggregate import Summary, notes
from emojax.evaluation.evaluated_inverter import EvaluatedInverter
from emojax.evaluation.ground_truth import GroundTruth
from emojax.evaluation.inputs import Sources, Targets, resized
from emojax.evaluation.judges import Judges, load_judges, measure
from emojax.evaluation.options import COMPARED, Options
from emojax.evaluation.run import Evaluation
from emojax.evaluation.table import ResultTable, titles
from emojax.faces import images
from emojax.latents import directions as direction_files
from emojax.latents import inversion, normalisers
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inverter
from emojax.latents.normalisers import Transferrer
from emojax.metrics import comparison, distance_network
from emojax.runtime.devices import everywhere, mesh_for
from emojax.runtime.errors import UserError
from emojax.runtime.files import sha256
from emojax.runtime.progress import progress
from emojax.store import bundle as bundles
from emojax.store.block_store import BlockStore
from emojax.store.bundle import Bundle
from emojax.store.parts import ATTRIBUTES, EMOTION, GENERATOR


@dataclasses.dataclass(frozen=True)
class Setup:
    """Networks and faces of an evaluation.

    Attributes:
        options: what they were opened with.
        bundle: of the networks.
        inverters: in the order of the option.
        directions: those of the bundle, or of the file in their place, by the name ""; those that
            are compared by the names of their files.
        judges: the networks that measure.
        truth: of the sources, where no pictures are given.
        sources: whose faces.
        emotions: of the targets.
        given: pictures of the targets by emotion; None: they are chosen among the sources.
    """

    options: Options
    bundle: Bundle
    inverters: list[Inverter]
    directions: dict[str, Directions]
    judges: Judges
    truth: GroundTruth | None
    sources: Sources
    emotions: list[str]
    given: dict[str, list[np.ndarray]] | None

    @property
    def side(self) -> int:
        """Size of the generator's pictures."""
        return self.inverters[0].generator.config.size

    @property
    def classes(self) -> list[str]:
        """The classifier's classes in lower case."""
        return [name.lower() for name in self.judges.emotion.config.classes]

    def settings(self) -> dict[str, Any]:
        """Return all that results depend on, JSON-able; inverters and normalisers are parts."""
        options, count = self.options, self.sources.size
        samples = options.samples if count is None else min(options.samples, count)
        pairs = comparison.parts(self.bundle)
        measuring = (EMOTION, distance_network.part_of(self.bundle), ATTRIBUTES, *pairs)
        chosen = f"the {options.people} sources with its highest probabilities"
        targets = dict.fromkeys(self.emotions, chosen)
        for name, pictures in (self.given or {}).items():
            contents = hashlib.sha256(b"".join(each.tobytes() for each in pictures))
            targets[name] = f"{len(pictures)} of {contents.hexdigest()[:16]}"
        return {
            "sources": self.sources.fingerprint,
            "samples": samples,
            "block": min(options.block, samples),
            "side": self.side,
            "targets": targets,
            "judges": {
                part.name: self.bundle.sha256(part)
                for part in measuring
                if part and self.bundle.has(part)
            },
            "compared": "at most 256 pixels",
            "directions": self._directions_sha256(),
            "k": options.k,
            "passes": options.passes,
            "steps": options.steps,
            "crop": options.crop,
            "bfloat16": options.bfloat16,
        }

    def _directions_sha256(self) -> str | dict[str, str]:
        """Return the hash of the directions, or those of compared files by their names."""
        options = self.options
        if options.compare_directions:
            return {file.stem: sha256(file) for file in options.compare_directions}
        return sha256(options.directions or direction_files.file_of(self.bundle))

    def job(self, store: BlockStore) -> Evaluation:
        """Measure the sources, choose the targets, and return what measures the rest.

        Raises:
            UserError: a picture cannot be read, or a result cannot be written.
        """
        batch = min(self.options.batch, store.block)
        with progress("measuring sources", store.blocks, "blocks") as shown:
            for _ in run.measure_sources(
                store, self.judges, self.sources, self.truth, side=self.side, batch=batch
            ):
                shown.advance()
        targets = self._targets(store, batch)
        inverters = [self._evaluated(each, targets, store, batch) for each in self.inverters]
        return Evaluation(
            store,
            self.judges,
            self.sources,
            targets,
            {each.part: each for each in inverters},
            self.truth,
            self.side,
            self.options.passes,
            batch,
        )

    def table(self, job: Evaluation, about: dict[str, Any]) -> ResultTable:
        """Return the table of a complete evaluation.

        Args:
            job: the evaluation.
            about: its settings, with "device" and "batch".
        """
        summary = Summary(job.store, job.targets, self.classes, job.truth)
        rows = summary.truth_rows()
        for part, evaluated in job.inverters.items():
            name = evaluated.inverter.method
            rows.append(summary.original_row(name, part))
            for normaliser in evaluated.transferrers:
                rows += summary.transfer_rows(name, part, normaliser)
        measured_in = distance_network.part_of(self.bundle)
        distance = measured_in and measured_in.name
        said = notes(summary, distance=distance, about=about)
        beside = paper.table_one(rows) if distance == "inception" else []
        said += [f"{line[0].upper()}{line[1:]}." for line in comparison.missing(self.bundle)]
        return ResultTable(
            rows,
            titles(distance),
            said,
            summary.differences(),
            paper.claims(rows, self.directions[""]) if "" in self.directions else [],
            beside,
        )

    def _targets(self, store: BlockStore, batch: int) -> Targets:
        """Return the targets, and write their pictures beside the results."""
        if self.given is None:
            logits = store.read(run.SOURCES, ("logits",))["logits"]
            people = min(self.options.people, len(logits))
            found = inputs.strongest(self.sources, logits, self.classes, self.emotions, people)
        else:
            found = [picture for pictures in self.given.values() for picture in pictures]
        pictures = resized(found, self.side)
        logits = measure(self.judges, pictures, batch=batch)["logits"]
        targets = Targets(tuple(self.emotions), found, logits)
        for row, picture in enumerate(pictures):
            index, person = divmod(row, targets.people)
            number = f"_{person + 1:02d}" if targets.people > 1 else ""
            with store.place.file(f"target_{targets.names[index]}{number}.png") as aside:
                images.write(aside, picture)
        return targets

    def _evaluated(
        self, inverter: Inverter, targets: Targets, store: BlockStore, batch: int
    ) -> EvaluatedInverter:
        options = self.options
        transferrers = {
            f"{name}-{title}" if title else name: Transferrer(
                inverter,
                found,
                name,
                options.k,
                batch=batch,
                classifier=self.judges.emotion,
                crop=options.crop,
            )
            for title, found in self.directions.items()
            for name in options.normalisers
        }
        return EvaluatedInverter(
            inverter, transferrers, targets.pictures, store, options.passes, batch
        )


def open_setup(options: Options) -> Setup:
    """Open everything that the options name: faces first, then networks.

    Raises:
        UserError: a part of the bundle or a picture is missing or damaged; says what to do.
    """
    bundle = bundles.find(options.bundle)
    classes = [name.lower() for name in bundle.config(EMOTION).classes]
    emotions = [name.lower() for name in options.emotions] or classes
    truth = None
    if options.tfds:
        sources = inputs.of_data_set(options.tfds, options.split, options.data_dir)
    elif options.sources:
        sources = inputs.of_folder(options.sources)
    else:
        truth = _ground_truth(bundle, options)
        sources = inputs.of_truth(truth)
    given = None
    if options.targets:
        wanted = emotions if options.emotions else ()
        files = inputs.target_files(options.targets, classes, wanted, options.people)
        given = {name: [images.read(file) for file in some] for name, some in files.items()}
    elif truth:
        given = {name: list(truth.targets(name, options.people)) for name in emotions}
    found = _directions(bundle, options)
    if not options.normalisers:
        known = [normalisers.available(each) for each in found.values()]
        chosen = tuple(name for name in COMPARED if all(name in each for each in known))
        options = dataclasses.replace(options, normalisers=chosen)
    inverters = [
        inversion.load(bundle, name, bfloat16=options.bfloat16, steps=options.steps)
        for name in options.inverters
    ]
    mesh = mesh_for(min(options.batch, options.block, options.samples))
    return Setup(
        options,
        bundle,
        [everywhere(inverter, mesh) for inverter in inverters],
        found,
        everywhere(load_judges(bundle, options.crop), mesh),
        truth,
        sources,
        list(given or emotions),
        given,
    )


def _directions(bundle: Bundle, options: Options) -> dict[str, Directions]:
    """Return the directions by the name of their file; those of the bundle by "".

    Raises:
        UserError: a file is missing or damaged, or lacks what a wanted normaliser needs.
    """
    found = direction_files.compared(bundle, options.compare_directions) or {
        "": direction_files.chosen(bundle, options.directions, bundle.sha256(GENERATOR))
    }
    for name in options.normalisers:
        for directions in found.values():
            normalisers.check(name, directions)
    return found


def _ground_truth(bundle: Bundle, options: Options) -> GroundTruth:
    """Return the bundle's faces with ground truth, whose attributes its regressor must predict."""
    side = bundle.config(GENERATOR).size
    truth = ground_truth.load(bundle, side, name=options.ground_truth, seed=options.seed)
    if bundle.has(ATTRIBUTES):
        predicted = bundle.config(ATTRIBUTES).classes
        if predicted != tuple(truth.attributes):
            raise UserError(
                f"{bundle.folder(ATTRIBUTES)} predicts {len(predicted)} attributes, not the "
                f"{len(truth.attributes)} of the bundle's ground truth: train it on these faces"
            )
    return truth
