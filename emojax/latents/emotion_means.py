"""Mean faces of emotions among scored samples, as steps in W between them."""

import dataclasses

import numpy as np

from emojax.store.score_table import Scored

RANK = 1e-6
"""Eigenvalues of the probabilities' covariance below this share of the largest are taken for 0."""
_BLOCK = 16_384


@dataclasses.dataclass(frozen=True)
class EmotionMeans:
    """Steps between the mean faces of the classes of a classifier.

    B (e_i − e_j) is the step from the mean face of class j to that of class i. Two estimates of it
    are averaged. With Π the covariance of the probabilities p among samples, the codes' regression
    on them is w = μ + B₁ (p − p̄), B₁ = Cov(w, p) Π⁺: it parts classes that often come together, but
    of a rare class most of what it sees are faces in which that class is only suspected, for what
    they have beside it. The mean codes of the classes, samples weighted by p², less the mean of
    these, are B₂: they see faces that surely show the class, but do not part classes.

    Attributes:
        classes: K, in lower case, in the order of the classifier's probabilities.
        steps: [K, D], Bᵀ = (B₁ + B₂)ᵀ / 2; they sum to 0.
        shares: [K] mean probabilities, p̄.
    """

    classes: tuple[str, ...]
    steps: np.ndarray
    shares: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            ValueError: an array has another shape or holds NaN or infinity, a class appears twice,
                or a share is no probability.
        """
        count = len(self.classes)
        if self.steps.ndim != 2 or len(self.steps) != count or self.shares.shape != (count,):
            raise ValueError(
                f"steps are {list(self.steps.shape)} and shares {list(self.shares.shape)}, wanted "
                f"[{count}, D] and [{count}]"
            )
        if not (np.isfinite(self.steps).all() and np.isfinite(self.shares).all()):
            raise ValueError("mean codes hold NaN or infinity")
        if len(set(self.classes)) < count:
            raise ValueError("a class of the mean codes appears twice")
        if not ((self.shares > 0) & (self.shares <= 1)).all():
            raise ValueError("shares of the mean codes are no probabilities, wanted 0 to 1")


def fit(scored: Scored) -> EmotionMeans:
    """Return the steps between the mean faces of scored samples, in one pass over them.

    Args:
        scored: codes [n, D] and probabilities [n, K].
    """
    codes, probabilities = scored.codes, scored.probabilities
    mean, shares = (x.mean(0, dtype=np.float64) for x in (codes, probabilities))
    among = np.zeros((len(shares), len(shares)))
    between, certain = np.zeros((2, len(shares), len(mean)))
    weights = np.zeros(len(shares))
    for start in range(0, len(codes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        p, w = np.float64(probabilities[rows]), codes[rows] - mean
        among += (p - shares).T @ (p - shares)
        between += (p - shares).T @ w
        certain += np.square(p).T @ w
        weights += np.square(p).sum(0)
    values, vectors = np.linalg.eigh(among)  # of rank K − 1: probabilities sum to 1
    kept = values > RANK * values.max()
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    classes = tuple(name.lower() for name in scored.settings.classes)
    means = certain / weights[:, None]
    return EmotionMeans(classes, (inverse @ between + means - means.mean(0)) / 2, shares)
