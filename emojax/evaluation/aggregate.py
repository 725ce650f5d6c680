"""From measured results to the rows of Table I."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emojax.evaluation.ground_truth import World
from emojax.evaluation.run import ORIGINAL, SOURCES, TRUTH
from emojax.evaluation.table import ALL, Row
from emojax.metrics.emotion_score import emotion_score
from emojax.metrics.fid import Gaussian, Moments, frechet_distance, kernel_distance
from emojax.store.block_store import Arrays, BlockStore

TOLERANCE = 2.0
"""A factor counts as kept when it is judged within so many of the judge's own root mean square
errors of the truth, ..."""
KNOWN = 0.5
"""... and counts at all when the judge explains so much of its variance on the true pictures."""


class Yardstick(NamedTuple):
    """What the judge's reading of attributes is held against.

    Attributes:
        identity: [A] attributes that an expression leaves alone and that the judge can read.
        expression: [A] the attributes that an expression changes.
        tolerance: [A] how far a kept one may be off.
    """

    identity: np.ndarray
    expression: np.ndarray
    tolerance: np.ndarray


class Tabulation:
    """Turns the parts of a store into rows."""

    def __init__(
        self,
        store: BlockStore,
        names: Sequence[str],
        logits: np.ndarray,
        classes: Sequence[str],
        world: World | None,
    ) -> None:
        """Read what everything is compared with.

        Args:
            store: with complete parts.
            names: T targets.
            logits: [T,K], what the classifier says of them.
            classes: its K classes, lower case.
            world: where the truth is from, if it is known.

        Raises:
            UserError: a block is missing or damaged.
        """
        self.store, self.names, self.logits = store, names, logits
        self.indices = [classes.index(name) for name in names]
        self.sources = store.read(SOURCES)
        self.gaussian = _gaussian(self.sources.get("features"))
        self.truth = store.read(TRUTH) if world else {}
        self.yardstick = None
        if "attributes" in self.truth:
            identity = np.isin(world.attributes, world.identity)
            self.yardstick = yardstick(self.truth["attributes"], self.truth["true"], identity)

    def of_truth(self) -> list[Row]:
        """Return the rows of the true pictures: the best that can be had; none without a world."""
        return self._rows("", TRUTH, self.truth) if self.truth else []

    def of_original(self, inverter: str, part: str) -> list[Row]:
        """Return the row of the reconstructions, compared with the sources themselves."""
        found = self.store.read(f"{part}/{ORIGINAL}")
        score = emotion_score(found["logits"], self.sources["logits"])
        figures = {
            "emotion_score": float(score.softmax.mean()),
            "emotion_score_log": float(score.log.mean()),
            "top1": float(score.top1.mean()),
            "psnr": float(found["psnr"].mean()),
            "seconds": float(np.median(found["invert_seconds"] + found["draw_seconds"])),
            **self._distances(found.get("features")),
            **self._judged(found.get("attributes"), self.sources.get("true")),
        }
        return [Row(inverter, ORIGINAL, ALL, figures)]

    def of_normaliser(self, inverter: str, part: str, normaliser: str) -> list[Row]:
        """Return the rows of a method's transfers.

        The seconds are those of one pair of new faces: two inversions, two preparations, one
        picture.
        """
        found = self.store.read(f"{part}/{normaliser}")
        inverting = self.store.read(f"{part}/{ORIGINAL}", ("invert_seconds",))["invert_seconds"]
        twice = 2 * (inverting + found["prepare_seconds"])
        found["seconds"] = twice[:, None] + found["draw_seconds"]
        return self._rows(inverter, normaliser, found)

    def _rows(self, inverter: str, result: str, found: Arrays) -> list[Row]:
        """Return one row a target, and their mean before them."""
        rows = []
        for index, name in enumerate(self.names):
            one = {key: array[:, index] for key, array in found.items() if array.ndim > 1}
            rows.append(Row(inverter, result, name, self._figures(index, one)))
        keys = rows[0].figures
        mean = {key: float(np.mean([row.figures[key] for row in rows])) for key in keys}
        return [Row(inverter, result, ALL, mean), *rows]

    def _figures(self, index: int, found: Arrays) -> dict[str, float]:
        """Return the figures of N pictures that were to show one target's expression."""
        score = emotion_score(found["logits"], self.logits[index])
        right = found["logits"].argmax(1) == self.indices[index]
        figures = {
            "emotion_score": float(score.softmax.mean()),
            "emotion_score_log": float(score.log.mean()),
            "top1": float(right.mean()),
            **self._distances(found.get("features")),
        }
        if "psnr" in found:
            figures["psnr"] = float(found["psnr"].mean())
        if "seconds" in found:
            figures["seconds"] = float(np.median(found["seconds"]))
        true = self.truth["true"][:, index] if self.truth else None
        return figures | self._judged(found.get("attributes"), true)

    def _distances(self, features: np.ndarray | None) -> dict[str, float]:
        """Return the distances between some pictures' features and the sources'."""
        if self.gaussian is None or features is None:
            return {}
        subsets = 1 if len(features) <= 1000 else 100  # of all rows the draw is always the same
        ours = _gaussian(features)
        return {
            "frechet": frechet_distance(ours, self.gaussian),
            "kernel": kernel_distance(features, self.sources["features"], subsets=subsets),
        }

    def _judged(self, attributes: np.ndarray | None, true: np.ndarray | None) -> dict[str, float]:
        """Return how far judged attributes are from true ones, and how many factors are kept."""
        if self.yardstick is None or attributes is None:
            return {}
        off, measure = np.abs(attributes - true), self.yardstick
        known, expression = measure.identity, measure.expression
        figures = {"judge_error": float(off.mean())}
        if expression.any():
            figures["judge_error_expression"] = float(off[:, expression].mean())
        if known.any():
            kept = off[:, known] <= measure.tolerance[known]
            figures["judge_error_identity"] = float(off[:, known].mean())
            figures["kept"] = float(kept.mean())
        return figures


