"""Smoothed objective of the SVR solver: values, duality gap, Newton step and line search.

The absolute loss is replaced by its Moreau envelope, whose derivative at v = r + α₀/σ is
α(v) = clip(σ · soft(v, ε), ±C c). The squared loss is its own envelope, with σ = 2C, α₀ = 0 and no
bound. All functions are jitted, take k targets at once and compute in float64.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

_JITTER = 1e-14  # added to a unit diagonal, so that a float64 Cholesky never returns NaN
_TRIES = 40  # evaluations of a line search


class Problem(NamedTuple):
    """Data and constants; arrays with one value per row are [blocks, rows, k or 1].

    Padding rows have cost 0.

    Attributes:
        y: targets [blocks, rows, k].
        cost: C times the sample weight.
        gain: α = σ · gain · excess: 1, or the sample weight for the squared loss.
        cap: bound of |α|: the cost, or infinity for the squared loss.
        epsilon: half width of the tube.
        ridge: ρ of the intercept.
        has_intercept: 1 or 0.
        squared: whether the loss is the squared one.
    """

    y: jax.Array
    cost: jax.Array
    gain: jax.Array
    cap: jax.Array
    epsilon: jax.Array
    ridge: jax.Array
    has_intercept: jax.Array
    squared: jax.Array


class Lent(NamedTuple):
    """Curvature added to the Newton matrices for stability.

    Attributes:
        metric: [d+1, d+1] Gram matrix of all rows.
        share: [k] its factor for each target.
    """

    metric: jax.Array
    share: jax.Array


def excess(v: jax.Array, problem: Problem) -> jax.Array:
    """Return max(|v| − ε, 0)."""
    return jnp.maximum(jnp.abs(v) - problem.epsilon, 0.0)


def multipliers(v: jax.Array, sigma: jax.Array, problem: Problem) -> jax.Array:
    """Return α(v), the derivative of the envelope."""
    return jnp.sign(v) * jnp.minimum(sigma * problem.gain * excess(v, problem), problem.cap)


def _curvature(v: jax.Array, sigma: jax.Array, problem: Problem) -> jax.Array:
    """Return the second derivative of the envelope over σ: the weights of the Newton matrix."""
    over = excess(v, problem)
    outside = (over > 0) | (problem.epsilon == 0)
    return jnp.where(outside & (sigma * problem.gain * over < problem.cap), problem.gain, 0.0)


def _loss(residual: jax.Array, problem: Problem) -> jax.Array:
    over = excess(residual, problem)
    return problem.cost * jnp.where(problem.squared, over * over, over)


def _conjugate(alpha: jax.Array, problem: Problem) -> jax.Array:
    """Return the convex conjugate of the loss at α."""
    safe = jnp.where(problem.cost > 0, problem.cost, 1.0)
    square = jnp.where(problem.squared, alpha * alpha / (4 * safe), 0.0)
    return problem.epsilon * jnp.abs(alpha) + square


def total(per_row: jax.Array) -> jax.Array:
    """Sum [blocks, rows, k] over the rows."""
    return jnp.sum(per_row, axis=(0, 1))


class Measured(NamedTuple):
    """Gradient of the envelope and the duality gap between (w, b) and α.

    Attributes:
        gradient: [d+1, k].
        inner: [k] part of the gap that vanishes at the envelope's minimum.
        outer: [k] the rest, which vanishes as the multipliers α₀ converge.
        primal: [k] objective.
    """

    gradient: jax.Array
    inner: jax.Array
    outer: jax.Array
    primal: jax.Array


@jax.jit
def measure(
    w: jax.Array,
    b: jax.Array,
    residual: jax.Array,
    alpha: jax.Array,
    correlation: jax.Array,
    problem: Problem,
) -> Measured:
    """Return the gradient of the envelope and the duality gap between (w, b) and α.

    The gap is ½‖w − Xᵀα‖² (and the like for b) + Σ loss(r) − rα + conjugate(α). All of its terms
    are at least 0, so no digits cancel.

    Args:
        w: [d, k].
        b: [k].
        residual: y − Xw − b.
        alpha: α(v).
        correlation: Xᵀα [d, k].
        problem: the data.
    """
    gw = w - correlation
    gb = problem.has_intercept * (problem.ridge * b - total(alpha))
    # A free intercept needs Σα = 0; `balance` achieves it at a cost of about |Σα| · mean |r|.
    free = jnp.abs(gb) * total(problem.cost * jnp.abs(residual)) / jnp.sum(problem.cost)
    penalised = gb * gb / (2 * jnp.where(problem.ridge > 0, problem.ridge, 1.0))
    inner = jnp.sum(gw * gw, axis=0) / 2 + jnp.where(problem.ridge > 0, penalised, free)
    outer = total(_loss(residual, problem) - residual * alpha + _conjugate(alpha, problem))
    gradient = jnp.concatenate([gw, gb[None]])
    return Measured(
        gradient, inner, jnp.maximum(outer, 0.0), primal_objective(w, b, residual, problem)
    )


@jax.jit
def primal_objective(
    w: jax.Array, b: jax.Array, residual: jax.Array, problem: Problem
) -> jax.Array:
    """Return the objective [k] at w [d, k] and b [k], whose residuals are given."""
    return (jnp.sum(w * w, axis=0) + problem.ridge * b * b) / 2 + total(_loss(residual, problem))


@jax.jit
def dual_objective(alpha: jax.Array, correlation: jax.Array, problem: Problem) -> jax.Array:
    """Return the dual objective [k] at a feasible α, whose correlation Xᵀα [d, k] is given."""
    intercept = jnp.where(
        (problem.ridge > 0) & (problem.has_intercept > 0),
        total(alpha) ** 2 / (2 * jnp.where(problem.ridge > 0, problem.ridge, 1.0)),
        0.0,
    )
    linear = total(problem.y * alpha - _conjugate(alpha, problem))
    return linear - jnp.sum(correlation**2, axis=0) / 2 - intercept


@jax.jit
def balance(alpha: jax.Array) -> jax.Array:
    """Scale the sign of larger sum down until Σα = 0, which keeps any bounds on |α|."""
    up, down = total(jnp.maximum(alpha, 0)), total(jnp.maximum(-alpha, 0))
    least = jnp.minimum(up, down)
    scale_up, scale_down = (least / jnp.where(s > 0, s, 1.0) for s in (up, down))
    return alpha * jnp.where(alpha > 0, scale_up, scale_down)


@jax.jit
def newton_step(
    gram: jax.Array,
    gradient: jax.Array,
    sigma: jax.Array,
    lent: Lent,
    centre: jax.Array,
    problem: Problem,
) -> tuple[jax.Array, jax.Array]:
    """Return the Newton step [d+1, k] and the least pivot of the matrices at unit diagonal.

    Gram matrices are those of the unknowns (w, b + centre·w), in which float32 rows far from the
    origin keep their precision.

    Args:
        gram: [k, d+1, d+1] Gram matrices of the rows on curved parts of the envelope.
        gradient: [d+1, k].
        sigma: [k].
        lent: curvature to add.
        centre: [d].
        problem: the data.
    """
    d = centre.size
    border = jnp.ones(d + 1).at[d].set(problem.has_intercept)
    offset = jnp.concatenate([-centre, jnp.ones(1)])
    penalty = jnp.diag(jnp.ones(d + 1).at[d].set(0)) + problem.ridge * jnp.outer(offset, offset)

    def solve(
        gram: jax.Array, gradient: jax.Array, sigma: jax.Array, share: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        matrix = (sigma * (gram + share * lent.metric) + penalty) * border * border[:, None]
        # A free intercept has no curvature if no row is on a curved part: add a little.
        least = jnp.where(problem.has_intercept > 0, 1e-3 * sigma, 1.0)
        matrix = matrix.at[d, d].max(least)
        step, pivot = _solve(matrix, -gradient.at[:d].add(-centre * gradient[d]))
        return step.at[d].add(-centre @ step[:d]) * border, pivot

    step, pivot = lax.map(lambda each: solve(*each), (gram, gradient.T, sigma, lent.share))
    return step.T, jnp.min(pivot)


def _solve(matrix: jax.Array, right: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Solve a positive definite system; return also its least Cholesky pivot at unit diagonal."""
    scale = lax.rsqrt(jnp.diagonal(matrix))
    matrix = matrix * scale * scale[:, None] + _JITTER * jnp.eye(right.size)
    factor = jnp.linalg.cholesky(matrix)
    right = (right * scale)[:, None]
    half = lax.linalg.triangular_solve(factor, right, left_side=True, lower=True)
    solution = lax.linalg.triangular_solve(
        factor, half, left_side=True, lower=True, transpose_a=True
    )
    return solution[:, 0] * scale, jnp.min(jnp.diagonal(factor)) ** 2


