"""Measure reconstructions and transfers of many sources, block by block, into a `BlockStore`.

The store keeps measurements and codes, no pictures:

    sources/                 of the sources' own pictures
    truth/                   of the true pictures of the transfers, where there is ground truth
    psp-1a2b3c4d/original/   of reconstructions; with the codes that all else starts from
    psp-1a2b3c4d/reinvert/   of transfers with one normaliser: arrays [N,T,...] for T targets
    psp-1a2b3c4d/targets/    of the targets, see `emojax.evaluation.evaluated_inverter`

A face is inverted and prepared once for all its targets.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from emojax.evaluation.evaluated_inverter import EvaluatedInverter
from emojax.evaluation.ground_truth import GroundTruth, LabelledFaces
from emojax.evaluation.inputs import Sources, Targets, resized
from emojax.evaluation.judges import Judges, compare, measure
from emojax.evaluation.stored_faces import arrays_of, faces_of
from emojax.evaluation.table import ORIGINAL
from emojax.faces import images
from emojax.latents import inversion, normalisers
from emojax.latents.codes import Inversion
from emojax.runtime.stopwatch import Stopwatch
from emojax.store.block_store import Arrays, BlockStore

SOURCES = "sources"
"""Part of the store: measurements of the sources."""
TRUTH = "truth"
"""Part of the store: measurements of the true pictures."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One run.

    Attributes:
        store: takes the measurements.
        judges: the networks that measure.
        sources: whose faces.
        targets: whose expressions.
        inverters: by the name of their part of the store.
        truth: of the sources, where it is known.
        side: at which pictures are measured, the generator's.
        passes: of HyperStyle.
        batch: pictures at a time.
    """

    store: BlockStore
    judges: Judges
    sources: Sources
    targets: Targets
    inverters: Mapping[str, EvaluatedInverter]
    truth: GroundTruth | None
    side: int
    passes: int
    batch: int

    def run(self) -> Iterator[str]:
        """Compute what the store lacks; yields the name of a part after each of its blocks."""
        for evaluated in self.inverters.values():
            yield from evaluated.prepare_targets()
        for block in range(self.store.blocks):
            faces = SourceBlock(self, block)
            todo = {TRUTH: functools.partial(_truth, faces)} if self.truth else {}
            for name, inverter in self.inverters.items():
                todo[f"{name}/{ORIGINAL}"] = functools.partial(_original, faces, inverter)
                for normaliser in inverter.transferrers:
                    todo[f"{name}/{normaliser}"] = functools.partial(
                        _transfers, faces, name, normaliser
                    )
            for part, compute in todo.items():
                if not self.store.has(part, block):
                    self.store.write(part, block, compute())
                yield part

    @property
    def steps(self) -> int:
        """Number of names that `run` yields."""
        parts = sum(1 + len(inverter.transferrers) for inverter in self.inverters.values())
        targets = sum(inverter.target_steps for inverter in self.inverters.values())
        return targets + self.store.blocks * (bool(self.truth) + parts)


class SourceBlock:
    """The sources of one block; their pictures are made when they are first needed."""

    def __init__(self, job: Evaluation, block: int) -> None:
        """Hold the sources' numbers, the last repeated to fill the last block."""
        self.job, self.block = job, block
        self.ids = job.store.padded(block)

    @functools.cached_property
    def pictures(self) -> Sequence[np.ndarray] | np.ndarray:
        """The B pictures as they are read, uint8 [H,W,3]."""
        return self.job.sources.read(self.ids)

    @functools.cached_property
    def at_size(self) -> np.ndarray:
        """The B pictures at the size of the generator's, uint8 [B,S,S,3]."""
        return resized(self.pictures, self.job.side)

    @functools.cached_property
    def transferred(self) -> list[LabelledFaces] | None:
        """For each target, the sources with its expression; None without ground truth."""
        truth = self.job.truth
        if truth is None:
            return None
        return [truth.transferred(self.ids, name) for name in self.job.targets.names]

    def inverted(self, name: str) -> Inversion:
        """Return the codes found by an inverter, from the store."""
        stored = self.job.store.read_block(f"{name}/{ORIGINAL}", self.block)
        rows = self.ids - self.ids[0]
        inverter = self.job.inverters[name].inverter
        padded = {key: array[rows] for key, array in stored.items()}
        return faces_of(inverter, padded, self.job.passes)


def measure_sources(
    store: BlockStore,
    judges: Judges,
    sources: Sources,
    truth: GroundTruth | None,
    *,
    side: int,
    batch: int,
) -> Iterator[str]:
    """Measure the sources that the store lacks; yields after each block, as `Evaluation.run`."""
    for block in range(store.blocks):
        if not store.has(SOURCES, block):
            ids = list(store.ids(block))
            found = measure(judges, resized(sources.read(ids), side), batch=batch)
            if truth:
                found["true"] = truth.people(ids).attributes
            store.write(SOURCES, block, found)
        yield SOURCES


def _truth(faces: SourceBlock) -> Arrays:
    """Measure the true pictures, which a perfect transfer would give."""
    job, rows = faces.job, []
    for true in faces.transferred or []:
        found = measure(job.judges, true.pictures, batch=job.batch)
        rows.append(found | {"true": true.attributes})
    return _stacked(rows)


def _original(faces: SourceBlock, evaluated: EvaluatedInverter) -> Arrays:
    """Invert a block, and measure its reconstructions."""
    job, inverter = faces.job, evaluated.inverter
    seen = images.to_float(resized(faces.pictures, inverter.resolution))
    with Stopwatch() as inverting:
        found = jax.block_until_ready(
            inversion.invert(inverter, seen, passes=job.passes, batch=job.batch)
        )
    with Stopwatch() as drawing:
        drawn = inversion.synthesize(inverter, found, batch=job.batch)
    pictures = images.to_uint8(drawn)
    return {
        **arrays_of(found),
        **measure(job.judges, pictures, batch=job.batch),
        **compare(job.judges, pictures, faces.at_size, batch=job.batch),
        "invert_seconds": _shared(inverting, len(seen)),
        "draw_seconds": _shared(drawing, len(seen)),
    }


def _transfers(faces: SourceBlock, name: str, normaliser: str) -> Arrays:
    """Transfer every target's expression to a block, and measure the results."""
    job, found = faces.job, faces.inverted(name)
    evaluated, count = job.inverters[name], len(found)
    transferrer, targets = evaluated.transferrers[normaliser], evaluated.targets[normaliser]
    with Stopwatch() as preparing:
        prepared = jax.block_until_ready(transferrer.prepare(found, faces.at_size))
    rows = []
    for index in range(len(job.targets.names)):
        with Stopwatch() as drawing:
            theirs = targets[job.targets.rows(index, faces.ids)]
            result = normalisers.combine(prepared, theirs)
            drawn = inversion.synthesize(evaluated.inverter, result, batch=job.batch)
        pictures = images.to_uint8(drawn)
        measured = measure(job.judges, pictures, batch=job.batch)
        measured["draw_seconds"] = _shared(drawing, count)
        wanted = faces.transferred[index].pictures if faces.transferred else faces.at_size
        rows.append(measured | compare(job.judges, pictures, wanted, batch=job.batch))
    return {**_stacked(rows), "prepare_seconds": _shared(preparing, count)}


def _shared(taken: Stopwatch, count: int) -> np.ndarray:
    return np.full(count, taken.seconds / count)


def _stacked(rows: list[Arrays]) -> Arrays:
    """Join the arrays [B,...] of T targets to [B,T,...]."""
    return {name: np.stack([row[name] for row in rows], 1) for name in rows[0]}
