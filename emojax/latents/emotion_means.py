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

    With Π the covariance of the probabilities p among samples and B = Cov(w, p) Π⁺, the codes'
    regression on the probabilities is w = μ + B (p − p̄). So B (e_i − e_j) is the step from the
    mean face of class j to that of class i.

    Attributes:
        classes: K, in lower case, in the order of the classifier's probabilities.
        steps: [K, D], Bᵀ.
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
    between = np.zeros((len(shares), len(mean)))
    for start in range(0, len(codes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        p = probabilities[rows] - shares
        among += p.T @ p
        between += p.T @ (codes[rows] - mean)
    values, vectors = np.linalg.eigh(among)  # of rank K − 1: probabilities sum to 1
    kept = values > RANK * values.max()
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    classes = tuple(name.lower() for name in scored.settings.classes)
    return EmotionMeans(classes, inverse @ between, shares)