class _Bracket(NamedTuple):
    """State of a line search: step lengths [k] and the envelope's slopes [k] there."""

    tries: jax.Array | int
    t: jax.Array
    at_t: jax.Array
    low: jax.Array
    at_low: jax.Array
    high: jax.Array
    at_high: jax.Array


@jax.jit
def line_search(
    v: jax.Array,
    along: jax.Array,
    w: jax.Array,
    b: jax.Array,
    step: jax.Array,
    sigma: jax.Array,
    problem: Problem,
) -> jax.Array:
    """Return step lengths [k] at which the slope of the convex envelope has fallen to a tenth.

    Args:
        v: r + α₀/σ at the start.
        along: decrease of the residuals per unit of step length.
        w: [d, k].
        b: [k].
        step: Newton step [d+1, k].
        sigma: [k].
        problem: the data.
    """
    dw, db = step[:-1], step[-1]
    constant = jnp.sum(w * dw, axis=0) + problem.ridge * b * db
    linear = jnp.sum(dw * dw, axis=0) + problem.ridge * db * db

    def slope(t: jax.Array) -> jax.Array:
        return constant + t * linear - total(along * multipliers(v - t * along, sigma, problem))

    start = slope(jnp.zeros_like(b))

    def unfinished(state: _Bracket) -> jax.Array:
        return (state.tries < _TRIES) & jnp.any(jnp.abs(state.at_t) > 0.1 * jnp.abs(start))

    def refine(state: _Bracket) -> _Bracket:
        new, low, at_low, high, at_high = _next_length(state, start)
        return _Bracket(state.tries + 1, new, slope(new), low, at_low, high, at_high)

    one, zero = jnp.ones_like(b), jnp.zeros_like(b)
    state = _Bracket(0, one, slope(one), zero, start, jnp.full_like(b, jnp.inf), zero)
    return lax.while_loop(unfinished, refine, state).t


