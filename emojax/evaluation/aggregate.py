"""Rows of Table I from stored measurements."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emojax.evaluation.ground_truth import GroundTruth
from emojax.evaluation.inputs import Targets
from emojax.evaluation.run import ORIGINAL, SOURCES, TRUTH
from emojax.evaluation.table import ALL, Row
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
            **self._attributes(found.get("attributes"), self.sources.get("true")),
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

    def _rows(self, inverter: str, result: str, found: Arrays) -> list[Row]:
        """Return the mean over the targets, and a row for each target."""
        rows = []
        for index, name in enumerate(self.targets.names):
            one = {key: array[:, index] for key, array in found.items() if array.ndim > 1}
            rows.append(Row(inverter, result, name, self._values(index, one)))
        keys = rows[0].values
        mean = {key: float(np.mean([row.values[key] for row in rows])) for key in keys}
        return [Row(inverter, result, ALL, mean), *rows]

    def _values(self, index: int, found: Arrays) -> dict[str, float]:
        """Return the values of N pictures that should show one target's expression."""
        score = emotion_score(found["logits"], self.targets.logits[index])
        right = found["logits"].argmax(1) == self.indices[index]
        values = {
            "emotion_score": float(score.softmax.mean()),
            "emotion_score_log": float(score.log.mean()),
            "top1": float(right.mean()),
            **self._distances(found.get("features")),
        }
        values |= _alike(found)
        if "seconds" in found:
            values["seconds"] = float(np.median(found["seconds"]))
        true = self.truth["true"][:, index] if self.truth else None
        return values | self._attributes(found.get("attributes"), true)

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

    def _attributes(
        self, predicted: np.ndarray | None, true: np.ndarray | None
    ) -> dict[str, float]:
        """Return the errors of predicted attributes, and the share of identity that is kept."""
        if self.criteria is None or predicted is None or true is None:
            return {}
        error = np.abs(predicted - true)
        identity, expression, tolerance = self.criteria
        values = {"attribute_error": float(error.mean())}
        if expression.any():
            values["attribute_error_expression"] = float(error[:, expression].mean())
        if identity.any():
            kept = error[:, identity] <= tolerance[identity]
            values["attribute_error_identity"] = float(error[:, identity].mean())
            values["identity_kept"] = float(kept.mean())
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
        f"{about['samples']} sources ({about['sources']}), {len(names)} targets "
        f"({', '.join(names)}).",
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
    if summary.truth:
        found.append(
            "truth: the true pictures of the sources with the targets' expressions, which a "
            "perfect transfer would give."
        )
    if summary.criteria is not None:
        identity, expression, tolerance = summary.criteria
        found.append(
            "attribute error: mean absolute error of predicted attributes. identity kept: share of "
            f"identity attributes predicted within {TOLERANCE:g} of the regressor's own root mean "
            f"square errors, of the {identity.sum()} of {len(tolerance) - expression.sum()} of "
            f"which it explains at least {EXPLAINED:.0%} of the variance on the true pictures."
        )
    return found


def _alike(found: Arrays) -> dict[str, float]:
    """Return the means of what compares pairs, without nan: MS-SSIM of opposed contrasts."""
    kept = {name: found[name][~np.isnan(found[name])] for name in MEASURES if name in found}
    return {name: float(values.mean()) for name, values in kept.items() if values.size}


def _gaussian(features: np.ndarray | None) -> Gaussian | None:
    return None if features is None else Moments.of(features).gaussian()