def yardstick(judged: np.ndarray, true: np.ndarray, identity: np.ndarray) -> Yardstick:
    """Return what the judge can tell, from its readings of pictures whose truth is known.

    Args:
        judged: [...,A] its readings.
        true: [...,A] the truth.
        identity: [A] bool, which attributes an expression leaves alone.
    """
    width = judged.shape[-1]
    error = np.square(judged - true).reshape(-1, width).mean(0)
    spread = true.reshape(-1, width).var(0)
    readable = (spread > 0) & (error <= (1 - KNOWN) * spread)
    return Yardstick(identity & readable, ~identity, TOLERANCE * np.sqrt(error))


def notes(tabulation: Tabulation, *, distance: str | None, about: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the table must know.

    Args:
        tabulation: what the rows came from.
        distance: the part of the bundle that distances are measured in.
        about: the run's settings, "samples" and "device" and "batch" among them.
    """
    said = [
        f"{about['samples']} sources ({about['sources']}) by {len(tabulation.names)} targets "
        f"({', '.join(tabulation.names)}).",
        "original: plain reconstructions, their emotion, distance and PSNR against the sources "
        "themselves. Every other row is a mean over the targets, each set of results against the "
        "same sources.",
        f"seconds: of one transfer between two new faces (two inversions, what the normaliser "
        f"does to both, one picture), on {about['device']}, in batches of {about['batch']}, "
        "compiled before; of the original row one inversion and one picture.",
    ]
    if distance == "features":
        said.append(
            "The distances are measured in the features of the bundle's own network: they are no "
            "FID and no KID, and compare with nothing but each other."
        )
    elif distance is None:
        said.append("The bundle has neither inception nor features: no distances were measured.")
    measure = tabulation.yardstick
    if tabulation.truth:
        said.append(
            "truth: the true pictures of the sources with the targets' expressions, what a perfect "
            "transfer would get. PSNR of the transfers is against them."
        )
    if measure is not None:
        width = len(measure.tolerance) - measure.expression.sum()
        said.append(
            "judge error: mean distance of the attributes judged from the true ones. factors kept: "
            f"share of identity factors judged within {TOLERANCE:g} of the judge's own root mean "
            f"square errors of the truth, of the {measure.identity.sum()} of {width} factors of "
            f"which it explains {KNOWN:.0%} or more of the variance on the true pictures."
        )
    return said


def _gaussian(features: np.ndarray | None) -> Gaussian | None:
    return None if features is None else Moments.of(features).gaussian()
