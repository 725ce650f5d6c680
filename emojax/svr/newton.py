"""The semismooth Newton augmented Lagrangian behind `emojax.svr`, whose docstring states it."""

import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from emojax.runtime.errors import UserError
from emojax.svr.sharded_rows import Rows

logger = logging.getLogger(__name__)

_SHIFT_WHEN = 0.3  # the envelope is minimised when its share of the gap is this part of the rest
_SIGMA_GROWTH = 4.0
_LENT = 0.1  # curvature of average rows added far from the optimum, in curved rows
_WIDTH = 0.5  # of the first envelope's curved parts, in mean excesses
_MIN_PIVOT = 1e-5  # of a float32 Newton matrix scaled to unit diagonal
_JITTER = 1e-14  # on that unit diagonal: slows nothing, but keeps float64's Cholesky from NaN
_ROUNDING = 1e-13  # of the objective of w = 0, below which a gap is rounding


class _Problem(NamedTuple):
    """Per-row arrays are [blocks, rows, k or 1]; rows that are only padding have cost 0."""

    y: jax.Array  # [blocks, rows, k]
    cost: jax.Array  # C times the sample weight
    gain: jax.Array  # α = σ · gain · excess: 1, or the sample weight for the squared loss
    cap: jax.Array  # bound of |α|: the cost, or infinity for the squared loss
    epsilon: jax.Array
    ridge: jax.Array  # ρ of the intercept
    has_intercept: jax.Array  # 1 or 0
    squared: jax.Array  # bool


def _excess(v, problem):
    return jnp.maximum(jnp.abs(v) - problem.epsilon, 0.0)


def _multipliers(v, sigma, problem):
    """α(v), the derivative of the envelope."""
    return jnp.sign(v) * jnp.minimum(sigma * problem.gain * _excess(v, problem), problem.cap)


def _curvature(v, sigma, problem):
    """Second derivative of the envelope over σ: the weights of the Newton matrix."""
    excess = _excess(v, problem)
    outside = (excess > 0) | (problem.epsilon == 0)
    return jnp.where(outside & (sigma * problem.gain * excess < problem.cap), problem.gain, 0.0)


def _loss(residual, problem):
    excess = _excess(residual, problem)
    return problem.cost * jnp.where(problem.squared, excess * excess, excess)


def _conjugate(alpha, problem):
    safe = jnp.where(problem.cost > 0, problem.cost, 1.0)
    square = jnp.where(problem.squared, alpha * alpha / (4 * safe), 0.0)
    return problem.epsilon * jnp.abs(alpha) + square


def _total(per_row):
    return jnp.sum(per_row, axis=(0, 1))


@jax.jit
def _weigh(w, b, residual, alpha, correlation, problem):
    """Gradient [d+1, k] of the envelope, and the two parts of the gap between (w, b) and α.

    With Xᵀα in place of w the two would vanish together: gap = ½‖w − Xᵀα‖² (and the like for b) +
    Σ loss(r) − rα + conjugate(α), all of them sums of terms ≥ 0, so nothing cancels.
    """
    gw = w - correlation
    gb = problem.has_intercept * (problem.ridge * b - _total(alpha))
    # A free intercept needs Σα = 0; making it so (`_balance`) costs about |Σα| mean |r|.
    free = jnp.abs(gb) * _total(problem.cost * jnp.abs(residual)) / jnp.sum(problem.cost)
    penalised = gb * gb / (2 * jnp.where(problem.ridge > 0, problem.ridge, 1.0))
    inner = jnp.sum(gw * gw, axis=0) / 2 + jnp.where(problem.ridge > 0, penalised, free)
    outer = _total(_loss(residual, problem) - residual * alpha + _conjugate(alpha, problem))
    primal = _primal(w, b, residual, problem)
    return jnp.concatenate([gw, gb[None]]), inner, jnp.maximum(outer, 0.0), primal


@jax.jit
def _primal(w, b, residual, problem):
    return (jnp.sum(w * w, axis=0) + problem.ridge * b * b) / 2 + _total(_loss(residual, problem))


