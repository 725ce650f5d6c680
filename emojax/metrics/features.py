"""Features of many pictures, decoded ahead by threads and batched over all local devices.

Batches hold pictures of one size, since each size is compiled separately. Only the first few sizes
are resized on the device; pictures of any later size are resized on the host by Pillow, with the
same result.
"""

import collections
import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from PIL import Image

from emojax.faces import images
from emojax.metrics.fid import Moments
from emojax.models.inception import Inception
from emojax.nn.resize import clean_resize
from emojax.runtime import devices, xla_options
from emojax.runtime.errors import UserError
from emojax.runtime.progress import progress

logger = logging.getLogger(__name__)

DECODING = "2: transparency over white, deep grey scaled"
"""Names how files become pictures; part of the name of kept statistics."""
PROGRAMS = 8
"""Picture sizes that are compiled separately; pictures of further sizes are resized on the host."""
BLOCK = 512
"""Feature vectors that are added to the float64 moments at a time."""


class FeatureExtractor(NamedTuple):
    """A network whose features are measured.

    Attributes:
        fingerprint: identifies weights and preprocessing; statistics of different fingerprints
            cannot be compared.
        model: first argument of `extract`.
        extract: maps (model, pictures [B,H,W,3] of 0..255, uint8 or float) to features [B,D];
            jittable.
        size: side of the square pictures that `extract` takes without resizing.
    """

    fingerprint: str
    model: nnx.Module
    extract: Callable[[Any, jax.Array], jax.Array]
    size: int = 299


class Source(NamedTuple):
    """A set of pictures by name.

    Attributes:
        names: one name for each picture.
        read: maps a name to uint8 [H,W,3]; raises UserError, or OSError or ValueError as readers
            of data sets do, for a picture that cannot be read.
    """

    names: Sequence[str]
    read: Callable[[str], np.ndarray]


@dataclasses.dataclass
class Measured:
    """Feature statistics of a source.

    Attributes:
        moments: moments of all features; None if no picture could be read.
        features: [N,D] float32 in the order they were computed; None unless kept.
        skipped: one sentence for each picture that could not be read.
    """

    moments: Moments | None
    features: np.ndarray | None
    skipped: list[str]


def inception_features(model: Inception, pictures: jax.Array) -> jax.Array:
    """Return Inception features [B,2048] of pictures [B,H,W,3] of 0..255, resized as clean-fid."""
    return model(clean_resize(pictures))


def folder(path: Path) -> Source:
    """Return the pictures in a folder and its subfolders, sorted by path.

    Raises:
        UserError: there is none.
    """
    found = (p for p in path.rglob("*") if p.suffix.lower() in images.SUFFIXES)
    names = sorted(str(p) for p in found if not p.is_fifo())  # which would be waited for
    if not names:
        raise UserError(f"{path} holds no pictures ({', '.join(sorted(images.SUFFIXES))})")
    return Source(names, read_picture)


def read_picture(name: str) -> np.ndarray:
    """Decode a file to RGB, uint8 [H,W,3]; EXIF orientation is ignored, as in clean-fid.

    Raises:
        UserError: it is not a picture, damaged or too large.
    """
    return images.read(name, upright=False)


def measure(
    source: Source, extractor: FeatureExtractor, *, keep: bool = False, batch: int | None = None
) -> Measured:
    """Compute the moments of the features of this process's share of the pictures.

    A picture that cannot be read is left out, and named in `skipped` and in the log.

    Args:
        source: the pictures; a process takes every `jax.process_count()`-th.
        extractor: the network.
        keep: return the features as well.
        batch: pictures per device and call; by default 4 on CPUs, whose caches then hold the
            activations, and 64 elsewhere.
    """
    batch = batch or (4 if jax.default_backend() == "cpu" else 64)
    result, kept, waiting = Measured(None, None, []), [], []
    names = source.names[jax.process_index() :: jax.process_count()]
    pictures = _decoded(Source(names, source.read), result.skipped)
    with progress("computing features", len(names), "pictures") as shown:
        for features in _extracted(pictures, extractor, batch * jax.local_device_count()):
            shown.advance(len(features))
            waiting.append(features)
            if sum(map(len, waiting)) >= BLOCK:
                _merge(result, waiting)
            if keep:
                kept.append(features)
    _merge(result, waiting)
    if keep and kept:
        result.features = np.concatenate(kept)
    return result


def _merge(result: Measured, waiting: list[np.ndarray]) -> None:
    """Add waiting feature vectors to the moments of a result."""
    if waiting:
        block = Moments.of(np.concatenate(waiting))
        result.moments = result.moments.merge(block) if result.moments else block
        waiting.clear()


def _decoded(source: Source, skipped: list[str]) -> Iterator[np.ndarray]:
    """Yield the readable pictures in order, decoded ahead by threads."""
    ahead = 4 * (os.cpu_count() or 1)
    queue: collections.deque[tuple[str, Future[np.ndarray]]] = collections.deque()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for name in source.names:
            queue.append((name, pool.submit(source.read, name)))
            if len(queue) >= ahead:
                yield from _received(*queue.popleft(), skipped)
        while queue:
            yield from _received(*queue.popleft(), skipped)


def _received(name: str, future: Future[np.ndarray], skipped: list[str]) -> Iterator[np.ndarray]:
    """Yield a decoded picture, or note why there is none."""
    try:
        picture = future.result()
    except UserError as error:
        skipped.append(f"left out: {error}")
        logger.warning(skipped[-1])
        return
    except (OSError, ValueError) as error:
        skipped.append(f"left out: {name} cannot be read ({error})")
        logger.warning(skipped[-1])
        return
    yield picture


def _extracted(
    pictures: Iterator[np.ndarray], extractor: FeatureExtractor, batch: int
) -> Iterator[np.ndarray]:
    """Yield features in batches of one picture size; decoding overlaps with computation."""
    mesh = devices.local_mesh()
    run, model = _program(extractor.extract, mesh), devices.everywhere(extractor.model, mesh)
    groups: dict[tuple[int, ...], list[np.ndarray]] = {}
    running: collections.deque[tuple[jax.Array, int]] = collections.deque()

    def start(group: list[np.ndarray]) -> None:
        padded = np.zeros((batch, *group[0].shape), group[0].dtype)
        padded[: len(group)] = group
        running.append((run(model, padded), len(group)))
        group.clear()

    def finish(most: int) -> Iterator[np.ndarray]:
        while len(running) > most:
            features, count = running.popleft()
            yield np.asarray(features)[:count]

    for picture in pictures:
        if picture.shape not in groups and len(groups) >= PROGRAMS:
            picture = _resized_on_host(picture, extractor.size)
        group = groups.setdefault(picture.shape, [])
        group.append(picture)
        if len(group) == batch:
            start(group)
            yield from finish(1)
    for group in groups.values():
        if group:
            start(group)
    yield from finish(0)


@functools.lru_cache(maxsize=8)
def _program(extract: Callable, mesh: jax.sharding.Mesh) -> Callable:
    """Compile `extract` with the batch split over all devices of the mesh."""
    options = xla_options.options(dense=True)
    return devices.over_samples(extract, mesh, split=(False, True), compiler_options=options)


def _resized_on_host(picture: np.ndarray, size: int) -> np.ndarray:
    """Resize to float32 [size,size,3] of 0..255, channel by channel in mode "F" as clean-fid."""
    bicubic = Image.Resampling.BICUBIC
    planes = [
        images.resample(Image.fromarray(picture[..., i].astype(np.float32)), (size, size), bicubic)
        for i in range(picture.shape[-1])
    ]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], -1), 0, 255)
