"""Fréchet and kernel distances between the features of two sets of pictures.

FID is Heusel et al. 2017 (equation 6), KID is Bińkowski et al. 2018 (equation 4 and section 4).
Values agree with those of clean-fid's `fid.py`. All arithmetic is NumPy in float64, on features of
any network.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder
from emojax.store import array_file
from emojax.store.reader.contents import Kind, Malformed, reading
from emojax.store.reader.npz import read_npz
from emojax.store.reader.tables import Table

ENOUGH = 2048
"""Fewest pictures of a Fréchet distance without a warning: Inception's features, below which
covariances are singular."""


_KIND = Kind("a readable statistics file", "compute the statistics again")
_ROUNDING = 1e-5
"""Share of a covariance's largest value that rounding may change, also in files of float32."""


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Mean and covariance of the features of a set of pictures.

    Attributes:
        mean: [D] float64.
        covariance: [D,D] float64, normalised by count − 1.
        network: fingerprint of the network; None if a statistics file does not say.
        count: number of pictures; None if a statistics file does not say.
    """

    mean: np.ndarray
    covariance: np.ndarray
    network: str | None = None
    count: int | None = None


@dataclasses.dataclass(frozen=True)
class Moments:
    """First two moments of a set of features; the moments of parts merge in any order.

    Attributes:
        count: number of pictures.
        mean: [D] float64.
        scatter: [D,D] float64, sum of the outer products of the deviations from the mean.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Moments":
        """Return the moments of features [N,D], N ≥ 1."""
        features = np.asarray(features, np.float64)
        mean = features.mean(0)
        deviations = features - mean
        return cls(len(features), mean, deviations.T @ deviations)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of the union of both sets (Chan et al. 1979)."""
        count = self.count + other.count
        step = other.mean - self.mean
        mean = self.mean + step * (other.count / count)
        between = np.outer(step, step) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    def gaussian(self, network: str | None = None) -> Gaussian:
        """Return mean and covariance.

        Raises:
            UserError: fewer than 2 pictures.
        """
        if self.count < 2:
            raise UserError(
                f"the set has {self.count} picture: a covariance needs at least 2, add pictures"
            )
        return Gaussian(self.mean, self.scatter / (self.count - 1), network, self.count)


def merge_hosts(moments: Moments | None) -> Moments | None:
    """Return the moments of the pictures of all processes, the same on every process.

    Args:
        moments: moments of this process's pictures; None if it has none.
    """
    if jax.process_count() == 1:
        return moments
    width = multihost_utils.process_allgather(np.int32(0 if moments is None else len(moments.mean)))
    size = int(np.max(width))
    if moments is None:
        moments = Moments(0, np.zeros(size), np.zeros((size, size)))
    packed = np.concatenate([[moments.count], moments.mean, moments.scatter.ravel()])
    parts = multihost_utils.process_allgather(packed.view(np.uint32))  # jax has no float64 here
    merged = None
    for row in np.asarray(parts).view(np.float64):
        part = Moments(int(row[0]), row[1 : size + 1], row[size + 1 :].reshape(size, size))
        if part.count:
            merged = merged.merge(part) if merged else part
    return merged


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Return |μa − μb|² + tr(Ca + Cb − 2 (Ca Cb)^½).

    The trace of the square root is computed as the nuclear norm of Ca^½ᵀ Cb^½, with half powers
    from symmetric eigendecompositions. Unlike `scipy.linalg.sqrtm` this is real, and accurate for
    the singular covariances of fewer pictures than features. See `too_few` for such sets.

    Raises:
        UserError: the statistics are of different networks.
    """
    if a.mean.shape != b.mean.shape:
        raise UserError(
            f"the statistics have {a.mean.size} and {b.mean.size} features: they come from "
            "different networks, compute both with the same network"
        )
    if a.network and b.network and a.network != b.network:
        raise UserError(
            f"the statistics come from different networks ({a.network} and {b.network}): "
            "compute both with the same network"
        )
    step = a.mean - b.mean
    cross = _factor(a.covariance).T @ _factor(b.covariance)
    root = np.linalg.svd(cross, compute_uv=False).sum() if cross.size else 0.0
    return float(step @ step + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root)


