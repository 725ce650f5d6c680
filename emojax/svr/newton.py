"""Semismooth Newton augmented Lagrangian solver, after Li, Sun and Toh (SIAM J. Optim. 28, 2018).

The absolute loss is replaced by its Moreau envelope (`emojax.svr.envelope`), whose Newton matrix
I + σ X_JᵀX_J contains only the rows J on the curved part of the envelope. Once the envelope of a
target is minimised accurately enough, the multipliers α₀ take the value of α and σ grows. The
squared loss is its own envelope: its multipliers and σ stay as they are.

Precision: rows keep their type (float32 or float64), everything else is float64. Newton matrices of
float32 rows are multiplied in float32 and summed in float64, which affects the speed of convergence
but not the result, until their Cholesky pivots show that float32 cannot distinguish them from
singular matrices; from there on they are multiplied in float64.
"""

import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emojax.runtime.errors import UserError
from emojax.svr import envelope
from emojax.svr.envelope import Lent, Measured, Problem, total
from emojax.svr.problem import SVRConfig, SVRFit
from emojax.svr.sharded_rows import Rows

logger = logging.getLogger(__name__)

_SHIFT_WHEN = 0.3  # update the multipliers when inner gap ≤ 0.3 · outer gap
_SIGMA_GROWTH = 4.0  # factor of σ at each update of the multipliers
_LENT = 0.1  # regularisation far from the optimum, in curvatures of the average row
_WIDTH = 0.5  # width of the curved parts of the first envelope, in mean excesses
_MIN_PIVOT = 1e-5  # least Cholesky pivot of a float32 Newton matrix scaled to unit diagonal
_ROUNDING = 1e-13  # gaps below this part of the objective at w = 0 are rounding errors


class _Point(NamedTuple):
    """A point and the duality gap [k] that its multipliers certify."""

    gap: jax.Array
    w: jax.Array
    b: jax.Array
    alpha: jax.Array


class _State(NamedTuple):
    """v = r + α₀/σ at the current point, α(v), and the gradient and gap there."""

    v: jax.Array
    alpha: jax.Array
    measured: Measured


