"""One face's expression on another: Equations 3 and 4 of the paper, with four normalisers.

With SC and TC the codes of source and target, and a *base* for each, the code without expression,

    (TC − TC_base) + SC_base                                         Equation 3
    α (TC − TC_base) + (1 − α) (SC − SC_base) + SC_base              Equation 4; α = 1 is Equation 3

A normaliser says what the base is. Write C_neu = f(C, ND) + k·ND for Equation 2's neutral face.

- "none": C_base = C_neu. Then TC − TC_neu = (⟨TC, ND⟩ − k) ND exactly, so whatever the target
  shows, only the source's neutral coordinate moves, to the target's: the result is
  SC + ⟨TC − SC, ND⟩ ND.
- "reinvert", the paper's: C_base = invert(synthesise(C_neu)). The encoder puts the drawn face where
  its own codes lie, and that moves more than one coordinate; but it also loses some of the person.
- "subspace", our answer to the paper's closing question for a numerical normaliser:
  C_base = C − P(C − μ), P the orthogonal projection onto the span of the emotions' directions and
  μ the mean code. The result is SC − P(SC − μ) + P(TC − μ) = SC + P(TC − SC): the target's code
  within the span, the source's outside it, without drawing or inverting anything. μ only says which
  face counts as having no expression; it cancels in the result.
- "subspace-scores": the same with an oblique P. Let A be the directions' rows, so that A·C are the
  regressors' scores but for scale and intercept. Of all moves Δ that give the source the target's
  scores, A Δ = A (TC − SC), this takes the one that is shortest by the codes' own spread Σ:
  Δ = Σ Aᵀ (A Σ Aᵀ)⁺ A (TC − SC) = P (TC − SC). It moves within the span of Σ Aᵀ, the directions in
  which real codes vary together with the scores, rather than in that of A. (The orthogonal P is
  this one with Σ = 1, so its result has the target's scores as well.)

A subspace counts in L·D space ("plain": every regressor reads the whole code), or in each layer by
itself ("layer"; the directions then give a span of their own in every layer). For codes that are
the same in all layers, as HyperStyle's, the two agree.
"""

import dataclasses
import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from emojax.latents import arithmetic, inversion
from emojax.latents.codes import Inversion, concatenate
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inverter
from emojax.models.generator import Generator
from emojax.nn.pooling import area_mean
from emojax.runtime.batching import batches
from emojax.runtime.choices import EMOTIONS, K, Normaliser, Projection
from emojax.runtime.errors import UserError
from emojax.scoring.sampling import sample_codes

SAMPLES = 20_000
"""Codes that the spread Σ is measured on."""
RANK = 1e-9
"""Eigenvalues of A Σ Aᵀ below this share of the largest are taken for 0: scores that sum to a
constant make one direction a combination of the others."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prepared:
    """Faces with their bases, ready to give or take an expression; a pytree.

    Attributes:
        face: the N faces as they were inverted.
        neutral: without expression: C_neu, or C − P(C − μ) for a subspace.
        base: what Equation 3 subtracts and adds: `neutral`, or its re-inversion.
    """

    face: Inversion
    neutral: Inversion
    base: Inversion

    def __len__(self) -> int:
        return len(self.face)

    def __getitem__(self, faces: int | slice | np.ndarray) -> "Prepared":
        """Return some of the faces; the batch axis stays, also for a single index."""
        return Prepared(self.face[faces], self.neutral[faces], self.base[faces])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Subspace:
    """A projection P of codes, and the code it is taken about; a pytree.

    The code counts as G vectors of M numbers: G = 1 and M = L·D, or G = L and M = D.

    Attributes:
        rows: [G,R,M]; the coordinates of a vector x are rows · x.
        columns: [G,R,M]; P x is the sum of the columns by the coordinates.
        mean: [L,D], μ.
    """

    rows: jax.Array
    columns: jax.Array
    mean: jax.Array

    def project(self, codes: jax.Array) -> jax.Array:
        """Return P C for codes [N,L,D]."""
        x = codes.reshape(len(codes), self.rows.shape[0], self.rows.shape[2])
        exact = jax.lax.Precision.HIGHEST
        coordinates = jnp.einsum("ngm,grm->ngr", x, self.rows, precision=exact)
        projected = jnp.einsum("ngr,grm->ngm", coordinates, self.columns, precision=exact)
        return projected.reshape(codes.shape)

    def without(self, codes: jax.Array) -> jax.Array:
        """Return C − P(C − μ) for codes [N,L,D]: the mean face's coordinates, all else kept."""
        return codes - self.project(codes - self.mean)