def too_few(*counts: int | None) -> str | None:
    """Return a warning, one sentence, if a Fréchet distance is of fewer than `ENOUGH` pictures.

    Args:
        *counts: number of pictures of each set; None if unknown.
    """
    known = [count for count in counts if count is not None]
    if not known or min(known) >= ENOUGH:
        return None
    return (
        f"a Fréchet distance of {min(known):,} pictures is biased upwards: compare it only with "
        f"distances of as many pictures, give {ENOUGH:,} or more, or use the kernel distance, "
        "which is unbiased"
    )


def kernel_distance(
    a: np.ndarray, b: np.ndarray, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> float:
    """Return the mean over random subsets of the unbiased MMD² under the kernel (x·y/D + 1)³.

    Subsets are those of clean-fid's `kernel_distance(a, b)` after `np.random.seed(seed)`.

    Args:
        a: features of one set, [N,D].
        b: features of the other set, [M,D].
        subsets: number of subsets.
        subset_size: rows of a subset; at most the size of the smaller set is used.
        seed: seed of the draw.

    Raises:
        UserError: a set has fewer than 2 rows, or the networks differ.
    """
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"the sets have {a.shape[1]} and {b.shape[1]} features: compute both with the same "
            "network"
        )
    size = min(len(a), len(b), subset_size)
    if size < 2:
        raise UserError(f"the smaller set has {min(len(a), len(b))} pictures: KID needs at least 2")
    draw = np.random.RandomState(seed)
    total = 0.0
    for _ in range(subsets):
        second = np.asarray(b[draw.choice(len(b), size, replace=False)], np.float64)
        first = np.asarray(a[draw.choice(len(a), size, replace=False)], np.float64)
        total += _subset_mmd(first, second)
    return total / subsets


def save(path: Path, gaussian: Gaussian) -> None:
    """Write `mu` and `sigma` as clean-fid and pytorch-fid read them, and our network and count.

    Raises:
        UserError: the file cannot be written.
    """
    arrays = {"mu": gaussian.mean, "sigma": gaussian.covariance}
    about = {"network": gaussian.network or "", "count": gaussian.count or 0}
    make_folder(path.parent)
    array_file.write(path, arrays | about)


def load(path: Path) -> Gaussian:
    """Read a statistics file of ours, clean-fid's or pytorch-fid's.

    Raises:
        UserError: the file is missing, damaged or holds something else.
    """
    with reading(path, _KIND) as data:
        table = Table(read_npz(data))
        mean = table.numbers("mu", "D").astype(np.float64)
        covariance = table.numbers("sigma", "D", "D").astype(np.float64)
        _check_covariance(covariance)
        network = table.text("network") if "network" in table else ""
        count = int(table.numbers("count")) if "count" in table else 0
        if count < 0 or count == 1:
            raise Malformed(f"count is {count}, wanted 2 or more")
        return Gaussian(mean, covariance, network or None, count or None)


def _check_covariance(covariance: np.ndarray) -> None:
    """Refuse a matrix that is no covariance, but for rounding to float32.

    Raises:
        Malformed: it is not symmetric, or not positive semidefinite.
    """
    largest = np.abs(covariance).max(initial=0.0)
    off = np.abs(covariance - covariance.T).max(initial=0.0)
    if off > _ROUNDING * largest:
        raise Malformed(f"sigma is not symmetric: two values differ by {off:.3g}")
    try:  # half of a percent of the time of the eigenvalues
        lifted = covariance + np.eye(len(covariance)) * max(_ROUNDING * largest, 1e-300)
        np.linalg.cholesky(lifted)
    except np.linalg.LinAlgError as error:
        raise Malformed("sigma is no covariance: it has a negative eigenvalue") from error


def _factor(covariance: np.ndarray) -> np.ndarray:
    """Return A with A Aᵀ = covariance, without the columns of zero eigenvalues."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])


def _subset_mmd(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return (u @ v.T / u.shape[1] + 1) ** 3

    size = len(x)
    within = sum(k.sum() - np.trace(k) for k in (kernel(x, x), kernel(y, y)))
    return (within / (size - 1) - 2 * kernel(x, y).sum() / size) / size
