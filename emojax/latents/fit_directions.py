"""Fit latent directions to scored samples, by the paper's regression or one of other methods.

Each method maps codes X [n, D] and scores Y [n, E] (class probabilities, and where the classifier
regresses them valence and arousal) to linear scores, score_e(w) = coefficients[e] · w +
intercepts[e]; the direction is the unit vector along coefficients[e].
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from emojax.latents import emotion_means, hosvd
from emojax.latents.directions import Directions
from emojax.latents.fit_config import FitConfig
from emojax.latents.structured_codes import StructuredCodes
from emojax.runtime.choices import NEUTRAL, FitMethod
from emojax.runtime.errors import UserError
from emojax.store.score_table import Scored
from emojax.svr import SVRConfig, fit_svr

logger = logging.getLogger(__name__)


class Linear(NamedTuple):
    """E linear scores, float64.

    Attributes:
        coefficients: [E, D], or [E, L, D] where every layer of W+ has its own.
        intercepts: [E].
        facts: settings and results of the method, JSON-able, for the metadata.
    """

    coefficients: np.ndarray
    intercepts: np.ndarray
    facts: dict[str, Any]


class Quality(NamedTuple):
    """How well linear scores predict the classifier's on held-out samples.

    Attributes:
        r2: [E] coefficient of determination, at most 1; 0 is no better than the mean.
        spearman: [E] rank correlation.
    """

    r2: np.ndarray
    spearman: np.ndarray


def svr_config(x: np.ndarray, config: FitConfig) -> SVRConfig:
    """Return the settings of the regression for codes [n, D].

    The fit minimises (1/n) Σᵢ loss(yᵢ − w·xᵢ − b) + r v ‖w‖², r being `config.regularisation` and v
    the mean variance of the codes' D coordinates. The first term is a mean over samples, and v ‖w‖²
    has no unit of W: neither the number of samples nor the scale of W changes the direction. With
    the squared loss and ε = 0, w = (Cov(x) + r v I)⁻¹ Cov(x, y): r v is added to the variance of
    every axis, which keeps the direction out of axes along which codes hardly differ.

    scikit-learn's C, the weight of a sum over samples against ½‖w‖², is therefore 1 / (2 r v n). It
    is 4e-4 for the 54,000 of 60,000 samples that the demo bundle was fitted on.

    Raises:
        UserError: all codes are the same.
    """
    mean = x.mean(0, dtype=np.float64).astype(np.float32)
    squares = sum(np.square(part - mean, dtype=np.float64).sum() for part in _blocks(x))
    variance = squares / x.size
    if variance == 0:
        raise UserError(f"all {len(x)} codes are the same: score a generator that draws many faces")
    return SVRConfig(
        loss="squared_epsilon_insensitive" if config.loss == "squared" else "epsilon_insensitive",
        C=1 / (2 * config.regularisation * variance * len(x)),
        epsilon=config.epsilon,
        intercept=config.intercept,
        tol=config.tol,
    )


def fit(scored: Scored, config: FitConfig, structured: StructuredCodes | None = None) -> Directions:
    """Fit one direction per score on most of the samples and validate it on the rest.

    Args:
        scored: codes and scores.
        config: method and split.
        structured: what method "tensor" decomposes; its emotions get a direction.

    Returns:
        Directions in W, of method "tensor" in W+, with the steps between mean faces. Their metadata
        holds method, samples, r2 and spearman by name, what `opposition` returns, and the settings
        of the run that scored the samples.

    Raises:
        UserError: too few samples, or a score that never changes.
    """
    settings = scored.settings
    names, codes, scores = (
        settings.scores,
        scored.codes.astype(np.float32, copy=False),
        scored.scores,
    )
    if structured is not None:
        names, scores = _of_emotions(structured, names, scores)
    train = _training_size(names, scores, config)
    x, y = codes[:train], scores[:train]
    if structured is not None:
        found = tensor(x, structured, config)
    else:
        found = _METHODS[config.method](x, y, config)
    quality = validate(found, x, y, codes[train:], scores[train:], config.method)
    mean = x.mean(0, dtype=np.float64)
    flat = found.coefficients.reshape(len(names), -1)
    units = found.coefficients / np.linalg.norm(flat, axis=1).reshape(
        -1, *[1] * (found.coefficients.ndim - 1)
    )
    metadata = {
        "method": config.method,
        **found.facts,
        "samples": train,
        "held_out": len(codes) - train,
        "r2": dict(zip(names, quality.r2.tolist(), strict=True)),
        "spearman": dict(zip(names, quality.spearman.tolist(), strict=True)),
        **opposition(names, flat, settings.classes),
        "generator_sha256": settings.generator_sha256,
        "scores": settings.record(),
    }
    sigma = _deviations(x, mean, _in_w(units))
    means = emotion_means.fit(scored)
    return Directions(
        names, found.coefficients, found.intercepts, mean, sigma, metadata, means=means
    )


def _training_size(names: tuple[str, ...], scores: np.ndarray, config: FitConfig) -> int:
    """Return how many of the samples are fitted.

    Raises:
        UserError: too few samples, or a score that never changes.
    """
    count = len(scores)
    train = round(count * (1 - config.held_out))
    if train < 2 or count - train < 2:
        raise UserError(
            f"{count} scored samples of which {config.held_out:g} are held out: wanted at least 2 "
            "to fit and 2 to validate on; score more"
        )
    parts = scores[:train], scores[train:]
    constant = np.any([np.ptp(part, axis=0) == 0 for part in parts], axis=0)
    if constant.any():
        raise UserError(
            f"the score of {names[int(constant.argmax())]} is the same in all samples: score more, "
            "or use a classifier that tells these pictures apart"
        )
    return train


def doubts(found: Directions) -> list[str]:
    """Return a sentence for each reason not to use fitted directions; empty where there is none.

    Args:
        found: what `fit` returned.
    """
    said, facts = [], found.metadata
    if poor := [name for name in found.names if not facts["r2"][name] > 0]:
        said.append(
            f"on {facts['held_out']:,} held-out samples the fit predicts {', '.join(poor)} no "
            f"better than the mean does (R² {min(facts['r2'].values()):.2f} at worst)"
        )
    if facts["samples"] < found.coefficients.shape[-1]:
        said.append(
            f"{facts['samples']:,} samples are fewer than a code's {found.coefficients.shape[-1]} "
            "numbers"
        )
    return said


def regression(x: np.ndarray, y: np.ndarray, config: FitConfig) -> Linear:
    """Return the linear support vector regression of each column of y on x, the paper's method."""
    settings = svr_config(x, config)
    found = fit_svr(x, y, settings)
    facts = {
        "loss": settings.loss,
        "regularisation": config.regularisation,
        "C": settings.C,
        "epsilon": settings.epsilon,
        "intercept": settings.intercept,
        "gap": float(found.gap.max()),
    }
    return Linear(found.coef, found.intercept, facts)


