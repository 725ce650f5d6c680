"""Features of many pictures: decode ahead, group by size, run in batches on all local devices.

Each distinct size is a program of its own, so only the first few sizes are resized inside the
program; a picture of a later size is resized on the host by Pillow, which gives the same numbers.
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
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from emojax.metrics.fid import Moments
from emojax.models.inception import Inception
from emojax.nn.resize import clean_resize
from emojax.runtime import devices, xla_options
from emojax.runtime.errors import UserError

EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
PROGRAMS = 8
"""Picture sizes that get a program of their own."""
BLOCK = 512
"""Features that enter the float64 moments at once."""


class Network(NamedTuple):
    """What turns pictures into features.

    Attributes:
        fingerprint: tells its statistics from another network's.
        model: handed to `extract`.
        extract: (model, pictures [B,H,W,3] of 0..255, uint8 or float) to features [B,D]; jittable.
        size: side of a float picture that `extract` takes without resizing.
    """

    fingerprint: str
    model: nnx.Module
    extract: Callable[[Any, jax.Array], jax.Array]
    size: int = 299


class Source(NamedTuple):
    """Pictures by name; `read(name)` returns uint8 [H,W,3] or raises OSError or ValueError."""

    names: Sequence[str]
    read: Callable[[str], np.ndarray]


@dataclasses.dataclass
class Measured:
    """What was computed from a source.

    Attributes:
        moments: of all features, None when no picture could be read.
        features: [N,D] float32 in order of arrival, None unless kept.
        skipped: one sentence for each picture that could not be read.
    """

    moments: Moments | None
    features: np.ndarray | None
    skipped: list[str]


def inception_features(model: Inception, pictures: jax.Array) -> jax.Array:
    """Resize pictures [B,H,W,3] of 0..255 as clean-fid does and return features [B,2048]."""
    return model(clean_resize(pictures))


def folder(path: Path) -> Source:
    """Return the pictures under a folder, sorted by path.

    Raises:
        UserError: there is none.
    """
    names = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS)
    if not names:
        raise UserError(f"{path} holds no pictures ({', '.join(sorted(EXTENSIONS))})")
    return Source(names, read_picture)


def read_picture(name: str) -> np.ndarray:
    """Decode a file to RGB, uint8 [H,W,3]."""
    with Image.open(name) as picture:
        return np.asarray(picture.convert("RGB"))


def measure(
    source: Source, network: Network, *, keep: bool = False, batch: int | None = None
) -> Measured:
    """Compute the moments, and on wish all features, of this process's share of the pictures.

    A picture that cannot be read is left out and named in `skipped` and in the log.

    Args:
        source: the pictures; every `jax.process_count()`-th is ours.
        network: what computes features.
        keep: return the features themselves too.
        batch: pictures a device and call; by default 4 on CPUs (their activations stay in the
            cache) and 64 elsewhere.
    """
    batch = batch or (4 if jax.default_backend() == "cpu" else 64)
    result, kept, waiting = Measured(None, None, []), [], []

    def take(features: np.ndarray) -> None:
        waiting.append(features)
        if sum(map(len, waiting)) >= BLOCK:
            _settle(result, waiting)

    names = source.names[jax.process_index() :: jax.process_count()]
    pictures = _decoded(Source(names, source.read), result.skipped)
    for features in _extracted(pictures, network, batch * jax.local_device_count()):
        take(features)
        if keep:
            kept.append(features)
    _settle(result, waiting)
    if keep and kept:
        result.features = np.concatenate(kept)
    return result


def _settle(result: Measured, waiting: list[np.ndarray]) -> None:
    if waiting:
        block = Moments.of(np.concatenate(waiting))
        result.moments = result.moments.merge(block) if result.moments else block
        waiting.clear()


def _decoded(source: Source, skipped: list[str]) -> Iterator[np.ndarray]:
    """Pictures in order, decoded by threads that stay a little ahead."""
    ahead = 4 * (os.cpu_count() or 1)
    queue: collections.deque[tuple[str, Future]] = collections.deque()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for name in tqdm(source.names, unit="picture", disable=len(source.names) < 64):
            queue.append((name, pool.submit(source.read, name)))
            if len(queue) >= ahead:
                yield from _received(*queue.popleft(), skipped)
        while queue:
            yield from _received(*queue.popleft(), skipped)


def _received(name: str, future: Future, skipped: list[str]) -> Iterator[np.ndarray]:
    try:
        picture = future.result()
    except (
        OSError,
        ValueError,
        SyntaxError,
        UnidentifiedImageError,
    ) as error:  # what Pillow raises
        skipped.append(f"{name} cannot be read ({error}) and is left out")
        logging.warning(skipped[-1])
        return
    yield picture


def _extracted(
    pictures: Iterator[np.ndarray], network: Network, batch: int
) -> Iterator[np.ndarray]:
    """Features by batches of one size; the device works while the next batch is gathered."""
    mesh = devices.local_mesh()
    run, model = _program(network.extract, mesh), devices.everywhere(network.model, mesh)
    groups: dict[tuple, list[np.ndarray]] = {}
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
            picture = _resized_here(picture, network.size)
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
    """`extract` over all local devices, each with its share of the batch."""
    options = xla_options.options(dense=True)
    return devices.over_samples(extract, mesh, split=(False, True), compiler_options=options)


def _resized_here(picture: np.ndarray, size: int) -> np.ndarray:
    """clean-fid's own way: each channel in Pillow's mode "F", float32 [size,size,3] of 0..255."""
    planes = [
        Image.fromarray(picture[..., i].astype(np.float32)).resize((size, size), Image.BICUBIC)
        for i in range(picture.shape[-1])
    ]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], -1), 0, 255)