def _next_length(state: _Bracket, start: jax.Array) -> tuple[jax.Array, ...]:
    """Return the step lengths to try next (safeguarded secant, or doubling) and the new bracket."""
    _, t, at_t, low, at_low, high, at_high = state
    done = jnp.abs(at_t) <= 0.1 * jnp.abs(start)
    below = at_t < 0
    low, at_low = jnp.where(below, t, low), jnp.where(below, at_t, at_low)
    high, at_high = jnp.where(below, high, t), jnp.where(below, at_high, at_t)
    bracketed = jnp.isfinite(high)
    width = jnp.where(bracketed, high - low, 1.0)
    difference = jnp.where(bracketed, at_high - at_low, 1.0)
    secant = -at_low / jnp.where(difference > 0, difference, 1.0)
    inside = low + width * jnp.clip(secant, 0.1, 0.9)
    new = jnp.where(done, t, jnp.where(bracketed, inside, 2 * t))
    return new, low, at_low, high, at_high


@jax.jit
def curved_rows(
    v: jax.Array, sigma: jax.Array, active: jax.Array, old: jax.Array, problem: Problem
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Choose between updating and rebuilding each Newton matrix, whichever involves fewer rows.

    Args:
        v: r + α₀/σ.
        sigma: [k].
        active: [k] targets that have not converged; the others keep their weights.
        old: weights of the current matrices.
        problem: the data.

    Returns:
        The new weights, the weights of the rows to add, and whether to keep the old matrices [k].
    """
    new = jnp.where(active, _curvature(v, sigma, problem), old)
    change = new - old
    keep = jnp.count_nonzero(change, axis=(0, 1)) <= jnp.count_nonzero(new, axis=(0, 1))
    return new, jnp.where(keep, change, new), keep
