"""Moving codes along directions, and to the neutral face: Equations 1 and 2 of the paper.

Codes are W+, [N, L, D], and a direction is one vector of the same L·D numbers. A direction found in
W is the same in every layer; as the unit vector of L·D space it moves each layer by 1/√L, so the
paper's k = 20 is 4.71 a layer at 1024² (L = 18).

All functions are plain array programs: they work eagerly and under `jax.jit`.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from emojax.latents.directions import Directions
from emojax.runtime.choices import NEUTRAL, K, Projection, Unit
from emojax.runtime.errors import UserError

WHOLE = slice(None)
"""All layers."""


def moves(
    directions: Directions,
    names: Sequence[str],
    n_latent: int,
    *,
    layers: slice = WHOLE,
    unit: Unit = "norm",
) -> np.ndarray:
    """Return what k = 1 adds to a code for each of some directions.

    Args:
        directions: those of the bundle.
        names: E of them.
        n_latent: L, the generator's number of layers.
        layers: the layers that move, each as far as in an edit of all; the others stay.
        unit: what k counts, see `Directions.unit_lengths`.

    Returns:
        [E, L, D] float32.

    Raises:
        UserError: an unknown name or unit, a range without layers, or directions for another number
            of layers.
    """
    chosen = [directions.index(name) for name in names]
    lengths = directions.unit_lengths(n_latent, unit)[chosen]
    step = directions.tiled(n_latent)[chosen] * lengths[:, None, None]
    mask = np.zeros((n_latent, 1))
    mask[layers] = 1
    if not mask.any():
        raise UserError(
            f"layers {_named(layers)} hold none of the generator's: wanted a range within "
            f"0:{n_latent}"
        )
    return (step * mask).astype(np.float32)


def _named(layers: slice) -> str:
    """Return a range as the flag has it, `40:`."""
    first, last = ("" if end is None else str(end) for end in (layers.start, layers.stop))
    return f"{first}:{last}"


def analogy(positive: jax.Array, less: jax.Array, more: jax.Array) -> jax.Array:
    """Return the code [D] of "a is to b as c is to this": mean(a) - mean(b) + mean(c).

    Means over several faces of a kind, since single faces make it unstable.

    Args:
        positive: codes [N, D] of a, such as men with glasses.
        less: codes of b, men without.
        more: codes of c, women without.

    Source: Radford et al. (2016), DCGAN, section 6.3.2.
    """
    return positive.mean(0) - less.mean(0) + more.mean(0)


def edit(
    codes: jax.Array,
    directions: Directions,
    k: Mapping[str, float | Sequence[float] | jax.Array],
    *,
    layers: slice = WHOLE,
    unit: Unit = "norm",
) -> jax.Array:
    """Move codes along one or several directions: C + Σ_e k_e · D_e (Equation 1).

    Args:
        codes: [N, L, D].
        directions: those of the bundle.
        k: how far along which direction, {"happiness": 20.0, ...}; a number, or one a code. A
            single code with K numbers gives K edits of it.
        layers: the layers that move.
        unit: what k counts, as is `layers` in `moves`.

    Returns:
        [N, L, D], or [K, L, D].

    Raises:
        UserError: see `moves`.
    """
    step = moves(directions, tuple(k), codes.shape[1], layers=layers, unit=unit)
    for along, amount in zip(step, k.values(), strict=True):
        amount = jnp.asarray(amount, codes.dtype).reshape(-1, 1, 1)
        codes = codes + amount * jnp.asarray(along, codes.dtype)
    return codes


def neutralise(
    codes: jax.Array,
    directions: Directions,
    *,
    k: float = K,
    projection: Projection = "plain",
) -> jax.Array:
    """Return the codes of the same faces without expression: f(C, ND) + k·ND (Equation 2).

    ND is the direction "neutral" as a unit vector of L·D space. f takes out what the code has of
    it, so that every face ends with the same neutral coordinate:

    - "plain": C − ⟨C, ND⟩ ND; the coordinate ends at k. As InterfaceGAN's projection, which drops
      the intercept.
    - "plane": C − (⟨C, ND⟩ − d) ND, the nearest code that the regressor scores as 0; d = −b/|a| for
      coefficients a and intercept b. The coordinate ends at d + k.
    - "layer": C_l − ⟨C_l, n_l⟩ n_l in every layer l, n_l the layer's own unit vector; each layer
      then has the same share of the coordinate, which ends at k.

    Args:
        codes: [N, L, D].
        directions: those of the bundle, "neutral" among them.
        k: the step, in units of norm in L·D space.
        projection: which f.

    Returns:
        [N, L, D].

    Raises:
        UserError: there is no neutral direction, or an unknown projection.
    """
    (unit,) = moves(directions, (NEUTRAL,), codes.shape[1])
    towards, along = jnp.asarray(unit, codes.dtype), jnp.asarray(k, codes.dtype)
    if projection == "layer":
        norms = np.linalg.norm(unit, axis=-1, keepdims=True)
        own = jnp.asarray(unit / np.where(norms > 0, norms, 1), codes.dtype)
        coordinate = _dot("nld,ld->nl", codes, own)[..., None]
        return codes - coordinate * own + along * towards
    if projection not in ("plain", "plane"):
        raise UserError(f"projection is {projection!r}, wanted 'plain', 'plane' or 'layer'")
    level = _plane(directions, codes.shape[1]) if projection == "plane" else 0.0
    coordinate = _dot("nld,ld->n", codes, towards)[:, None, None]
    return codes - (coordinate - (level + along)) * towards


def _plane(directions: Directions, n_latent: int) -> float:
    """Return ⟨C, ND⟩ where the neutral regressor's score is 0."""
    index = directions.index(NEUTRAL)
    level = -directions.intercepts[index] / np.linalg.norm(directions.coefficients[index])
    # a regressor of W reads the mean over the layers, whose coordinate is 1/√L of ⟨C, ND⟩
    return float(level * (np.sqrt(n_latent) if directions.coefficients.ndim == 2 else 1.0))


def _dot(indices: str, codes: jax.Array, direction: jax.Array) -> jax.Array:
    """Einsum in full float32, whatever the accelerator does by default."""
    return jnp.einsum(indices, codes, direction, precision=jax.lax.Precision.HIGHEST)
