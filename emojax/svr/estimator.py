"""`fit_svr` and the scikit-learn estimator `LinearSVR`."""

import contextlib
import logging
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self, get_args

import jax
import numpy as np
from jax.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from emojax.runtime.errors import UserError
from emojax.svr.newton import Solver
from emojax.svr.problem import Intercept, Loss, SVRConfig, SVRFit
from emojax.svr.sharded_rows import Matrix, Rows

logger = logging.getLogger(__name__)

_WIDE = 2048  # unknowns from which on one thread would take long for a Cholesky factor


def fit_svr(
    x: ArrayLike,
    y: ArrayLike,
    config: SVRConfig | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm] a class
    stream_rows: int | None = None,
) -> SVRFit:
    """Fit every column of y on x; `emojax.svr.problem` states the objective.

    Args:
        x: [n, d] float32 or float64 (other types are converted to float64), NumPy or JAX.
        y: [n, k] targets, or [n] for one.
        config: objective and stopping criterion; default `SVRConfig()`.
        sample_weight: [n] factors of C, at least 0; default ones.
        devices: local devices to share the rows; default all.
        stream_rows: keep x in host memory and transfer this many rows at a time, for an x larger
            than the memory of the devices, which holds two such parts at once. Default: x stays on
            the devices.

    Returns:
        The solution with its certificate; `converged` is False where `max_iter` was reached first.

    Raises:
        UserError: mismatched or empty shapes, NaN or infinity, negative weights.
    """
    matrix, targets, weight = _checked(x, y, sample_weight)
    with jax.enable_x64(True), _blas_threads(matrix.shape[1]):
        rows = Rows(matrix, devices or jax.local_devices(), stream_rows)
        fit = Solver(rows, targets, weight, config or SVRConfig()).run()
    if not fit.converged.all():
        logger.warning("the largest duality gap is %.1e after max_iter steps", fit.gap.max())
    return fit


def _blas_threads(width: int) -> contextlib.AbstractContextManager[object]:
    """Give BLAS one thread for Newton systems of `width` unknowns, unless they are large.

    On a CPU the Cholesky factors are LAPACK's. For 513 unknowns its threads wait for each other
    longer than they compute: of two cores 300 ms for eight factors, with one thread 19.
    """
    if width > _WIDE:
        return contextlib.nullcontext()
    return threadpool_limits(1, user_api="blas")


def _checked(
    x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Matrix, np.ndarray, np.ndarray]:
    """Return x [n, d], y [n, k] and weights [n] in the types the solver takes."""
    x = x if isinstance(x, jax.Array) else np.asarray(x)
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
    """Linear support vector regression of several targets, as a scikit-learn estimator.

    Parameters are those of scikit-learn's `LinearSVR` and of `SVRConfig`, and are validated by
    `fit`.

    Args:
        epsilon: half width of the tube without loss, in units of y.
        tol: relative duality gap to reach for every target.
        C: weight of the loss against ½‖w‖².
        loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
        fit_intercept: whether to fit an intercept.
        penalise_intercept: regularise it as liblinear does; False leaves it free, as libsvm does.
        intercept_scaling: value of liblinear's constant feature.
        max_iter: Newton steps at the most.

    Attributes:
        coef_: [d], or [k, d] for y [n, k].
        intercept_: [1] or [k]; 0.0 without intercept.
        primal_: [k] objective of the solution.
        dual_: [k] lower bound of the optimum.
        gap_: [k] relative duality gap.
        n_iter_: Newton steps taken.
        n_features_in_: d.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "C": [Interval(Real, 0, None, closed="neither")],
        "loss": [StrOptions(set(get_args(Loss)))],
        "fit_intercept": ["boolean"],
        "penalise_intercept": ["boolean"],
        "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

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
        self.epsilon, self.tol, self.C = epsilon, tol, C
        self.loss: Loss = loss
        self.fit_intercept, self.penalise_intercept = fit_intercept, penalise_intercept
        self.intercept_scaling, self.max_iter = intercept_scaling, max_iter

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the targets.

        Args:
            X: [n, d].
            y: [n] or [n, k].
            sample_weight: [n] factors of C; default ones.

        Returns:
            The estimator itself.

        Raises:
            InvalidParameterError: a parameter is out of range (a ValueError).
            ValueError: the arrays do not fit together or are not finite.

        Warns:
            ConvergenceWarning: a duality gap is above `tol` after `max_iter` steps.
        """
        checked: Any = validate_data(
            self,
            X,  # pyright: ignore[reportArgumentType] taken for str, from the default's type
            y,  # pyright: ignore[reportArgumentType] likewise
            dtype=[np.float64, np.float32],
            multi_output=True,
            y_numeric=True,
        )
        rows, targets = checked
        weight = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        fit = fit_svr(rows, targets, self._config(), sample_weight=weight)
        if not fit.converged.all():
            warnings.warn(
                f"duality gap {fit.gap.max():.1e} after {self.max_iter} steps; raise max_iter.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.coef_ = fit.coef[0] if targets.ndim == 1 else fit.coef
        self.intercept_ = fit.intercept if self.fit_intercept else 0.0
        self.primal_, self.dual_, self.gap_ = fit.primal, fit.dual, fit.gap
        self.n_iter_ = fit.iterations
        return self

    def _config(self) -> SVRConfig:
        intercept: Intercept = "penalised" if self.penalise_intercept else "free"
        return SVRConfig(
            loss=self.loss,
            C=self.C,
            epsilon=self.epsilon,
            intercept=intercept if self.fit_intercept else "none",
            intercept_scaling=self.intercept_scaling,
            tol=self.tol,
            max_iter=self.max_iter,
        )

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return predictions [n] or [n, k] for X [n, d]."""
        check_is_fitted(self)
        rows: Any = validate_data(
            self,
            X,  # pyright: ignore[reportArgumentType] as in `fit`
            dtype=[np.float64, np.float32],
            reset=False,
        )
        return rows @ self.coef_.T + self.intercept_
