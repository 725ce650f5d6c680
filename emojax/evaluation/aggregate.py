"""Rows of Table I from stored measurements."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emojax.evaluation import standard_errors, unit_judge
from emojax.evaluation.ground_truth import GroundTruth
from emojax.evaluation.inputs import Targets
from emojax.evaluation.run import SOURCES, TRUTH
from emojax.evaluation.table import ALL, ORIGINAL, Row
from emojax.metrics.comparison import TITLES as MEASURES
from emojax.metrics.emotion_score import emotion_score
from emojax.metrics.fid import Gaussian, Moments, frechet_distance, kernel_distance
from emojax.store.block_store import Arrays, BlockStore

TOLERANCE = 2.0
"""An identity attribute is kept if its prediction is within so many root mean square errors of the
regressor of the true value."""
EXPLAINED = 0.5
"""Only attributes count of which the regressor explains at least this share of the variance, on the
true pictures."""


class Criteria(NamedTuple):
    """How predicted attributes are compared with true ones.

    Attributes:
        identity: [A] attributes that do not depend on the expression and that the regressor
            predicts well enough.
        expression: [A] attributes that depend on the expression.
        tolerance: [A] largest error of an attribute that counts as kept.
    """

    identity: np.ndarray
    expression: np.ndarray
    tolerance: np.ndarray


class Summary:
    """Computes rows from the parts of a store."""

    def __init__(
        self, store: BlockStore, targets: Targets, classes: Sequence[str], truth: GroundTruth | None
    ) -> None:
        """Read what results are compared with.

        Args:
            store: with complete parts.
            targets: T targets, with the classifier's logits.
            classes: the classifier's K classes, lower case.
            truth: of the sources, where it is known.

        Raises:
            UserError: a block is missing or damaged.
        """
        self.store, self.targets = store, targets
        self.indices = [classes.index(name) for name in targets.names]
        self._measured: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        self.sources = store.read(SOURCES)
        self.gaussian = _gaussian(self.sources.get("features"))
        self.truth = store.read(TRUTH) if truth else {}
        self.criteria = None
        if truth and "attributes" in self.truth:
            identity = np.isin(truth.attributes, truth.identity)
            self.criteria = criteria(self.truth["attributes"], self.truth["true"], identity)

    def truth_rows(self) -> list[Row]:
        """Return the rows of the true pictures, an upper bound; empty without ground truth."""
        return self._rows("", TRUTH, self.truth) if self.truth else []

    def original_row(self, inverter: str, part: str) -> Row:
        """Return the row of an inverter's reconstructions, compared with the sources themselves."""
        seconds = ("invert_seconds", "draw_seconds")
        names = ("logits", "features", "attributes", *MEASURES, *seconds)  # no tuned generators
        found = self.store.read(f"{part}/{ORIGINAL}", names)
        score = emotion_score(found["logits"], self.sources["logits"])
        values = {
            "emotion_score": float(score.softmax.mean()),
            "emotion_score_log": float(score.log.mean()),
            "top1": float(score.top1.mean()),
            **_alike(found),
            "seconds": float(np.median(found["invert_seconds"] + found["draw_seconds"])),
            **self._distances(found.get("features")),
        }
        predicted, true = found.get("attributes"), self.sources.get("true")
        if predicted is not None and true is not None:
            values |= {
                name: float(x.mean()) for name, x in self._attributes(predicted, true).items()
            }
        return Row(inverter, ORIGINAL, ALL, values)

    def transfer_rows(self, inverter: str, part: str, normaliser: str) -> list[Row]:
        """Return the rows of an inverter's transfers with one normaliser.

        The seconds are those of a transfer between two new faces: two inversions, two
        preparations, one picture.
        """
        found = self.store.read(f"{part}/{normaliser}")
        inverting = self.store.read(f"{part}/{ORIGINAL}", ("invert_seconds",))["invert_seconds"]
        twice = 2 * (inverting + found["prepare_seconds"])
        found["seconds"] = twice[:, None] + found["draw_seconds"]
        return self._rows(inverter, normaliser, found)

    def differences(self) -> list[Row]:
        """Return the paired differences of each inverter's normalisers from its first one.

        Two normalisers have the same sources and the same targets, so the errors of a difference
        are smaller than those of its two values.
        """
        rows, first = [], {}
        for (inverter, result), ours in self._measured.items():
            theirs = first.setdefault(inverter, (result, ours))
            if not inverter or theirs[0] == result:
                continue
            values = {name: ours[name] - theirs[1][name] for name in ours if name in theirs[1]}
            means = {name: float(x.mean()) for name, x in values.items() if np.isfinite(x).all()}
            errors = standard_errors.named(values, self.targets.people)
            rows.append(Row(inverter, f"{result} - {theirs[0]}", ALL, means | errors))
        return rows

    def _rows(self, inverter: str, result: str, found: Arrays) -> list[Row]:
        """Return the mean over the targets, and a row for each target."""
        people, each = self.targets.people, self._each(found)
        self._measured[inverter, result] = each
        rows = []
        for index, name in enumerate(self.targets.names):
            means = {key: array[:, index] for key, array in each.items()}
            values = {key: float(x[~np.isnan(x)].mean()) for key, x in means.items() if _any(x)}
            if "features" in found:
                values |= self._distances(found["features"][:, index])
            if "seconds" in found:
                values["seconds"] = float(np.median(found["seconds"][:, index]))
            columns = {key: array[:, index : index + 1] for key, array in each.items()}
            errors = standard_errors.named(columns, people)
            rows.append(Row(inverter, result, name, values | errors))
        keys = [key for key in rows[0].values if " se " not in key]
        mean = {
            key: float(np.mean([row.values[key] for row in rows]))
            for key in keys
            if all(key in row.values for row in rows)
        }
        overall = mean | standard_errors.named(each, people)
        return [Row(inverter, result, ALL, overall), *rows]

    def _each(self, found: Arrays) -> dict[str, np.ndarray]:
        """Return what is measured of each result by itself, [N,T] by name."""
        values: dict[str, list[np.ndarray]] = {}
        ids = np.arange(len(found["logits"]))
        for index in range(len(self.targets.names)):
            logits = found["logits"][:, index]
            score = emotion_score(logits, self.targets.logits[self.targets.rows(index, ids)])
            one = {
                "emotion_score": score.softmax,
                "emotion_score_log": score.log,
                "top1": np.float64(logits.argmax(1) == self.indices[index]),
                **{name: np.float64(found[name][:, index]) for name in MEASURES if name in found},
            }
            if self.truth and "attributes" in found:
                predicted, true = found["attributes"][:, index], self.truth["true"][:, index]
                one |= self._attributes(predicted, true)
            for name, array in one.items():
                values.setdefault(name, []).append(array)
        return {name: np.stack(some, 1) for name, some in values.items()} | self._units(found)

    def _units(self, found: Arrays) -> dict[str, np.ndarray]:
        """Return how near the action units are that are read in results and in true pictures."""
        if self.criteria is None or "attributes" not in found or not self.criteria.expression.any():
            return {}
        ours, true = (
            each["attributes"][..., self.criteria.expression] for each in (found, self.truth)
        )
        values = {"unit_error": np.abs(np.float64(ours) - true).mean(-1)}
        judged = unit_judge.recognised(ours, true)
        return values if judged is None else values | {"unit_judge": judged}

    def _distances(self, features: np.ndarray | None) -> dict[str, float]:
        """Return Fréchet and kernel distance between pictures and the sources."""
        ours = _gaussian(features)
        if self.gaussian is None or features is None or ours is None:
            return {}
        subsets = 1 if len(features) <= 1000 else 100  # a subset of all rows is always the same
        return {
            "frechet": frechet_distance(ours, self.gaussian),
            "kernel": kernel_distance(features, self.sources["features"], subsets=subsets),
        }

    def _attributes(self, predicted: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
        """Return the errors [N] of predicted attributes [N,A], and the share of identity kept."""
        if self.criteria is None:
            return {}
        error = np.abs(np.float64(predicted) - true)
        identity, expression, tolerance = self.criteria
        values = {"attribute_error": error.mean(1)}
        if expression.any():
            values["attribute_error_expression"] = error[:, expression].mean(1)
        if identity.any():
            kept = error[:, identity] <= tolerance[identity]
            values["attribute_error_identity"] = error[:, identity].mean(1)
            values["identity_kept"] = kept.mean(1)
        return values


def criteria(predicted: np.ndarray, true: np.ndarray, identity: np.ndarray) -> Criteria:
    """Return the criteria that a regressor is good for, from its predictions of true pictures.

    Args:
        predicted: [...,A] attributes.
        true: [...,A] attributes.
        identity: [A] bool, which do not depend on the expression.
    """
    width = predicted.shape[-1]
    error = np.square(predicted - true).reshape(-1, width).mean(0)
    variance = true.reshape(-1, width).var(0)
    explained = (variance > 0) & (error <= (1 - EXPLAINED) * variance)
    return Criteria(identity & explained, ~identity, TOLERANCE * np.sqrt(error))


def notes(summary: Summary, *, distance: str | None, about: Mapping[str, Any]) -> list[str]:
    """Return explanations of the table.

    Args:
        summary: that the rows came from.
        distance: part of the bundle whose features distances are measured in.
        about: settings of the run, with "samples", "sources", "device" and "batch".
    """
    names = summary.targets.names
    found = [
        f"{about['samples']} sources ({about['sources']}), {len(names)} emotions "
        f"({', '.join(names)}), {_several(summary.targets.people)}.",
        "original: reconstructions, compared with the sources themselves. Every other row is a "
        "mean over the targets; distances are of each set of results to the same sources.",
        "L2, PSNR, MS-SSIM, LPIPS and identity similarity compare one picture with one other, at "
        "256 pixels at most as HyperStyle's scripts do: a reconstruction with its source, a "
        f"transfer with {'the true picture' if summary.truth else 'its source, too'}.",
        f"seconds: of one transfer between two new faces (two inversions, what the normaliser "
        f"does to both, one picture), on {about['device']}, in batches of {about['batch']}, "
        "without compilation; of the original row one inversion and one picture.",
    ]
    if distance == "features":
        found.append(
            "The distances are measured in the features of the bundle's own network: they are no "
            "FID or KID, and comparable only with each other."
        )
    elif distance is None:
        found.append("The bundle has neither inception nor features: no distances were measured.")
    return [*found, *_about_truth(summary)]


def _about_truth(summary: Summary) -> list[str]:
    """Return what explains the columns that only ground truth and several targets give."""
    found = []
    if summary.truth:
        found.append(
            "truth: the true pictures of the sources with the targets' expressions, which a "
            "perfect transfer would give."
        )
    if summary.targets.people > 1:
        found.append(
            "Standard errors over targets are told by the means of the sources that took each "
            "person, so they hold a part of the error over sources."
        )
    if summary.criteria is not None:
        identity, expression, tolerance = summary.criteria
        found.append(
            "attribute error: mean absolute error of predicted attributes. identity kept: share of "
            f"identity attributes predicted within {TOLERANCE:g} of the regressor's own root mean "
            f"square errors, of the {identity.sum()} of {len(tolerance) - expression.sum()} of "
            f"which it explains at least {EXPLAINED:.0%} of the variance on the true pictures. "
            "action-unit error: mean absolute difference of the units read in a result from those "
            "read in the true picture. units tell the emotion: how often a linear discriminant of "
            "those units, fitted on true pictures of other people, tells the target's emotion."
        )
    return found


def _several(people: int) -> str:
    if people == 1:
        return "one target person for each"
    return f"{people} target people for each, of whom every source takes one in turn"


def _alike(found: Arrays) -> dict[str, float]:
    """Return the means of what compares pairs, without nan: MS-SSIM of opposed contrasts."""
    kept = {name: found[name][~np.isnan(found[name])] for name in MEASURES if name in found}
    return {name: float(values.mean()) for name, values in kept.items() if values.size}


def _any(values: np.ndarray) -> bool:
    """Whether a measure gave a value at all; MS-SSIM of opposed contrasts gives none."""
    return not np.isnan(values).all()


def _gaussian(features: np.ndarray | None) -> Gaussian | None:
    return None if features is None else Moments.of(features).gaussian()
