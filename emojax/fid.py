"""Fréchet (and kernel) distance between two sets of pictures.

python -m emojax.fid results/ originals/
python -m emojax.fid results/ ffhq_statistics.npz
python -m emojax.fid results/ tfds:celeb_a:test --kid
"""

import dataclasses
import hashlib
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import tyro

from emojax.metrics import features, fid
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.parts import INCEPTION

RESIZING = "clean-1"
"""Part of every fingerprint; changes when the same picture would give other features."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Distance between two sets of pictures; lower is closer.

    Each set is a folder, a statistics file (.npz with mu and sigma, ours or clean-fid's), or a
    prepared data set as tfds:NAME:SPLIT, whose examples have an "image".
    """

    a: tyro.conf.Positional[str]
    """First set."""
    b: tyro.conf.Positional[str]
    """Second set."""
    bundle: str = bundle.DEFAULT
    """Bundle whose "inception" network measures."""
    kid: bool = False
    """Also the kernel distance; wants pictures on both sides."""
    save: Path | None = None
    """Write the first set's statistics here (.npz)."""
    batch: int | None = None
    """Pictures a device and call."""
    cache: Path = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "emojax" / "fid"
    """Where statistics are kept by the contents of their pictures."""
    data_dir: Path | None = None
    """Where TFDS data sets are prepared, if not in its default place."""


@dataclasses.dataclass(frozen=True)
class Side:
    """One measured set."""

    gaussian: fid.Gaussian
    features: np.ndarray | None = None
    skipped: int = 0


def network_of(name: str) -> features.FeatureExtractor:
    """Return the Inception of a bundle, with a fingerprint of weights, config and resizing.

    Raises:
        UserError: the bundle has none.
    """
    place = bundle.find(name)
    stored = place.metadata(INCEPTION)
    parts = (stored["weights_sha256"], sorted(stored["config"].items()), RESIZING)
    fingerprint = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    model = place.load(INCEPTION)
    return features.FeatureExtractor(fingerprint, model, features.inception_features)


def measure(place: str, network: features.FeatureExtractor, options: Options) -> Side:
    """Return the statistics of a set, from its file, from the cache, or computed and then cached.

    Raises:
        UserError: nothing there, fewer than 2 readable pictures, statistics of another network.
    """
    if place.endswith(".npz"):
        if options.kid:
            raise UserError(
                f"--kid wants pictures on both sides, {place} holds only their statistics"
            )
        return Side(_of_network(fid.load(Path(place)), network, place))
    if place.startswith("tfds:"):
        source, contents = data_set(place, options.data_dir)
    elif Path(place).is_dir():
        source = features.folder(Path(place))
        contents = _contents(source.names)
    else:
        raise UserError(f"no folder {place}: wanted a folder, a .npz file or tfds:NAME:SPLIT")
    key = hashlib.sha256(f"{network.fingerprint} {contents}".encode()).hexdigest()[:32]
    cached = options.cache / f"{key}.npz"
    if cached.is_file() and not options.kid:
        logging.info("%s: statistics from %s", place, cached)
        return Side(_of_network(fid.load(cached), network, str(cached)))
    measured = features.measure(source, network, keep=options.kid, batch=options.batch)
    moments = fid.merge_hosts(measured.moments)
    if moments is None or moments.count < 2:
        raise UserError(
            f"{place} has {moments.count if moments else 0} readable pictures of "
            f"{len(source.names)}: a distance wants at least 2"
        )
    gaussian = moments.gaussian(network.fingerprint)
    if jax.process_index() == 0 and not measured.skipped:
        fid.save(cached, gaussian)
    return Side(gaussian, measured.features, len(measured.skipped))


def main(options: Options) -> None:
    """Measure both sets and print the distance."""
    if options.kid and jax.process_count() > 1:
        raise UserError("--kid keeps all features on one host: run it as a single process")
    network = network_of(options.bundle)
    a = measure(options.a, network, options)
    if options.save:
        fid.save(options.save, a.gaussian)
    b = measure(options.b, network, options)
    lines = [f"FID {fid.frechet_distance(a.gaussian, b.gaussian):.6g}"]
    if options.kid:
        lines.append(f"KID {fid.kernel_distance(a.features, b.features):.6g}")
    for name, side in ((options.a, a), (options.b, b)):
        left_out = f", {side.skipped} unreadable left out" if side.skipped else ""
        lines.append(f"{side.gaussian.count or 'unknown number of'} pictures in {name}{left_out}")
    sys.stdout.write("\n".join(lines) + "\n")


def _of_network(
    gaussian: fid.Gaussian, network: features.FeatureExtractor, place: str
) -> fid.Gaussian:
    if gaussian.network not in (None, network.fingerprint):
        raise UserError(
            f"{place} holds statistics of network {gaussian.network}, this one is "
            f"{network.fingerprint}: compute them again from the pictures"
        )
    return gaussian


def _contents(names: list[str]) -> str:
    """Hash of the files' bytes, whatever their names and order."""

    def digest(name: str) -> str:
        with open(name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    try:
        with ThreadPoolExecutor() as pool:
            return hashlib.sha256("".join(sorted(pool.map(digest, names))).encode()).hexdigest()
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror})") from error


def data_set(place: str, data_dir: Path | None) -> tuple[features.Source, str]:
    """Return the pictures of a prepared data set, read without TensorFlow, and what names them.

    Args:
        place: tfds:NAME:SPLIT.
        data_dir: where data sets are prepared; None: TFDS's default.

    Raises:
        UserError: the name has another form, or there is no such data set as array_record.
    """
    import tensorflow_datasets as tfds

    _, _, rest = place.partition(":")
    name, colon, split = rest.rpartition(":")
    if not colon or not name or not split:
        raise UserError(f"{place} is not tfds:NAME:SPLIT, for example tfds:celeb_a:test")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        data = builder.as_data_source(split=split)
    except Exception as error:  # every data set fails in its own way when it is not prepared
        raise UserError(
            f"{place} cannot be opened ({str(error).partition(chr(10))[0]}): prepare it with tfds "
            "as array_record first"
        ) from error
    names = [str(i) for i in range(len(data))]
    source = features.Source(names, lambda i: _rgb(np.asarray(data[int(i)]["image"])))
    return source, f"{builder.info.full_name}:{split}:{len(data)}"


def _rgb(picture: np.ndarray) -> np.ndarray:
    """Grey [H,W,1] becomes three equal channels, transparency is dropped."""
    return picture.repeat(3, -1) if picture.shape[-1] == 1 else picture[..., :3]


if __name__ == "__main__":
    cli(main)