class Solver:
    """State of the iteration.

    Args:
        rows: X [n, d].
        y: [n, k] float64.
        sample_weight: [n] float64.
        config: objective and stopping criterion.
    """

    def __init__(
        self, rows: Rows, y: np.ndarray, sample_weight: np.ndarray, config: SVRConfig
    ) -> None:
        self.rows, self.config = rows, config
        self.squared = config.loss == "squared_epsilon_insensitive"
        weight = rows.place(sample_weight[:, None])
        cost = config.C * weight
        penalised = config.intercept == "penalised"
        self.problem = Problem(
            y=rows.place(y),
            cost=cost,
            gain=weight if self.squared else (weight > 0).astype(weight.dtype),
            cap=jnp.full_like(cost, jnp.inf) if self.squared else cost,
            epsilon=jnp.asarray(config.epsilon),
            ridge=jnp.asarray(config.intercept_scaling**-2.0 if penalised else 0.0),
            has_intercept=jnp.asarray(float(config.intercept != "none")),
            squared=jnp.asarray(self.squared),
        )
        self.dtype = rows.x.dtype
        self._start()
        infinite = jnp.full_like(self.b, jnp.inf)
        self.best = _Point(infinite, self.w, self.b, jnp.zeros_like(self.problem.y))

    def _start(self) -> None:
        """Start from ridge regression, whose Newton matrix of all rows the targets share."""
        problem, rows, k = self.problem, self.rows, self.problem.y.shape[2]
        mass = jnp.sum(problem.gain)
        centre = rows.correlate(problem.gain)[:, 0] / mass
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
        self.scale = envelope.primal_objective(self.w, self.b, self.residual, problem)

        spread = jnp.maximum(total(problem.gain * jnp.abs(problem.y)) / mass, 1e-300)
        self.sigma = 2 * self.config.C * jnp.ones(k) / (1.0 if self.squared else spread)
        pulled = self.sigma * problem.gain * problem.y
        gradient = -jnp.concatenate([rows.correlate(pulled), total(pulled)[None]])
        step = self._solve(gradient, jnp.zeros(k))
        self._move(step, rows.predict(step[:-1]) + step[-1], jnp.ones(k))
        if not self.squared:
            over = problem.gain * envelope.excess(self.residual, problem)
            width = _WIDTH * total(over) / jnp.maximum(total(jnp.sign(over)), 1.0)
            self.sigma = self.config.C / jnp.where(width > 0, width, spread)

    def _move(self, step: jax.Array, along: jax.Array, length: jax.Array) -> None:
        self.w, self.b = self.w + length * step[:-1], self.b + length * step[-1]
        self.residual = self.residual - length * along

    def _measure(self) -> _State:
        v = self.residual + self.shift / self.sigma
        alpha = envelope.multipliers(v, self.sigma, self.problem)
        correlation = self.rows.correlate(alpha)
        measured = envelope.measure(self.w, self.b, self.residual, alpha, correlation, self.problem)
        return _State(v, alpha, measured)

    def _newton(
        self, v: jax.Array, gradient: jax.Array, active: jax.Array, unsolved: jax.Array
    ) -> jax.Array:
        """Return Newton steps [d+1, k], after bringing the matrices up to date."""
        new, change, keep = envelope.curved_rows(v, self.sigma, active, self.weight, self.problem)
        fresh = self.rows.gram(change, self.centre, self.dtype)
        self.gram = jnp.where(keep[:, None, None], self.gram, 0.0) + fresh
        self.weight = new
        share = _LENT * unsolved * total(new) / jnp.sum(self.problem.gain)
        return jnp.where(active, self._solve(gradient, share), 0.0)

    def _solve(self, gradient: jax.Array, share: jax.Array) -> jax.Array:
        """Return Newton steps of the current matrices, recomputed in float64 where necessary."""

        def solve() -> tuple[jax.Array, jax.Array]:
            lent = Lent(self.metric, share)
            return envelope.newton_step(
                self.gram, gradient, self.sigma, lent, self.centre, self.problem
            )

        step, pivot = solve()
        if self.dtype == jnp.float32 and not pivot > _MIN_PIVOT:
            logger.debug("Newton matrix with pivot %.1e: going on in float64", pivot)
            self.dtype = jnp.dtype(jnp.float64)
            self.metric = self.rows.gram(self.problem.gain, self.centre, self.dtype)[0]
            self.gram = self.rows.gram(self.weight, self.centre, self.dtype)
            step, _ = solve()
        return step

    def _remember(self, gap: jax.Array, alpha: jax.Array) -> None:
        """Keep the point of smallest gap of each target."""
        new = _Point(gap, self.w, self.b, alpha)
        better = gap < self.best.gap
        self.best = _Point(
            *(jnp.where(better, n, old) for n, old in zip(new, self.best, strict=True))
        )

    def _certify(self, iterations: int) -> SVRFit:
        """Return the best points with primal and dual objective, computed from scratch."""
        problem, (_, self.w, self.b, alpha) = self.problem, self.best
        self.residual = problem.y - self.rows.predict(self.w) - self.b
        if self.config.intercept == "free":
            alpha = envelope.balance(alpha)
        primal = envelope.primal_objective(self.w, self.b, self.residual, problem)
        dual = envelope.dual_objective(alpha, self.rows.correlate(alpha), problem)
        allowed = jnp.maximum(self.config.tol * primal, _ROUNDING * self.scale)
        gap = (primal - dual) / jnp.where(primal > 0, primal, 1.0)
        fields = (self.w.T, self.b, primal, dual, gap, primal - dual <= allowed)
        return SVRFit(*(np.asarray(field) for field in fields), iterations=iterations)

    def run(self) -> SVRFit:
        """Iterate until every gap is within `tol`, or for `max_iter` steps."""
        wanted = jnp.full(self.b.size, self.config.tol)  # tightened where a certificate falls short
        iteration = 0
        while True:
            state = self._measure()
            gap, primal = state.measured.inner + state.measured.outer, state.measured.primal
            self._remember(gap, state.alpha)
            active = gap > jnp.maximum(wanted * primal, _ROUNDING * self.scale)
            logger.debug("%3d: relative gaps %s", iteration, np.asarray(gap / primal))
            last = iteration == self.config.max_iter
            if last or not active.any():
                fit = self._certify(iteration)
                if last or fit.converged.all():
                    return fit
                wanted = jnp.where(fit.converged, wanted, wanted / 4)
            else:
                self._step(state, active)
            iteration += 1

    def _step(self, state: _State, active: jax.Array) -> None:
        """Take a Newton step for the active targets, after updating their multipliers if due."""
        inner, outer = state.measured.inner, state.measured.outer
        advance = active & (inner <= _SHIFT_WHEN * outer)
        if not self.squared and advance.any():
            self.shift = jnp.where(advance, state.alpha, self.shift)
            self.sigma = jnp.where(advance, _SIGMA_GROWTH * self.sigma, self.sigma)
            state = self._measure()
        v, _, (gradient, inner, _, primal) = state
        unsolved = jnp.minimum(1.0, inner / jnp.where(primal > 0, primal, 1.0))
        step = self._newton(v, gradient, active, unsolved)
        along = self.rows.predict(step[:-1]) + step[-1]
        length = envelope.line_search(v, along, self.w, self.b, step, self.sigma, self.problem)
        self._move(step, along, length)
