"""One face's expression on another: Equations 3 and 4 of the paper, with five normalisers.

With SC and TC the codes of source and target, and a *base* for each, the code without expression,

    (TC − TC_base) + SC_base                                         Equation 3
    α (TC − TC_base) + (1 − α) (SC − SC_base) + SC_base              Equation 4; α = 1 is Equation 3

A normaliser says what the base is, and may correct what the equations give: "reinvert", the
paper's, and "none" are in `emojax.latents.reinversion`, "subspace" and "subspace-scores" in
`emojax.latents.subspace`, "means" in `emojax.latents.mean_codes`.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from emojax.latents.bases import Normalising, Prepared, Resources
from emojax.latents.codes import Inversion
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inverter
from emojax.latents.mean_codes import MeanCodes
from emojax.latents.reinversion import Reinversion, Unchanged
from emojax.latents.subspace import Exchange
from emojax.models.efficientnet import EmotionNet
from emojax.runtime.choices import NORMALISERS, Crop, K, Normaliser, Projection
from emojax.runtime.errors import UserError

METHODS: dict[Normaliser, Callable[[Resources], Normalising]] = {
    "reinvert": Reinversion,
    "none": Unchanged,
    "subspace": Exchange,
    "subspace-scores": functools.partial(Exchange, oblique=True),
    "means": MeanCodes,
}
"""What makes each normaliser."""


@dataclasses.dataclass(frozen=True, eq=False)
class Transferrer:
    """A normaliser bound to its networks and directions; a face is prepared once for all its pairs.

        prepared = transferrer.prepare(inversion.invert(inverter, pictures))
        result = combine(prepared[0], prepared[1:], alpha=0.8)

    Attributes:
        inverter: the networks of one method.
        directions: those of the bundle.
        normaliser: see the module.
        k: Equation 2's step, for "reinvert" and "none".
        projection: Equation 2's f, see `editing.neutralise`; for a subspace, "plain" or "layer".
        batch: faces at a time.
        classifier: the emotion classifier, for "means".
        crop: what it sees of a picture.

    Raises:
        UserError: an unknown normaliser, one that this projection is not for, or one that needs
            what the directions or networks lack.
    """

    inverter: Inverter
    directions: Directions
    normaliser: Normaliser = "reinvert"
    k: float = K
    projection: Projection = "plain"
    batch: int = 4
    classifier: EmotionNet | None = None
    crop: Crop = "face"

    def __post_init__(self) -> None:
        if self.normaliser not in METHODS:
            known = ", ".join(METHODS)
            raise UserError(f"normaliser is {self.normaliser!r}, wanted one of {known}")
        projections = NORMALISERS[self.normaliser].projections
        if self.projection not in projections:
            wanted = " or ".join(map(repr, projections))
            raise UserError(
                f"projection is {self.projection!r}, wanted {wanted} with the normaliser "
                f"{self.normaliser}"
            )
        check(self.normaliser, self.directions)
        _ = self.method

    @functools.cached_property
    def method(self) -> Normalising:
        """The normaliser itself."""
        return METHODS[self.normaliser](
            Resources(
                self.inverter,
                self.directions,
                self.classifier,
                self.k,
                self.projection,
                self.batch,
                self.crop,
            )
        )

    def prepare(self, faces: Inversion, photographs: np.ndarray | None = None) -> Prepared:
        """Return faces with their neutral codes and bases.

        Args:
            faces: made by the same networks.
            photographs: uint8 [N,S,S,3] that they were found in, as large as the generator's
                pictures; None where they are not of them. "means" reads expressions in them.

        Raises:
            UserError: other networks made the faces, or a direction is missing.
        """
        return self.method.prepare(faces, photographs)


def combine(source: Prepared, target: Prepared, alpha: ArrayLike = 1.0) -> Inversion:
    """Return the sources with the targets' expressions: Equation 4, at α = 1 Equation 3.

    Args:
        source: N faces, or one.
        target: N faces, or one, prepared by the same normaliser.
        alpha: α, one number or N: 1 gives the target's expression, 0 the source's own. One source
            and one target with N numbers give N results that share one face's kernels.

    Returns:
        N faces, to be drawn with `inversion.synthesize`.

    Raises:
        ValueError: N differs, or different networks or normalisers made the faces.
    """
    if source.face.made_with != target.face.made_with:
        raise ValueError(
            f"source and target were inverted by different networks "
            f"({source.face.made_with[:12]}, {target.face.made_with[:12]}): wanted the same"
        )
    if type(source.by) is not type(target.by):
        raise ValueError("source and target were prepared by different normalisers: wanted one")
    alpha = jnp.asarray(alpha, jnp.float32).reshape(-1, 1, 1)
    if len({len(source), len(target), len(alpha)} - {1}) > 1:
        raise ValueError(
            f"{len(source)} sources, {len(target)} targets and {len(alpha)} values of alpha: "
            "wanted one of each, or as many"
        )
    return source.by.combine(source, target, alpha)


def available(directions: Directions) -> list[Normaliser]:
    """Return the normalisers that some directions have everything for."""
    has_means = directions.means is not None
    return [name for name, kind in NORMALISERS.items() if has_means or not kind.reads]


def check(normaliser: Normaliser, directions: Directions) -> None:
    """Refuse a normaliser that some directions lack something for.

    Raises:
        UserError: they do; says what to do.
    """
    if normaliser not in available(directions):
        others = ", ".join(available(directions))
        raise UserError(
            f"the directions have no mean codes, which the normaliser {normaliser} wants: fit them "
            f"again with 'emojax directions', or take another normaliser of {others}"
        )


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A transfer and what it was made of.

    Attributes:
        result: the N results.
        source, target: the faces with their neutral codes and bases.
    """

    result: Inversion
    source: Prepared
    target: Prepared


def transfer(
    inverter: Inverter,
    directions: Directions,
    source: Inversion,
    target: Inversion,
    *,
    normaliser: Normaliser = "reinvert",
    k: float = K,
    alpha: ArrayLike = 1.0,
    projection: Projection = "plain",
    batch: int = 4,
    classifier: EmotionNet | None = None,
) -> Transfer:
    """Give the sources the targets' expressions; many pairs of few faces: see `Transferrer`.

    Args:
        inverter: the networks that inverted both.
        directions: those of the bundle.
        source: N faces, or one.
        target: N faces, or one.
        normaliser: what the base is, see the module.
        k: Equation 2's step.
        alpha: α, see `combine`.
        projection: see `Transferrer`.
        batch: faces at a time.
        classifier: see `Transferrer`.

    Raises:
        UserError: see `Transferrer`.
        ValueError: see `combine`.
    """
    ready = Transferrer(inverter, directions, normaliser, k, projection, batch, classifier)
    sources, targets = ready.prepare(source), ready.prepare(target)
    return Transfer(combine(sources, targets, alpha), sources, targets)
