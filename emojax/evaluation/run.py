"""What Table I is made of: many sources, each with every target's expression, drawn and measured.

Nothing is kept of a picture but its measures, in a `Store`:

    sources/                 the pictures themselves
    truth/                   the true pictures of the transfers, where the world is known
    psp-1a2b3c4d/original/   reconstructions, and the codes that everything else starts from
    psp-1a2b3c4d/reinvert/   transfers with one normaliser: arrays [N,T,...] for T targets

A face is inverted and prepared once for all its targets.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax.evaluation.faces import Sources, Targets
from emojax.evaluation.ground_truth import Truth, World
from emojax.faces import images
from emojax.latents import inversion, normalisers
from emojax.latents.codes import Inversion
from emojax.latents.inversion import Inverter
from emojax.latents.normalisers import Normaliser, Prepared, Transferrer
from emojax.metrics import image_quality as closeness
from emojax.metrics.features import inception_features
from emojax.models.inception import Inception
from emojax.runtime import xla_options
from emojax.scoring import classifier
from emojax.scoring.classifier import EmotionNet
from emojax.store.block_store import Arrays, BlockStore
from emojax.store.bundle import Bundle
from emojax.store.parts import ATTRIBUTES, EMOTION, FEATURES, INCEPTION, Part

SOURCES, TRUTH, ORIGINAL = "sources", "truth", "original"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Judges:
    """The networks that measure a picture; a pytree.

    Attributes:
        emotion: the classifier.
        distance: in whose features the Fréchet distance is measured; None: in none.
        attributes: the regressor of attributes, if there is one.
        crop: what the classifier sees; the others see the whole picture.
    """

    emotion: EmotionNet
    distance: Inception | EmotionNet | None
    attributes: EmotionNet | None
    crop: classifier.Crop = dataclasses.field(default="face", metadata={"static": True})


@dataclasses.dataclass(frozen=True)
class Method:
    """An inverter with its normalisers, and the targets as they know them.

    Attributes:
        inverter: the networks.
        transferrers: by normaliser.
        pictures: the T targets, uint8 [H,W,3].
        passes: HyperStyle's.
        batch: pictures at a time.
    """

    inverter: Inverter
    transferrers: dict[Normaliser, Transferrer]
    pictures: Sequence[np.ndarray]
    passes: int
    batch: int

    @functools.cached_property
    def targets(self) -> dict[Normaliser, Prepared]:
        """The targets prepared by each normaliser.

        Made before the first block, in batches of the same size, this compiles what is timed later.
        """
        count = len(self.pictures)
        rows = np.arange(-(-count // self.batch) * self.batch) % count
        seen = images.to_float(resized(self.pictures, self.inverter.resolution))[rows]
        faces = inversion.invert(self.inverter, seen, passes=self.passes, batch=self.batch)
        inversion.synthesize(self.inverter, faces[: self.batch], batch=self.batch)
        return {name: each.prepare(faces)[:count] for name, each in self.transferrers.items()}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A run: what is measured, by whom, and where the results go.

    Attributes:
        store: takes the results.
        judges: measure.
        sources: whose faces.
        targets: whose expressions.
        methods: by the name of their part of the store, see `part`.
        world: tells the truth about sources, where it is known.
        side: pictures are measured at this size, the generator's.
        passes: HyperStyle's.
        batch: pictures at a time.
    """

    store: BlockStore
    judges: Judges
    sources: Sources
    targets: Targets
    methods: Mapping[str, Method]
    world: World | None
    side: int
    passes: int
    batch: int

    def run(self) -> Iterator[str]:
        """Compute what is missing in the store; yields a part's name after each block of it."""
        for block in range(self.store.blocks):
            people = People(self, block)
            todo = {TRUTH: functools.partial(_truth, people)} if self.world else {}
            for name, method in self.methods.items():
                todo[f"{name}/{ORIGINAL}"] = functools.partial(_original, people, method)
                for normaliser in method.transferrers:
                    todo[f"{name}/{normaliser}"] = functools.partial(
                        _transfers, people, name, normaliser
                    )
            for part, compute in todo.items():
                if not self.store.has(part, block):
                    self.store.write(part, block, compute())
                yield part

    @property
    def steps(self) -> int:
        """How often `run` yields."""
        parts = sum(1 + len(method.transferrers) for method in self.methods.values())
        return self.store.blocks * (bool(self.world) + parts)


