"""Linear ε-insensitive support vector regression, exact, for several targets at once.

For every target, with residuals rᵢ = yᵢ − w·xᵢ − b and excesses sᵢ = max(|rᵢ| − ε, 0), minimise

    ½‖w‖² + ½ρb² + C Σ cᵢ sᵢ      (`epsilon_insensitive`)
    ½‖w‖² + ½ρb² + C Σ cᵢ sᵢ²     (`squared_epsilon_insensitive`)

cᵢ being the sample weights and ρ = 1/intercept_scaling² (liblinear, scikit-learn's `LinearSVR`), 0
(free: libsvm, `SVR(kernel="linear")`) or absent with b = 0. The dual maximises, over |αᵢ| ≤ C cᵢ
(absolute loss; no bound but −α²/(4 C c) for the squared one), and Σα = 0 where b is free,

    y·α − ε‖α‖₁ − ½‖Xᵀα‖² − (Σα)²/(2ρ).

Any such α bounds the optimum from below, so the gap between the two is a proof of how good w is.

Method: the semismooth Newton augmented Lagrangian of Li, Sun and Toh (SIAM J. Optim. 28, 2018). The
absolute loss is replaced by its Moreau envelope, α(r) = clip(σ · soft(r + α₀/σ, ε), ±C c), whose
Newton matrix I + σ X_JᵀX_J holds only the rows J on the envelope's curved part; once a target's
envelope is minimised well enough, α₀ takes the value of α and σ grows. The squared loss is its own
envelope: σ = 2C, no shift, no bound.

Precision: rows keep the type they come in (float32 or float64), everything else is float64 inside a
scoped `jax.enable_x64`. Newton matrices of float32 rows are multiplied in float32 and summed in
float64 (they set the speed, never the result), and in float64 once their Cholesky pivots say that
float32 cannot tell them from singular ones.
"""

import logging
import math
import warnings
from dataclasses import dataclass
from typing import Literal, Self

import jax
import numpy as np
from jax.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from emojax.runtime.errors import UserError
from emojax.svr.newton import Solver
from emojax.svr.sharded_rows import Rows

logger = logging.getLogger(__name__)

Loss = Literal["epsilon_insensitive", "squared_epsilon_insensitive"]
Intercept = Literal["penalised", "free", "none"]


@dataclass(frozen=True)
class SVRConfig:
    """What to solve and how exactly; `C` and `epsilon` mean what they mean in scikit-learn.

    Attributes:
        loss: absolute or squared excess.
        C: weight of the loss against ½‖w‖², above 0; `math.inf` is not allowed.
        epsilon: half width of the tube without loss, in units of y, at least 0.
        intercept: `penalised` like liblinear's, `free` like libsvm's, or `none`.
        intercept_scaling: the constant of liblinear's extra feature; used by `penalised` alone.
        tol: relative duality gap (primal − dual) / primal to reach for every target.
        max_iter: Newton steps, after which the best point so far is returned with its gap.
    """

    loss: Loss = "epsilon_insensitive"
    C: float = 1.0
    epsilon: float = 0.0
    intercept: Intercept = "penalised"
    intercept_scaling: float = 1.0
    tol: float = 1e-4
    max_iter: int = 200

    def __post_init__(self) -> None:
        for name, choices in (("loss", Loss), ("intercept", Intercept)):
            if getattr(self, name) not in choices.__args__:
                raise UserError(
                    f"{name} is {getattr(self, name)!r}; choose one of {choices.__args__}."
                )
        for name in ("C", "intercept_scaling", "tol", "max_iter"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}; give a number above 0.")
        if not 0 <= self.epsilon < math.inf:
            raise UserError(f"epsilon is {self.epsilon}; give a number of at least 0.")


@dataclass(frozen=True)
class SVRFit:
    """A solution and its proof, float64, one entry a target.

    Attributes:
        coef: [k, d] weights w.
        intercept: [k] intercepts b.
        primal: [k] objective at (coef, intercept).
        dual: [k] objective of a feasible dual point: no solution is better than this.
        gap: [k] (primal − dual) / primal, 0 where both vanish.
        converged: [k] whether the gap is within `tol` (or within float64 rounding).
        iterations: Newton steps taken, all targets together.
    """

    coef: np.ndarray
    intercept: np.ndarray
    primal: np.ndarray
    dual: np.ndarray
    gap: np.ndarray
    converged: np.ndarray
    iterations: int


