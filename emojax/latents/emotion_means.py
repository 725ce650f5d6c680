"""Mean faces of emotions among scored samples, as steps in W between them."""

import dataclasses

import numpy as np

from emojax.store.score_table import Scored

RANK = 1e-6
"""Eigenvalues of the probabilities' covariance below this share of the largest are taken for 0."""
EXPLAINED = 0.01
"""Share of a component's variance, explained by the probabilities, at which half of a step along it
is kept."""
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

    Along a principal component of the codes that the probabilities hardly explain, a step of the
    mean has more of the persons who happen to show a class than of the class. It is kept there in
    the measure s = R² / (R² + 0.01), R² being the share of the component's variance that the
    regression explains: B = V diag(s) Vᵀ (B₁ + B₂) / 2.

    What a classifier regresses beside them, valence and arousal, is no mixture of classes and has a
    step of its own: how far the mean code moves when one of them rises by 1 and the others stay,
    (Cov(w, v) Cov(v)⁺)ᵀ.

    Attributes:
        classes: K, in lower case, in the order of the classifier's probabilities.
        steps: [K, D], Bᵀ; they sum to 0.
        shares: [K] mean probabilities, p̄.
        regressed: names of V more scores, in lower case.
        slopes: [V, D], the step of each.
    """

    classes: tuple[str, ...]
    steps: np.ndarray
    shares: np.ndarray
    regressed: tuple[str, ...] = ()
    slopes: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))

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
        if self.regressed and self.slopes.shape != (len(self.regressed), self.steps.shape[1]):
            raise ValueError(
                f"slopes are {list(self.slopes.shape)}, wanted "
                f"{[len(self.regressed), self.steps.shape[1]]}"
            )
        if not all(np.isfinite(each).all() for each in (self.steps, self.shares, self.slopes)):
            raise ValueError("mean codes hold NaN or infinity")
        if len({*self.classes, *self.regressed}) < count + len(self.regressed):
            raise ValueError("a score of the mean codes appears twice")
        if not ((self.shares > 0) & (self.shares <= 1)).all():
            raise ValueError("shares of the mean codes are no probabilities, wanted 0 to 1")


def fit(scored: Scored) -> EmotionMeans:
    """Return the steps between the mean faces of scored samples, in one pass over them.

    Args:
        scored: codes [n, D] and scores [n, S].
    """
    codes, scores, count = scored.codes, scored.scores, len(scored.settings.classes)
    mean, typical = (x.mean(0, dtype=np.float64) for x in (codes, scores))
    among, between = np.zeros((len(typical), len(typical))), np.zeros((len(typical), len(mean)))
    certain, weights = np.zeros((count, len(mean))), np.zeros(count)
    spread = np.zeros((len(mean), len(mean)))
    for start in range(0, len(codes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        s, w = scores[rows].astype(np.float64), codes[rows] - mean
        among += (s - typical).T @ (s - typical)
        between += (s - typical).T @ w
        certain += np.square(s[:, :count]).T @ w
        weights += np.square(s[:, :count]).sum(0)
        spread += w.T @ w
    names, means = scored.settings.scores, certain / weights[:, None]
    regression = _inverse(among[:count, :count]) @ between[:count]
    kept = _kept(regression, between[:count], spread)
    return EmotionMeans(
        names[:count],
        (regression + means - means.mean(0)) / 2 @ kept,
        typical[:count],
        names[count:],
        _inverse(among[count:, count:]) @ between[count:],
    )


def _kept(regression: np.ndarray, between: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return V diag(s) Vᵀ [D, D], see `EmotionMeans`.

    Args:
        regression: [K, D], B₁ᵀ.
        between: [K, D], the covariance of probabilities and codes.
        spread: [D, D], that of the codes; all over the same number of samples, or summed.
    """
    variance, axes = np.linalg.eigh(spread)
    varies = variance > RANK * variance.max()
    along = ((regression @ axes) * (between @ axes)).sum(0)
    explained = np.where(varies, along / np.where(varies, variance, 1), 0)
    return axes * (explained / (explained + EXPLAINED)) @ axes.T


def _inverse(covariance: np.ndarray) -> np.ndarray:
    """Return a pseudo-inverse; K probabilities, which sum to 1, have a covariance of rank K − 1."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > RANK * values.max(initial=0)
    return (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