class People:
    """A block of sources: pictures and truths are made when they are first asked for."""

    def __init__(self, job: Evaluation, block: int) -> None:
        """Hold the numbers of a block, which go round to fill it: one program serves all."""
        self.job, self.block = job, block
        self.ids = np.resize(job.store.ids(block), job.store.block)

    @functools.cached_property
    def pictures(self) -> Sequence[np.ndarray]:
        """The B pictures as they are read, uint8 [H,W,3]."""
        return self.job.sources.read(self.ids)

    @functools.cached_property
    def shown(self) -> np.ndarray:
        """The same at the size of the generator's, uint8 [B,S,S,3]."""
        return resized(self.pictures, self.job.side)

    @functools.cached_property
    def truths(self) -> list[Truth] | None:
        """For each target, the sources with its expression; None where nobody knows."""
        if self.job.world is None:
            return None
        return [self.job.world.transferred(self.ids, name) for name in self.job.targets.names]

    def inverted(self, name: str) -> Inversion:
        """The codes that a method found, from the store."""
        stored = self.job.store.read_block(f"{name}/{ORIGINAL}", self.block, ("w_plus", "vectors"))
        rows = np.resize(np.arange(len(stored["w_plus"])), len(self.ids))
        arrays = {key: jnp.asarray(array[rows]) for key, array in stored.items()}
        inverter = self.job.methods[name].inverter
        passes = self.job.passes if "vectors" in arrays else 0
        return Inversion(
            **arrays, passes=passes, method=inverter.method, made_with=inverter.made_with
        )


def part(inverter: Inverter) -> str:
    """Return the name under which an inverter's results are kept."""
    return f"{inverter.method}-{inverter.made_with[:8]}"


def distance_part(bundle: Bundle) -> Part[Any, Any] | None:
    """Return the part of a bundle in whose features distances are measured, if it has any."""
    return next((part for part in (INCEPTION, FEATURES) if bundle.has(part)), None)


def load_judges(bundle: Bundle, crop: classifier.Crop) -> Judges:
    """Return the networks of a bundle that measure; all but the classifier may be missing.

    Raises:
        UserError: there is no classifier, or a part is damaged.
    """
    attributes = ATTRIBUTES if bundle.has(ATTRIBUTES) else None
    rest = [bundle.load(part) if part else None for part in (distance_part(bundle), attributes)]
    return Judges(bundle.load(EMOTION), *rest, crop)


