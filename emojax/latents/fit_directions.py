"""Directions from scored samples: the paper's regression and the two methods it compares with.

A method maps codes X [n, D] and probabilities Y [n, E] to coefficients [E, D], intercepts [E] and
the facts to keep. All are linear: score_e(w) = coefficients[e] · w + intercepts[e].
"""

import dataclasses
import logging
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from emojax.latents.directions import Directions
from emojax.runtime.errors import UserError
from emojax.store.score_table import Scored
from emojax.svr import SVRConfig, fit_svr

logger = logging.getLogger(__name__)

Method = Literal["svr", "extremes", "pca"]

SQUARED = SVRConfig(loss="squared_epsilon_insensitive")


class Linear(NamedTuple):
    """What a method finds, float64.

    Attributes:
        coefficients: [E, D].
        intercepts: [E].
        facts: JSON-able, for the metadata.
    """

    coefficients: np.ndarray
    intercepts: np.ndarray
    facts: dict[str, Any]


class Quality(NamedTuple):
    """How well linear scores predict probabilities on held-out samples, one entry an emotion.

    Attributes:
        r2: share of the probability's variance explained, at most 1.
        spearman: rank correlation.
    """

    r2: np.ndarray
    spearman: np.ndarray


@dataclasses.dataclass(frozen=True)
class Config:
    """How to fit.

    Attributes:
        method: "svr", the paper's; "extremes", InterfaceGAN's; "pca", GANSpace's.
        regression: for "svr": loss, C, epsilon, exactness. The squared loss fits the mean
            probability; the absolute one the median, which is nearly constant for rare emotions.
        extremes: for "extremes": samples an emotion at either end.
        held_out: share of the samples kept for validation: those with the highest ids.
    """

    method: Method = "svr"
    regression: SVRConfig = SQUARED
    extremes: int = 10_000
    held_out: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out is {self.held_out}, wanted a share between 0 and 1")
        if self.extremes < 1:
            raise UserError(f"extremes is {self.extremes}, wanted 1 or more samples")


def fit(scored: Scored, config: Config) -> Directions:
    """Fit one direction a class on most of the samples and validate it on the rest.

    Args:
        scored: codes and probabilities.
        config: method and split.

    Returns:
        The directions in W; the metadata holds method, samples, r2 and spearman by name, the share
        of the neutral direction that `opposition` finds, and the run that the samples come from.

    Raises:
        UserError: too few samples, or a class whose probability never changes.
    """
    names = tuple(name.lower() for name in scored.settings.classes)
    codes, probabilities = scored.codes.astype(np.float32, copy=False), scored.probabilities
    train = round(len(codes) * (1 - config.held_out))
    if train < 2 or len(codes) - train < 2:
        raise UserError(
            f"{len(codes)} scored samples of which {config.held_out:g} are held out: wanted at "
            "least 2 to fit and 2 to validate on; score more"
        )
    x, y = codes[:train], probabilities[:train]
    still = (np.ptp(y, axis=0) == 0) | (np.ptp(probabilities[train:], axis=0) == 0)
    if still.any():
        raise UserError(
            f"the probability of {names[int(still.argmax())]} is the same in all samples: score "
            "more, or use a classifier that tells these pictures apart"
        )
    found = _METHODS[config.method](x, y, config)
    quality = validate(found, x, y, codes[train:], probabilities[train:], config.method)
    mean = x.mean(0, dtype=np.float64)
    units = found.coefficients / np.linalg.norm(found.coefficients, axis=1, keepdims=True)
    metadata = {
        "method": config.method,
        **found.facts,
        "samples": train,
        "held_out": len(codes) - train,
        "r2": dict(zip(names, quality.r2.tolist(), strict=True)),
        "spearman": dict(zip(names, quality.spearman.tolist(), strict=True)),
        **opposition(names, found.coefficients),
        "generator_sha256": scored.settings.generator_sha256,
        "scores": dataclasses.asdict(scored.settings),
    }
    sigma = _deviations(x, mean, units)
    return Directions(names, found.coefficients, found.intercepts, mean, sigma, metadata)


def regression(x: np.ndarray, y: np.ndarray, config: Config) -> Linear:
    """Return the linear SVR of every column of y, the paper's method; see `emojax.svr`."""
    found = fit_svr(x, y, config.regression)
    if not found.converged.all():
        logger.warning("the duality gap is still %.1e: raise max_iter", found.gap.max())
    facts = {
        "loss": config.regression.loss,
        "C": config.regression.C,
        "epsilon": config.regression.epsilon,
        "intercept": config.regression.intercept,
        "gap": float(found.gap.max()),
    }
    return Linear(found.coef, found.intercept, facts)