@jax.jit
def _dual(alpha, correlation, problem):
    intercept = jnp.where(
        (problem.ridge > 0) & (problem.has_intercept > 0),
        _total(alpha) ** 2 / (2 * jnp.where(problem.ridge > 0, problem.ridge, 1.0)),
        0.0,
    )
    linear = _total(problem.y * alpha - _conjugate(alpha, problem))
    return linear - jnp.sum(correlation**2, axis=0) / 2 - intercept


@jax.jit
def _balance(alpha):
    """Scale the heavier sign down until Σα = 0: stays within any bounds on |α|."""
    up, down = _total(jnp.maximum(alpha, 0)), _total(jnp.maximum(-alpha, 0))
    least = jnp.minimum(up, down)
    scale_up, scale_down = (least / jnp.where(s > 0, s, 1.0) for s in (up, down))
    return alpha * jnp.where(alpha > 0, scale_up, scale_down)


@jax.jit
def _direction(gram, gradient, sigma, lent, centre, problem):
    """Newton step [d+1, k] and the least pivot of the matrices scaled to unit diagonal.

    `gram` and `lent` (curvature added for the sake of stability) belong to the unknowns
    (w, b + centre·w), in which float32 rows far from the origin keep their digits.
    """
    d, (metric, shares) = centre.size, lent
    border = jnp.ones(d + 1).at[d].set(problem.has_intercept)
    offset = jnp.concatenate([-centre, jnp.ones(1)])
    penalty = jnp.diag(jnp.ones(d + 1).at[d].set(0)) + problem.ridge * jnp.outer(offset, offset)

    def solve(gram, gradient, sigma, share):
        matrix = (sigma * (gram + share * metric) + penalty) * border * border[:, None]
        # A free intercept with no row on the curved part has no curvature: lend it a little.
        least = jnp.where(problem.has_intercept > 0, 1e-3 * sigma, 1.0)
        matrix = matrix.at[d, d].max(least)
        scale = lax.rsqrt(jnp.diagonal(matrix))
        matrix = matrix * scale * scale[:, None] + _JITTER * jnp.eye(d + 1)
        factor = jnp.linalg.cholesky(matrix)
        right = -gradient.at[:d].add(-centre * gradient[d]) * scale
        half = lax.linalg.triangular_solve(factor, right[:, None], left_side=True, lower=True)
        step = lax.linalg.triangular_solve(
            factor, half, left_side=True, lower=True, transpose_a=True
        )
        step = step[:, 0] * scale
        step = step.at[d].add(-centre @ step[:d]) * border
        return step, jnp.min(jnp.diagonal(factor)) ** 2

    step, pivot = lax.map(lambda args: solve(*args), (gram, gradient.T, sigma, shares))
    return step.T, jnp.min(pivot)


@jax.jit
def _line_search(v, along, w, b, step, sigma, problem):
    """Step lengths [k] at which the envelope's slope has fallen to a tenth: it is convex."""
    dw, db = step[:-1], step[-1]
    constant = jnp.sum(w * dw, axis=0) + problem.ridge * b * db
    linear = jnp.sum(dw * dw, axis=0) + problem.ridge * db * db

    def slope(t):
        return constant + t * linear - _total(along * _multipliers(v - t * along, sigma, problem))

    start = slope(jnp.zeros_like(b))

    def unfinished(state):
        tries, _, at_t, *_ = state
        return (tries < 40) & jnp.any(jnp.abs(at_t) > 0.1 * jnp.abs(start))

    def refine(state):
        tries, t, at_t, low, at_low, high, at_high = state
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
        return tries + 1, new, slope(new), low, at_low, high, at_high

    one, zero = jnp.ones_like(b), jnp.zeros_like(b)
    state = (0, one, slope(one), zero, start, jnp.full_like(b, jnp.inf), zero)
    return lax.while_loop(unfinished, refine, state)[1]