@dataclasses.dataclass(frozen=True)
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

    Raises:
        UserError: an unknown normaliser, or one that this projection is not for.
    """

    inverter: Inverter
    directions: Directions
    normaliser: Normaliser = "reinvert"
    k: float = K
    projection: Projection = "plain"
    batch: int = 4

    def __post_init__(self) -> None:
        if self.normaliser not in get_args(Normaliser):
            known = ", ".join(get_args(Normaliser))
            raise UserError(f"normaliser is {self.normaliser!r}, wanted one of {known}")
        if self.uses_subspace and self.projection not in ("plain", "layer"):
            raise UserError(
                f"projection is {self.projection!r}, wanted 'plain' or 'layer' with the normaliser "
                f"{self.normaliser}; 'plane' is for reinvert and none"
            )

    @property
    def uses_subspace(self) -> bool:
        """Whether the base comes from a subspace, not from Equation 2."""
        return self.normaliser.startswith("subspace")

    @functools.cached_property
    def subspace(self) -> Subspace:
        """The emotions' subspace, made at the first use."""
        generator = self.inverter.generator
        oblique = self.normaliser == "subspace-scores"
        return emotion_subspace(
            self.directions,
            generator.config.n_latent,
            spread=code_spread(generator) if oblique else None,
            by_layer=self.projection == "layer",
        )

    def prepare(self, faces: Inversion) -> Prepared:
        """Return faces with their neutral codes and bases.

        Only "reinvert" runs networks: one picture and one inversion a face, in as many passes as
        the faces had, in batches of one size.

        Args:
            faces: made by the same networks.

        Raises:
            UserError: other networks made the faces, or a direction is missing.
        """
        if self.uses_subspace:
            neutral = faces.with_codes(self.subspace.without(faces.w_plus))
            return Prepared(faces, neutral, neutral)
        codes = arithmetic.neutralise(
            faces.w_plus, self.directions, k=self.k, projection=self.projection
        )
        neutral = faces.with_codes(codes)
        if self.normaliser == "none":
            return Prepared(faces, neutral, neutral)
        return Prepared(faces, neutral, reinvert(self.inverter, neutral, batch=self.batch))