def fit_svr(
    x: ArrayLike,
    y: ArrayLike,
    config: SVRConfig | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    devices: list[jax.Device] | None = None,
    stream_rows: int | None = None,
) -> SVRFit:
    """Fit every column of y on x; see the module's docstring for objective and method.

    Args:
        x: [n, d] float32 or float64 (other types become float64), NumPy or JAX.
        y: [n, k] targets, or [n] for one.
        config: what to solve; default `SVRConfig()`.
        sample_weight: [n] factors of C, at least 0; default ones.
        devices: which local devices share the rows; default all of them.
        stream_rows: keep x in host memory and send it this many rows at a time, for an x larger
            than the devices; two such parts are on the devices at once. Default: x is kept there.

    Returns:
        The solution with its certificate; where `converged` is False, `max_iter` came first.

    Raises:
        UserError: shapes that do not belong together, no row, NaN or infinity, negative weights.
    """
    x, y, sample_weight = _checked(x, y, sample_weight)
    with jax.enable_x64(True):
        rows = Rows(x, devices or jax.local_devices(), stream_rows)
        fit = SVRFit(**Solver(rows, y, sample_weight, config or SVRConfig()).run())
    if not fit.converged.all():
        logger.warning("the largest duality gap is %.1e after max_iter steps", fit.gap.max())
    return fit


def _checked(x, y, sample_weight):
    if not isinstance(x, jax.Array):
        x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        x = np.asarray(x, np.float64)
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or 0 in (*x.shape, *y.shape):
        raise UserError(f"x is {x.shape} and y {y.shape}; give x as [n, d] and y as [n] or [n, k].")
    weight = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weight.shape != (len(x),) or not (np.all(weight >= 0) and 0 < weight.sum() < np.inf):
        raise UserError(
            f"sample_weight is {weight.shape} or holds a negative or infinite weight; "
            f"give {len(x)} finite weights of at least 0, not all 0."
        )
    if not np.isfinite(y).all():
        row, column = np.argwhere(~np.isfinite(y))[0]
        raise UserError(
            f"y holds NaN or infinity, first in row {row}, column {column}; remove such rows."
        )
    return x, y, weight


class LinearSVR(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """`fit_svr` as a scikit-learn estimator; parameters as in `SVRConfig` and sklearn's LinearSVR.

    After `fit`: `coef_` [d] or [k, d], `intercept_` [1] or [k] (0.0 without intercept), `primal_`,
    `dual_` and `gap_` [k], `n_iter_`, `n_features_in_`.
    """

    def __init__(
        self,
        *,
        epsilon: float = 0.0,
        tol: float = 1e-4,
        C: float = 1.0,
        loss: Loss = "epsilon_insensitive",
        fit_intercept: bool = True,
        penalise_intercept: bool = True,
        intercept_scaling: float = 1.0,
        max_iter: int = 200,
    ) -> None:
        self.epsilon, self.tol, self.C, self.loss = epsilon, tol, C, loss
        self.fit_intercept, self.penalise_intercept = fit_intercept, penalise_intercept
        self.intercept_scaling, self.max_iter = intercept_scaling, max_iter

    def fit(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit x [n, d] to y [n] or [n, k]; a gap above `tol` is a `ConvergenceWarning`."""
        x, y = validate_data(
            self, x, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True
        )
        weight = _check_sample_weight(sample_weight, x, dtype=np.float64)
        penalised = "penalised" if self.penalise_intercept else "free"
        config = SVRConfig(
            loss=self.loss,
            C=self.C,
            epsilon=self.epsilon,
            intercept=penalised if self.fit_intercept else "none",
            intercept_scaling=self.intercept_scaling,
            tol=self.tol,
            max_iter=self.max_iter,
        )
        fit = fit_svr(x, y, config, sample_weight=weight)
        if not fit.converged.all():
            warnings.warn(
                f"duality gap {fit.gap.max():.1e} after {self.max_iter} steps; raise max_iter.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.coef_ = fit.coef[0] if y.ndim == 1 else fit.coef
        self.intercept_ = fit.intercept if self.fit_intercept else 0.0
        self.primal_, self.dual_, self.gap_ = fit.primal, fit.dual, fit.gap
        self.n_iter_ = fit.iterations
        return self

    def predict(self, x: ArrayLike) -> np.ndarray:
        """Predictions [n] or [n, k] for x [n, d]."""
        check_is_fitted(self)
        x = validate_data(self, x, dtype=[np.float64, np.float32], reset=False)
        return x @ self.coef_.T + self.intercept_