@jax.jit
def _curved_rows(v, sigma, active, old, problem):
    """Newton weights, those still to add to the old matrices, and which of the old ones to keep.

    A target takes whichever is fewer rows: its own, or its changes since the last matrix.
    """
    new = jnp.where(active, _curvature(v, sigma, problem), old)
    change = new - old
    keep = jnp.count_nonzero(change, axis=(0, 1)) <= jnp.count_nonzero(new, axis=(0, 1))
    return new, jnp.where(keep, change, new), keep


class Solver:
    """The iteration's state; every method leaves it consistent."""

    def __init__(self, rows: Rows, y: ArrayLike, sample_weight: ArrayLike, config):
        self.rows, self.config = rows, config
        self.squared = config.loss == "squared_epsilon_insensitive"
        weight = rows.place(sample_weight[:, None])
        cost = config.C * weight
        self.problem = _Problem(
            y=rows.place(y),
            cost=cost,
            gain=weight if self.squared else (weight > 0).astype(weight.dtype),
            cap=jnp.full_like(cost, jnp.inf) if self.squared else cost,
            epsilon=jnp.asarray(config.epsilon),
            ridge=jnp.asarray(
                config.intercept_scaling**-2.0 if config.intercept == "penalised" else 0.0
            ),
            has_intercept=jnp.asarray(float(config.intercept != "none")),
            squared=jnp.asarray(self.squared),
        )
        self.dtype = rows.x.dtype
        self._start()
        infinite = jnp.full_like(self.b, jnp.inf)
        self.best = infinite, self.w, self.b, jnp.zeros_like(self.problem.y)

    def _start(self) -> None:
        """Ridge regression: the Newton matrix of all rows, shared by all targets."""
        problem, rows, k = self.problem, self.rows, self.problem.y.shape[2]
        total = jnp.sum(problem.gain)
        centre = rows.correlate(problem.gain)[:, 0] / total
        bad = np.flatnonzero(~np.isfinite(np.asarray(centre)))
        if bad.size:
            raise UserError(
                f"x holds NaN or infinity in {bad.size} of its columns, first in column {bad[0]}; "
                "remove the rows that have them."
            )
        self.centre = centre * problem.has_intercept
        self.weight = jnp.broadcast_to(problem.gain, problem.y.shape)
        self.metric = rows.gram(problem.gain, self.centre, self.dtype)[0]
        self.gram = jnp.tile(self.metric, (k, 1, 1))
        self.w, self.b = jnp.zeros((rows.d, k)), jnp.zeros(k)
        self.residual, self.shift = problem.y, jnp.zeros_like(problem.y)
        self.scale = _primal(self.w, self.b, self.residual, problem)

        spread = jnp.maximum(_total(problem.gain * jnp.abs(problem.y)) / total, 1e-300)
        self.sigma = 2 * self.config.C * jnp.ones(k) / (1.0 if self.squared else spread)
        pulled = self.sigma * problem.gain * problem.y
        gradient = -jnp.concatenate([rows.correlate(pulled), _total(pulled)[None]])
        step = self._solve(gradient, jnp.zeros(k))
        self._move(step, rows.predict(step[:-1]) + step[-1], jnp.ones(k))
        if not self.squared:
            # Curved parts as wide as half the mean excess of the rows outside the tube.
            excess = problem.gain * _excess(self.residual, problem)
            width = _WIDTH * _total(excess) / jnp.maximum(_total(jnp.sign(excess)), 1.0)
            self.sigma = self.config.C / jnp.where(width > 0, width, spread)

    def _move(self, step, along, length) -> None:
        self.w, self.b = self.w + length * step[:-1], self.b + length * step[-1]
        self.residual = self.residual - length * along

    def _measure(self, v):
        alpha = _multipliers(v, self.sigma, self.problem)
        correlation = self.rows.correlate(alpha)
        return alpha, *_weigh(self.w, self.b, self.residual, alpha, correlation, self.problem)

    def _newton(self, v, gradient, active, unsolved):
        """Newton directions [d+1, k], after bringing the matrices up to date."""
        new, change, keep = _curved_rows(v, self.sigma, active, self.weight, self.problem)
        fresh = self.rows.gram(change, self.centre, self.dtype)
        self.gram = jnp.where(keep[:, None, None], self.gram, 0.0) + fresh
        self.weight = new
        share = _LENT * unsolved * _total(new) / jnp.sum(self.problem.gain)
        return jnp.where(active, self._solve(gradient, share), 0.0)

    def _solve(self, gradient, share):
        """Newton directions from the matrices as they are, in float64 once float32 falls short."""

        def solve():
            lent = self.metric, share
            return _direction(self.gram, gradient, self.sigma, lent, self.centre, self.problem)

        step, pivot = solve()
        if self.dtype == jnp.float32 and not pivot > _MIN_PIVOT:
            logger.debug("Newton matrix with pivot %.1e: going on in float64", pivot)
            self.dtype = jnp.dtype(jnp.float64)
            self.metric = self.rows.gram(self.problem.gain, self.centre, self.dtype)[0]
            self.gram = self.rows.gram(self.weight, self.centre, self.dtype)
            step, _ = solve()
        return step

    def _remember(self, gap, alpha) -> None:
        """Keep the point of least gap of each target."""
        new = gap, self.w, self.b, alpha
        better = gap < self.best[0]
        self.best = tuple(jnp.where(better, n, old) for n, old in zip(new, self.best, strict=True))

    def _certify(self):
        """Primal and dual objective of the best points, from their residuals and a feasible α."""
        problem, (_, self.w, self.b, alpha) = self.problem, self.best
        self.residual = problem.y - self.rows.predict(self.w) - self.b
        if self.config.intercept == "free":
            alpha = _balance(alpha)
        primal = _primal(self.w, self.b, self.residual, problem)
        return primal, _dual(alpha, self.rows.correlate(alpha), problem)

    def run(self) -> dict[str, np.ndarray | int]:
        """The fields of `SVRFit`."""
        k, config = self.b.size, self.config
        wanted = jnp.full(k, config.tol)  # tightened for a target whose certificate falls short
        for iteration in range(config.max_iter + 1):
            v = self.residual + self.shift / self.sigma
            alpha, gradient, inner, outer, primal = self._measure(v)
            self._remember(inner + outer, alpha)
            allowed = jnp.maximum(wanted * primal, _ROUNDING * self.scale)
            active = inner + outer > allowed
            logger.debug("%3d: relative gaps %s", iteration, np.asarray((inner + outer) / primal))
            if not active.any() or iteration == config.max_iter:
                primal, dual = self._certify()
                allowed = jnp.maximum(config.tol * primal, _ROUNDING * self.scale)
                converged = primal - dual <= allowed
                if converged.all() or iteration == config.max_iter:
                    break
                wanted = jnp.where(converged, wanted, wanted / 4)
                continue
            advance = active & (inner <= _SHIFT_WHEN * outer)
            if not self.squared and advance.any():
                self.shift = jnp.where(advance, alpha, self.shift)
                self.sigma = jnp.where(advance, _SIGMA_GROWTH * self.sigma, self.sigma)
                v = self.residual + self.shift / self.sigma
                alpha, gradient, inner, *_ = self._measure(v)
            unsolved = jnp.minimum(1.0, inner / jnp.where(primal > 0, primal, 1.0))
            step = self._newton(v, gradient, active, unsolved)
            along = self.rows.predict(step[:-1]) + step[-1]
            length = _line_search(v, along, self.w, self.b, step, self.sigma, self.problem)
            self._move(step, along, length)
        gap = (primal - dual) / jnp.where(primal > 0, primal, 1.0)
        fields = {
            "coef": self.w.T,
            "intercept": self.b,
            "primal": primal,
            "dual": dual,
            "gap": gap,
            "converged": converged,
        }
        fields = {name: np.asarray(field) for name, field in fields.items()}
        return fields | {"iterations": iteration}
