"""Faces with their bases, and what a normaliser is.

A new normaliser is a file with a `Normalising`, a line in `METHODS` of `emojax.latents.normalisers`
and one in `NORMALISERS` of `emojax.runtime.choices`; nothing else asks which one it is.
"""

import dataclasses
from typing import NamedTuple, Protocol

import jax
import numpy as np

from emojax.latents.codes import Inversion
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inverter
from emojax.models.efficientnet import EmotionNet
from emojax.runtime.choices import Crop, Projection


class Resources(NamedTuple):
    """What normalisers are made from.

    Attributes:
        inverter: the networks of one method.
        directions: those of the bundle.
        classifier: the emotion classifier; None: there is none.
        k: Equation 2's step.
        projection: Equation 2's f, see `arithmetic.neutralise`; for a subspace, "plain" or "layer".
        batch: faces at a time.
        crop: what the classifier sees of a picture.
    """

    inverter: Inverter
    directions: Directions
    classifier: EmotionNet | None
    k: float
    projection: Projection
    batch: int
    crop: Crop


class Readings(NamedTuple):
    """Emotion probabilities of N faces, [N,K] each.

    Attributes:
        own: of the face as it is drawn, which a transfer starts from.
        shown: of its expression as a target, which a transfer is to show.
    """

    own: jax.Array
    shown: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prepared:
    """Faces with their bases, ready to give or take an expression; a pytree.

    Attributes:
        face: the N faces as they were inverted.
        neutral: without expression, by Equation 2 or by the normaliser's own way.
        base: what Equation 3 subtracts and adds: `neutral`, or its re-inversion.
        by: the normaliser, which combines the faces with others.
        readings: what the classifier says of the faces, where the normaliser asks it.
    """

    face: Inversion
    neutral: Inversion
    base: Inversion
    by: "Normalising" = dataclasses.field(metadata={"static": True})
    readings: Readings | None = None

    def __len__(self) -> int:
        return len(self.face)

    def __getitem__(self, faces: int | slice | np.ndarray) -> "Prepared":
        """Return some of the faces; the batch axis stays, also for a single index."""
        rows = np.atleast_1d(np.arange(len(self))[faces])  # IndexError where there is no such face
        readings = jax.tree.map(lambda array: array[rows], self.readings)
        return Prepared(self.face[rows], self.neutral[rows], self.base[rows], self.by, readings)


class Normalising(Protocol):
    """A normaliser bound to its networks and directions."""

    def prepare(self, faces: Inversion, photographs: np.ndarray | None) -> Prepared:
        """Return faces with their bases.

        Args:
            faces: N of them.
            photographs: uint8 [N,S,S,3] that they were found in; None where they are not of them.
        """
        ...

    def combine(self, source: Prepared, target: Prepared, alpha: jax.Array) -> Inversion:
        """Return the sources with the targets' expressions.

        Args:
            source: N faces, or one.
            target: N faces, or one.
            alpha: [N,1,1], or one.
        """
        ...


def equation_4(source: Prepared, target: Prepared, alpha: jax.Array) -> Inversion:
    """Return α (TC − TC_base) + (1 − α) (SC − SC_base) + SC_base; arguments as for `Normalising`.

    HyperStyle's kernel changes are those of the source's base, whose code is being moved: the
    person is in them.
    """
    theirs = target.face.w_plus - target.base.w_plus
    own = source.face.w_plus - source.base.w_plus
    return source.base.with_codes(alpha * theirs + (1 - alpha) * own + source.base.w_plus)