def resized(pictures: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Return pictures uint8 [H,W,3] of any sizes as [N,side,side,3]."""
    return np.stack([images.resize(each, side) for each in pictures])


def measure(judges: Judges, pictures: np.ndarray, *, batch: int) -> Arrays:
    """Return what the judges say of pictures.

    Args:
        judges: see `Judges`.
        pictures: uint8 [N,S,S,3].
        batch: pictures at a time.

    Returns:
        "logits" [N,K], and where there is a network for it "features" [N,D] and "attributes" [N,A].
    """
    run, found = _program(isinstance(judges.distance, Inception)), []
    for start in range(0, len(pictures), batch):
        rows = pictures[start : start + batch]
        padded = np.pad(rows, ((0, batch - len(rows)), (0, 0), (0, 0), (0, 0)))
        said = run(judges, padded)
        found.append({name: np.asarray(array)[: len(rows)] for name, array in said.items()})
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


@functools.cache
def _program(dense: bool) -> Callable[[Judges, np.ndarray], dict[str, jax.Array]]:
    return jax.jit(_judged, compiler_options=xla_options.options(dense=dense))


def _judged(judges: Judges, pictures: jax.Array) -> dict[str, jax.Array]:
    levels = pictures.astype(jnp.float32)
    faces = levels / 127.5 - 1.0

    def whole(model: EmotionNet) -> jax.Array:
        return classifier.preprocess(faces, model.config.size, crop="full")

    said = {"logits": classifier.judge(judges.emotion, faces, crop=judges.crop).logits}
    if isinstance(judges.distance, Inception):
        said["features"] = inception_features(judges.distance, levels)
    elif judges.distance is not None:
        said["features"] = judges.distance.features(whole(judges.distance))
    if judges.attributes is not None:
        said["attributes"] = judges.attributes(whole(judges.attributes))
    return said


def measure_sources(
    store: BlockStore,
    judges: Judges,
    sources: Sources,
    world: World | None,
    *,
    side: int,
    batch: int,
) -> Iterator[str]:
    """Measure the sources that the store lacks; yields after each block, as `Evaluation.run`."""
    for block in range(store.blocks):
        if not store.has(SOURCES, block):
            ids = list(store.ids(block))
            found = measure(judges, resized(sources.read(ids), side), batch=batch)
            if world:
                found["true"] = world.people(ids).attributes
            store.write(SOURCES, block, found)
        yield SOURCES


def _truth(people: People) -> Arrays:
    """Measure the true pictures: what a perfect transfer would get."""
    job, rows = people.job, []
    for truth in people.truths:
        found = measure(job.judges, truth.pictures, batch=job.batch)
        rows.append(found | {"true": truth.attributes})
    return _stacked(rows)


def _original(people: People, method: Method) -> Arrays:
    """Invert a block, and measure its reconstructions."""
    job, inverter = people.job, method.inverter
    _ = method.targets  # made first: this compiles what is timed below
    seen = images.to_float(resized(people.pictures, inverter.resolution))
    start = time.perf_counter()
    faces = jax.block_until_ready(
        inversion.invert(inverter, seen, passes=job.passes, batch=job.batch)
    )
    inverted = time.perf_counter()
    drawn = inversion.synthesize(inverter, faces, batch=job.batch)
    done = time.perf_counter()
    shown = images.to_uint8(drawn)
    kept = {"w_plus": faces.w_plus, "vectors": faces.vectors}
    return {
        **{name: np.asarray(array) for name, array in kept.items() if array is not None},
        **measure(job.judges, shown, batch=job.batch),
        "psnr": _psnr(shown, people.shown),
        "invert_seconds": _shared(inverted - start, len(seen)),
        "draw_seconds": _shared(done - inverted, len(seen)),
    }


def _transfers(people: People, name: str, normaliser: Normaliser) -> Arrays:
    """Give a block every target's expression, and measure the results."""
    job, faces = people.job, people.inverted(name)
    method, count = job.methods[name], len(faces)
    transferrer, targets = method.transferrers[normaliser], method.targets[normaliser]
    start = time.perf_counter()
    prepared = jax.block_until_ready(transferrer.prepare(faces))
    prepared_in, rows = time.perf_counter() - start, []
    for index in range(len(job.targets.names)):
        start = time.perf_counter()
        result = normalisers.combine(prepared, targets[index])
        drawn = inversion.synthesize(method.inverter, result, batch=job.batch)
        drawn_in = time.perf_counter() - start
        shown = images.to_uint8(drawn)
        found = measure(job.judges, shown, batch=job.batch)
        found["draw_seconds"] = _shared(drawn_in, count)
        if people.truths:
            found["psnr"] = _psnr(shown, people.truths[index].pictures)
        rows.append(found)
    return {**_stacked(rows), "prepare_seconds": _shared(prepared_in, count)}


def _psnr(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the PSNR [N] in dB between pictures uint8 [N,S,S,3]."""
    return np.asarray(closeness.psnr(images.to_float(ours), images.to_float(theirs)))


def _shared(seconds: float, count: int) -> np.ndarray:
    return np.full(count, seconds / count)


def _stacked(rows: list[Arrays]) -> Arrays:
    """Join the arrays [B,...] of T targets to [B,T,...]."""
    return {name: np.stack([row[name] for row in rows], 1) for name in rows[0]}