def extremes(x: np.ndarray, y: np.ndarray, config: FitConfig) -> Linear:
    """Return the linear SVM that separates each score's highest samples from its lowest.

    Source: genforce/interfacegan `utils/manipulator.py`, `train_boundary`, with liblinear in place
    of libsvm, whose time grows with the square of the samples. Coefficients and intercepts are the
    SVM's: the score is 0 on its boundary.
    """
    count = min(config.extremes, len(x) // 2)
    if count < config.extremes:
        logger.info("%d samples: the %d at either end are used", len(x), count)
    rows = []
    for column in y.T:
        order = np.argsort(column, kind="stable")
        ends = np.concatenate([order[:count], order[-count:]])
        # the primal form, whatever n and D: `dual` takes bool or "auto"
        machine = LinearSVC(dual=False, random_state=0)  # pyright: ignore[reportArgumentType]
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                machine.fit(x[ends], np.repeat([0, 1], count))
            except ConvergenceWarning as warning:
                raise UserError(
                    f"the SVM of method extremes did not converge ({warning}): score more samples"
                ) from warning
        rows.append((np.asarray(machine.coef_)[0], np.asarray(machine.intercept_)[0]))
    coefficients, intercepts = (np.array(part, np.float64) for part in zip(*rows, strict=True))
    return Linear(coefficients, intercepts, {"extremes": count})


def components(x: np.ndarray, y: np.ndarray, _config: FitConfig) -> Linear:
    """Return for each score the principal component of W that correlates most with it.

    Source: GANSpace (Härkönen et al. 2020), where people name the components; here a score gets the
    component of highest absolute correlation with it, scaled to predict it.
    """
    mean, target = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    centred = x - mean.astype(np.float32)
    covariance = _product(centred, centred) / len(x)
    variance, basis = np.linalg.eigh(covariance)
    variance, basis = variance[::-1].clip(0), basis[:, ::-1]
    slopes = _product(y - target.astype(np.float32), centred) / len(x) @ basis  # covariances [E, D]
    varies = variance > variance[0] * 1e-12  # smaller ones are rounding errors of float32 codes
    gain = np.where(varies, slopes / np.sqrt(np.where(varies, variance, 1)), 0)
    best = np.abs(gain).argmax(1)
    slope = slopes[np.arange(len(best)), best] / variance[best]
    coefficients = slope[:, None] * basis[:, best].T
    facts = {
        "component": best.tolist(),
        "variance_share": (variance[best] / variance.sum()).tolist(),
    }
    return Linear(coefficients, target - coefficients @ mean, facts)


def tensor(x: np.ndarray, structured: StructuredCodes, config: FitConfig) -> Linear:
    """Return the direction of each emotion of structured codes by HOSVD, in W+.

    Scores are 0 at the mean code, and no probabilities.

    Raises:
        UserError: the ranks do not fit the codes.
    """
    layers, width, *shape = structured.codes.shape
    if width != x.shape[1]:
        raise UserError(f"the faces have codes of {width} numbers, the scored ones {x.shape[1]}")
    try:
        codes = structured.codes.reshape(layers * width, *shape)
        found = hosvd.decompose(codes, config.ranks, config.truncation)
    except ValueError as error:
        raise UserError(f"the codes cannot be decomposed: {error}") from error
    coefficients = found.emotions().reshape(-1, layers, width)
    facts = {
        "modes": shape,
        "of": structured.origin,
        "ranks": list(found.core.shape),
        "truncation": config.truncation if config.ranks else "none",
    }
    return Linear(coefficients, -_in_w(coefficients) @ x.mean(0, dtype=np.float64), facts)


def _of_emotions(
    structured: StructuredCodes, names: tuple[str, ...], scores: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of structured codes, and their columns of the scores.

    Raises:
        UserError: an emotion that the classifier does not know.
    """
    if unknown := [name for name in structured.emotions if name not in names]:
        raise UserError(
            f"the faces show {unknown[0]!r:.60}, which was not scored: wanted {', '.join(names)}"
        )
    return structured.emotions, scores[:, [names.index(n) for n in structured.emotions]]


def _in_w(coefficients: np.ndarray) -> np.ndarray:
    """Return coefficients [E, D] for codes of W, which are the same in all layers."""
    return coefficients.sum(1) if coefficients.ndim == 3 else coefficients


_METHODS = {"svr": regression, "extremes": extremes, "pca": components}
UNSCALED = ("extremes", "tensor")
"""Methods whose scores are on a scale of their own."""


def validate(
    found: Linear,
    x: np.ndarray,
    y: np.ndarray,
    held_x: np.ndarray,
    held_y: np.ndarray,
    method: FitMethod,
) -> Quality:
    """Compare linear scores with the classifier's scores of held-out samples.

    Where linear scores are on a scale of their own, a straight line, fitted by least squares to the
    training samples, maps them to the classifier's first.

    Args:
        found: the method's result.
        x: [n, D] training codes.
        y: [n, E] training scores of the classifier.
        held_x: [m, D] held-out codes.
        held_y: [m, E] held-out scores.
        method: the method.
    """
    coefficients = _in_w(found.coefficients)
    predicted = held_x @ coefficients.T + found.intercepts
    if method in UNSCALED:
        scores = x @ coefficients.T + found.intercepts
        centred = scores - scores.mean(0)
        slope = (centred * (y - y.mean(0))).sum(0) / (centred**2).sum(0)
        predicted = y.mean(0) + slope * (predicted - scores.mean(0))
    residual = ((held_y - predicted) ** 2).sum(0)
    r2 = 1 - residual / ((held_y - held_y.mean(0, dtype=np.float64)) ** 2).sum(0)
    columns = zip(predicted.T, held_y.T, strict=True)
    return Quality(r2, np.array([scipy.stats.spearmanr(a, b)[0] for a, b in columns]))


def opposition(
    names: Sequence[str], coefficients: np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """Measure how far the neutral direction is minus the sum of the other classes'.

    Softmax probabilities sum to 1, so the coefficients of a regression that is linear in its
    targets sum to 0: exactly for the squared loss with ε = 0 and a free intercept; with a penalised
    intercept the sum shrinks as samples are added.

    Args:
        names: of the scores.
        coefficients: [E, M].
        classes: those of the scores that are probabilities, in any case.

    Returns:
        `neutral_cosine`, the cosine of neutral and minus the sum of the others, and
        `neutral_residual`, the norm of the sum of all over that of neutral. Empty without a class
        "neutral".
    """
    known = {name.lower() for name in classes}
    rows = {name: row for name, row in zip(names, coefficients, strict=True) if name in known}
    if NEUTRAL not in rows:
        return {}
    neutral = rows[NEUTRAL]
    others = np.sum([*rows.values()], 0) - neutral
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


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """aᵀb of float32 rows, summed in float64 block by block."""
    total = np.zeros((a.shape[1], b.shape[1]))
    for first, second in zip(_blocks(a), _blocks(b), strict=True):
        total += first.T @ second
    return total


def _blocks(rows: np.ndarray, size: int = 16_384) -> Iterator[np.ndarray]:
    """Cut rows into blocks, so that no float64 copy of all of them is made."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
