"""The subspace normalisers: the span of the emotions' directions, exchanged.

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

import jax
import jax.numpy as jnp
import numpy as np

from emojax.latents.bases import Prepared, Resources, equation_4
from emojax.latents.codes import Inversion
from emojax.latents.directions import Directions
from emojax.models.generator import Generator
from emojax.runtime.choices import EMOTIONS
from emojax.runtime.errors import UserError
from emojax.scoring.sampling import sample_codes

SAMPLES = 20_000
"""Codes that the spread Σ is measured on."""
RANK = 1e-9
"""Eigenvalues of A Σ Aᵀ below this share of the largest are taken for 0: scores that sum to a
constant make one direction a combination of the others."""


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


class Exchange:
    """The normaliser "subspace", or with the codes' spread "subspace-scores"."""

    def __init__(self, given: Resources, *, oblique: bool = False) -> None:
        """Hold the networks.

        Args:
            given: inverter, directions and projection.
            oblique: project by the spread of the codes.

        Raises:
            UserError: none of the directions is an emotion.
        """
        self.given, self.oblique = given, oblique
        _emotions(given.directions)

    @functools.cached_property
    def subspace(self) -> Subspace:
        """The emotions' subspace, made at the first use."""
        generator = self.given.inverter.generator
        return emotion_subspace(
            self.given.directions,
            generator.config.n_latent,
            spread=code_spread(generator) if self.oblique else None,
            by_layer=self.given.projection == "layer",
        )

    def prepare(self, faces: Inversion, photographs: np.ndarray | None) -> Prepared:
        """Return faces with the mean face's coordinates as their bases; runs no network."""
        del photographs
        neutral = faces.with_codes(self.subspace.without(faces.w_plus))
        return Prepared(faces, neutral, neutral, self)

    def combine(self, source: Prepared, target: Prepared, alpha: jax.Array) -> Inversion:
        """Return Equation 4's result."""
        return equation_4(source, target, alpha)


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
    chosen = _emotions(directions)
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


def _emotions(directions: Directions) -> list[int]:
    """Return the numbers of the emotions among some directions.

    Raises:
        UserError: there are none.
    """
    chosen = [directions.index(name) for name in EMOTIONS if name in directions.names]
    if not chosen:
        raise UserError(
            f"the directions {', '.join(directions.names)} are none of {', '.join(EMOTIONS)}: "
            "the subspace normalisers want emotions"
        )
    return chosen


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
