"""Optimiser of every network: Muon for matrices, Adam for the rest."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

_ADAM_B2 = 0.99
_MUON_RMS = 0.2
"""Root mean square of Muon's updates, about Adam's, so that both use one learning rate."""
_MIN_SIDE = 8
"""Smallest side of a matrix that is left to Muon."""
_WARM_UP = 0.02
"""Share of a stage in which the learning rate rises."""


def optimiser(
    rate_factor: Callable[[str], float], *, muon: bool, momentum: float = 0.9
) -> optax.GradientTransformation:
    """Return the optimiser, with a learning rate of 1: multiply its updates by `rate`.

    A gradient that is not finite counts as 0.

    Args:
        rate_factor: factor on the learning rate for the parameter of a dotted name.
        muon: train kernels and matrices with Muon, see `matrix_axes`; else all with Adam.
        momentum: of Adam, its b1.
    """

    def scaled(updates: Any, _: Any = None) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, update: update * rate_factor(dotted(path)), updates
        )

    def axes(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, value: matrix_axes(value, rate_factor(dotted(path))), params
        )

    if muon:
        step = optax.contrib.muon(
            1.0,
            consistent_rms=_MUON_RMS,
            adam_b1=momentum,
            adam_b2=_ADAM_B2,
            muon_weight_dimension_numbers=axes,
        )
    else:
        step = optax.adam(1.0, b1=momentum, b2=_ADAM_B2)
    clipped = optax.clip_by_global_norm(1.0)
    return optax.chain(optax.stateless(_finite), clipped, step, optax.stateless(scaled))


def _finite(updates: Any, _: Any = None) -> Any:
    total = sum(jnp.sum(jnp.square(update)) for update in jax.tree.leaves(updates))
    good = jnp.isfinite(jnp.asarray(total))
    return jax.tree.map(lambda update: jnp.where(good, update, jnp.zeros_like(update)), updates)


def rate(peak: float, progress: jax.Array) -> jax.Array:
    """Return the learning rate: it rises to its peak in 2 % of the stage, then falls to 0.

    Args:
        peak: the highest rate.
        progress: share of the stage that is done, 0 to 1.
    """
    rest = jnp.clip((progress - _WARM_UP) / (1 - _WARM_UP), 0, 1)
    return peak * jnp.minimum(progress / _WARM_UP, 0.5 + 0.5 * jnp.cos(jnp.pi * rest))


def matrix_axes(value: jax.Array, rate_factor: float) -> Any:
    """Return the axes of a parameter that make a matrix for Muon, or None for Adam.

    Muon replaces a matrix's momentum by its orthogonal factor. On the generator it needs about half
    as many pictures as Adam. Adam trains parameters with a rate of their own, with fewer than eight
    rows or columns, and those that are no matrices (depthwise kernels).
    """
    if rate_factor != 1 or value.ndim not in (2, 4):
        return None
    inputs = np.prod(value.shape[:-1]) if value.ndim == 2 or value.shape[2] > 1 else 1
    if min(inputs, value.shape[-1]) < _MIN_SIDE:
        return None
    return optax.contrib.MuonDimensionNumbers(tuple(range(value.ndim - 1)), (value.ndim - 1,))


def dotted(path: tuple) -> str:
    """Return the dotted name of a parameter by its path in a tree."""
    parts = (str(getattr(part, "key", getattr(part, "name", ""))) for part in path)
    return ".".join(part for part in parts if part != "value")