def extremes(x: np.ndarray, y: np.ndarray, config: Config) -> Linear:
    """Return the linear SVM that parts each emotion's highest samples from its lowest.

    Source: genforce/interfacegan `utils/manipulator.py`, `train_boundary`, with liblinear in place
    of libsvm, whose time grows with the square of the samples. The coefficients are the SVM's own:
    its boundary is where the score is 0.
    """
    count = min(config.extremes, len(x) // 2)
    if count < config.extremes:
        logger.info("%d samples: the %d at either end are taken", len(x), count)
    rows = []
    for column in y.T:
        order = np.argsort(column, kind="stable")
        ends = np.concatenate([order[:count], order[-count:]])
        machine = LinearSVC(dual=False, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                machine.fit(x[ends], np.repeat([0, 1], count))
            except ConvergenceWarning as warning:
                raise UserError(
                    f"the classifier of extremes did not converge ({warning}): take more samples"
                ) from warning
        rows.append((machine.coef_[0], machine.intercept_[0]))
    coefficients, intercepts = (np.array(part, np.float64) for part in zip(*rows, strict=True))
    return Linear(coefficients, intercepts, {"extremes": count})


def components(x: np.ndarray, y: np.ndarray, config: Config) -> Linear:
    """Return, for each emotion, the principal component of W that follows it best.

    Source: GANSpace (Härkönen et al. 2020), whose components are without names; here each emotion
    takes the one of highest absolute correlation with its probability, scaled to predict it.
    """
    del config
    mean, target = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    centred = x - mean.astype(np.float32)
    covariance = _product(centred, centred) / len(x)
    variance, basis = np.linalg.eigh(covariance)
    variance, basis = variance[::-1].clip(0), basis[:, ::-1]
    slopes = _product(y - target.astype(np.float32), centred) / len(x) @ basis  # covariances [E, D]
    there = variance > variance[0] * 1e-12  # float32 codes say nothing about the others
    gain = np.where(there, slopes / np.sqrt(np.where(there, variance, 1)), 0)
    best = np.abs(gain).argmax(1)
    slope = slopes[np.arange(len(best)), best] / variance[best]
    coefficients = slope[:, None] * basis[:, best].T
    facts = {
        "component": best.tolist(),
        "variance_share": (variance[best] / variance.sum()).tolist(),
    }
    return Linear(coefficients, target - coefficients @ mean, facts)


_METHODS = {"svr": regression, "extremes": extremes, "pca": components}


def validate(
    found: Linear,
    x: np.ndarray,
    y: np.ndarray,
    held_x: np.ndarray,
    held_y: np.ndarray,
    method: Method,
) -> Quality:
    """Measure scores on held-out samples.

    The SVM's scores are no probabilities: they are first put on a straight line, by least squares
    on the training samples.

    Args:
        found: the method's result.
        x: [n, D] training codes.
        y: [n, E] training probabilities.
        held_x: [m, D] held-out codes.
        held_y: [m, E] held-out probabilities.
        method: which made it.
    """
    predicted = held_x @ found.coefficients.T + found.intercepts
    if method == "extremes":
        scores = x @ found.coefficients.T + found.intercepts
        centred = scores - scores.mean(0)
        slope = (centred * (y - y.mean(0))).sum(0) / (centred**2).sum(0)
        predicted = y.mean(0) + slope * (predicted - scores.mean(0))
    residual = ((held_y - predicted) ** 2).sum(0)
    r2 = 1 - residual / ((held_y - held_y.mean(0, dtype=np.float64)) ** 2).sum(0)
    columns = zip(predicted.T, held_y.T, strict=True)
    return Quality(r2, np.array([scipy.stats.spearmanr(a, b).statistic for a, b in columns]))


def opposition(names: tuple[str, ...], coefficients: np.ndarray) -> dict[str, float]:
    """Say how close neutral is to minus the sum of the others.

    Softmax targets sum to 1, so the coefficients of a regression that is linear in its targets sum
    to nought: exactly so for the squared loss without a tube and with a free intercept, while a
    penalised intercept leaves a rest that fades as samples are added.

    Returns:
        `neutral_cosine`, of neutral with minus the sum of the others, and `neutral_residual`, the
        norm of the sum of all over that of neutral. Empty without a class "neutral".
    """
    if "neutral" not in names:
        return {}
    neutral = coefficients[names.index("neutral")]
    others = coefficients.sum(0) - neutral
    length = np.linalg.norm(neutral)
    return {
        "neutral_cosine": float(-neutral @ others / (length * np.linalg.norm(others))),
        "neutral_residual": float(np.linalg.norm(neutral + others) / length),
    }


def shares_above(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return the share of samples [T, E] above each threshold [T] of probability (Figure 4)."""
    return np.stack([(probabilities > threshold).mean(0) for threshold in thresholds])


def _deviations(x: np.ndarray, mean: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Standard deviation [E] of ⟨x, unit⟩ over samples."""
    projected = (x - mean.astype(np.float32)) @ units.T.astype(np.float32)
    return np.sqrt(np.square(projected, dtype=np.float64).mean(0))


def _product(a: np.ndarray, b: np.ndarray, rows: int = 16_384) -> np.ndarray:
    """aᵀb of float32 rows, summed in float64 block by block."""
    blocks = range(0, len(a), rows)
    return sum(
        (a[start : start + rows].T @ b[start : start + rows]).astype(np.float64) for start in blocks
    )