def combine(source: Prepared, target: Prepared, alpha: ArrayLike = 1.0) -> Inversion:
    """Return the sources with the targets' expressions: Equation 4, at α = 1 Equation 3.

    HyperStyle's kernel changes are those of the source's base, whose code is being moved: the
    person is in them.

    Args:
        source: N faces, or one.
        target: N faces, or one.
        alpha: α, one number or N: 1 gives the target's expression, 0 the source's own. One source
            and one target with N numbers give N results that share one face's kernels.

    Returns:
        N faces, to be drawn with `inversion.synthesize`.

    Raises:
        ValueError: N differs, or different networks made the faces.
    """
    if source.face.made_with != target.face.made_with:
        raise ValueError(
            f"source and target were inverted by different networks "
            f"({source.face.made_with[:12]}, {target.face.made_with[:12]}): wanted the same"
        )
    alpha = jnp.asarray(alpha, jnp.float32).reshape(-1, 1, 1)
    if len({len(source), len(target), len(alpha)} - {1}) > 1:
        raise ValueError(
            f"{len(source)} sources, {len(target)} targets and {len(alpha)} values of alpha: "
            "wanted one of each, or as many"
        )
    theirs = target.face.w_plus - target.base.w_plus
    own = source.face.w_plus - source.base.w_plus
    return source.base.with_codes(alpha * theirs + (1 - alpha) * own + source.base.w_plus)


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

    Raises:
        UserError: see `Transferrer`.
        ValueError: see `combine`.
    """
    ready = Transferrer(inverter, directions, normaliser, k, projection, batch)
    sources, targets = ready.prepare(source), ready.prepare(target)
    return Transfer(combine(sources, targets, alpha), sources, targets)


def reinvert(inverter: Inverter, faces: Inversion, *, batch: int = 4) -> Inversion:
    """Draw faces and invert the pictures: C' = invert(synthesise(C)).

    The encoder sees what a saved picture would show: colours clipped to [-1, 1], shrunk to its
    input's size by the mean over equal blocks.

    Args:
        inverter: the networks that made the faces.
        faces: N of them; HyperStyle runs as many passes as they had.
        batch: faces at a time; larger pictures than the encoder's are not kept.
    """
    count, found = len(faces), []
    for rows in batches(count, batch):
        drawn = inversion.synthesize(inverter, faces[rows], batch=batch)
        seen = area_mean(np.clip(drawn, -1, 1), inverter.resolution)
        found.append(inversion.invert(inverter, seen, passes=max(faces.passes, 1), batch=batch))
    return concatenate(found)[:count]


def emotion_subspace(
    directions: Directions,
    n_latent: int,
    *,
    spread: np.ndarray | None = None,
    by_layer: bool = False,
) -> Subspace:
    """Return the subspace of the emotions among some directions; other attributes are left alone.

    Args:
        directions: those of the bundle.
        n_latent: L, the generator's number of layers.
        spread: Σ [D,D], the covariance of W, for the oblique projection; None: the orthogonal one.
        by_layer: project every layer by itself, not the code as a whole.

    Raises:
        UserError: none of the directions is an emotion.
    """
    chosen = [directions.index(name) for name in EMOTIONS if name in directions.names]
    if not chosen:
        raise UserError(
            f"the directions {', '.join(directions.names)} are none of {', '.join(EMOTIONS)}: "
            "the subspace normalisers want emotions"
        )
    units = directions.tiled(n_latent)[chosen]  # [E,L,D]
    away = units if spread is None else _spread_out(units, spread, by_layer)
    if by_layer:
        rows, away = units.swapaxes(0, 1), away.swapaxes(0, 1)
    else:
        rows, away = (each.reshape(1, len(chosen), -1) for each in (units, away))
    values, vectors = np.linalg.eigh(np.einsum("gem,gfm->gef", rows, away))  # of A Σ Aᵀ
    kept = values > RANK * values.max(-1, keepdims=True)
    scale = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)
    factor = (vectors * scale[:, None, :]).swapaxes(1, 2)  # balanced, so that float32 will do
    rows, columns = factor @ rows, factor @ away
    mean = np.broadcast_to(directions.mean, units.shape[1:])
    return Subspace(*(jnp.asarray(each, jnp.float32) for each in (rows, columns, mean)))


def _spread_out(units: np.ndarray, spread: np.ndarray, by_layer: bool) -> np.ndarray:
    """Return A Σ [E,L,D]; a code drawn in W is the same in all layers, so Σ ties them together."""
    if by_layer:
        return units @ spread
    return np.broadcast_to(units.sum(1, keepdims=True) @ spread, units.shape)


def code_spread(generator: Generator, samples: int = SAMPLES) -> np.ndarray:
    """Return the covariance [D,D] (float64) of the codes w of the first sample ids."""
    return np.cov(
        np.asarray(sample_codes(generator, jnp.arange(samples)), np.float64), rowvar=False
    )
