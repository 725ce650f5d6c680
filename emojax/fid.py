"""Fréchet (and kernel) distance between two sets of pictures.

    emojax fid results/ originals/
    emojax fid results/ ffhq_statistics.npz --bundle ffhq
    emojax fid results/ tfds:celeb_a:test --kid --bundle ffhq

Lower is closer. Each set is a folder, a statistics file (.npz with mu and sigma, ours or
clean-fid's), or a prepared TensorFlow data set whose examples have an "image", as tfds:NAME:SPLIT.
Distances are measured in the features of the bundle's Inception; where a bundle has none, such as
the embedded demo, in those of its own feature network, which compare with each other only.
"""

import dataclasses
import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from emojax.faces.data_sets import TFDS, split_name
from emojax.runtime.cli import cli
from emojax.runtime.compile_cache import cache_folder
from emojax.runtime.errors import UserError
from emojax.runtime.files import sha256
from emojax.store import bundle

if TYPE_CHECKING:
    import numpy as np

    from emojax.metrics.features import FeatureExtractor, Source
    from emojax.metrics.fid import Gaussian


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax fid`."""

    a: tyro.conf.Positional[str]
    """First set."""
    b: tyro.conf.Positional[str]
    """Second set."""
    bundle: str = bundle.DEFAULT
    """Name or folder of a bundle with Inception, or with a feature network of its own."""
    kid: bool = False
    """Also the kernel distance; needs pictures on both sides."""
    save: Path | None = None
    """Write the first set's statistics here (.npz)."""
    batch: int | None = None
    """Pictures per device and call."""
    cache: Path = cache_folder() / "fid"
    """Folder in which statistics are kept, by the contents of the pictures."""
    data_dir: Path | None = None
    """Folder of prepared TFDS data sets; default: TFDS's own."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """Statistics of one set.

    Attributes:
        gaussian: mean and covariance of the features.
        features: [N,D], where the kernel distance needs them.
        skipped: number of pictures that could not be read.
    """

    gaussian: "Gaussian"
    features: "np.ndarray | None" = None
    skipped: int = 0


def main(options: Options) -> None:
    """Measure both sets and print the distance."""
    _check(options)
    place = bundle.find(options.bundle)
    import jax

    from emojax.metrics import distance_network, fid

    if options.kid and jax.process_count() > 1:
        raise UserError("--kid keeps all features on one host: run it as a single process")
    network = distance_network.load(place)
    a = measure(options.a, network.extractor, options)
    if options.save:
        fid.save(options.save, a.gaussian)
    b = measure(options.b, network.extractor, options)
    distance = fid.frechet_distance(a.gaussian, b.gaussian)
    lines = [f"{'FID' if network.is_inception else 'Fréchet distance'} {distance:.6g}"]
    if a.features is not None and b.features is not None:
        kernel = fid.kernel_distance(a.features, b.features)
        lines.append(f"{'KID' if network.is_inception else 'kernel distance'} {kernel:.6g}")
    if network.is_inception:
        lines.append(f"measured with the Inception of bundle {place}")
    else:
        lines.append(
            f"measured with the feature network of bundle {place}, which has no Inception: no FID, "
            "to be compared with distances of the same network only"
        )
    for name, side in ((options.a, a), (options.b, b)):
        left_out = f", {side.skipped} unreadable left out" if side.skipped else ""
        lines.append(f"{side.gaussian.count or 'unknown number of'} pictures in {name}{left_out}")
    if warning := fid.too_few(a.gaussian.count, b.gaussian.count):
        lines.append(f"warning: {warning}")
    sys.stdout.write("\n".join(lines) + "\n")


def _check(options: Options) -> None:
    """Refuse what can be refused without networks.

    Raises:
        UserError: a set is not there, or a number is out of range.
    """
    if options.batch is not None and options.batch < 1:
        raise UserError(f"--batch is {options.batch}, wanted 1 or more")
    for place in (options.a, options.b):
        if place.startswith(TFDS):
            split_name(place)
        elif place.endswith(".npz"):
            if options.kid:
                raise UserError(
                    f"--kid needs pictures on both sides, {place} holds only their statistics"
                )
        elif not os.path.isdir(place):
            raise UserError(f"no folder {place}: wanted a folder, a .npz file or tfds:NAME:SPLIT")


def measure(place: str, network: "FeatureExtractor", options: Options) -> Measured:
    """Return the statistics of a set, from its file, from the cache, or computed and then cached.

    Args:
        place: as on the command line.
        network: what computes features.
        options: the flags.

    Raises:
        UserError: nothing there, fewer than 2 readable pictures, statistics of another network.
    """
    import jax

    from emojax.metrics import features, fid

    if place.endswith(".npz"):
        return Measured(_of_network(fid.load(Path(place)), network, place))
    source, contents = _source(place, options)
    key = _sha256_of(f"{network.fingerprint} {contents} {features.DECODING}")[:32]
    cached = options.cache.expanduser() / f"{key}.npz"
    if cached.is_file() and not options.kid:
        logging.info("%s: statistics from %s", place, cached)
        return Measured(_of_network(fid.load(cached), network, str(cached)))
    found = features.measure(source, network, keep=options.kid, batch=options.batch)
    moments = fid.merge_hosts(found.moments)
    if moments is None or moments.count < 2:
        raise UserError(
            f"{place} has {moments.count if moments else 0} readable pictures of "
            f"{len(source.names)}: a distance needs at least 2"
        )
    gaussian = moments.gaussian(network.fingerprint)
    if jax.process_index() == 0 and not found.skipped:
        fid.save(cached, gaussian)
    return Measured(gaussian, found.features, len(found.skipped))


def _source(place: str, options: Options) -> "tuple[Source, str]":
    """Return the pictures of a folder or a data set, and a hash or name of their contents."""
    from emojax.faces.data_sets import open_data_set
    from emojax.metrics import features

    if place.startswith(TFDS):
        data = open_data_set(*split_name(place), options.data_dir)
        names = [str(number) for number in range(data.size)]
        return features.Source(names, lambda name: data.read(int(name))), data.fingerprint
    source = features.folder(Path(place))
    return source, _contents(source.names)


def _of_network(gaussian: "Gaussian", network: "FeatureExtractor", place: str) -> "Gaussian":
    """Return statistics, unless they are known to be of another network.

    Raises:
        UserError: they are.
    """
    if gaussian.network not in (None, network.fingerprint):
        raise UserError(
            f"{place} holds statistics of network {gaussian.network}, this one is "
            f"{network.fingerprint}: compute them again from the pictures"
        )
    return gaussian


def _contents(names: Sequence[str]) -> str:
    """Return the SHA-256 of the files' own hashes, sorted: names and order do not count.

    Raises:
        UserError: a file cannot be read.
    """
    try:
        with ThreadPoolExecutor() as pool:
            return _sha256_of("".join(sorted(pool.map(sha256, names))))
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}): make it readable or remove it"
        ) from error


def _sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    cli(main)
