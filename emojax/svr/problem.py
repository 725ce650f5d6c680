"""Linear ε-insensitive support vector regression: objective, settings and solution.

For each target, with residuals rᵢ = yᵢ − w·xᵢ − b and excesses sᵢ = max(|rᵢ| − ε, 0), minimise

    ½‖w‖² + ½ρb² + C Σ cᵢ sᵢ      (`epsilon_insensitive`)
    ½‖w‖² + ½ρb² + C Σ cᵢ sᵢ²     (`squared_epsilon_insensitive`)

where cᵢ are the sample weights and ρ depends on the intercept: 1/intercept_scaling² if it is
penalised (liblinear, scikit-learn's `LinearSVR`), 0 if it is free (libsvm, `SVR(kernel="linear")`);
without intercept b = 0. The dual maximises

    y·α − ε‖α‖₁ − ½‖Xᵀα‖² − (Σα)²/(2ρ)

over |αᵢ| ≤ C cᵢ for the absolute loss; the squared loss has the term −Σ αᵢ²/(4 C cᵢ) instead of the
bound. A free intercept adds the constraint Σα = 0. Any feasible α bounds the optimum from below, so
the duality gap certifies how close a solution is.
"""

import math
import typing
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emojax.runtime.errors import UserError

Loss = Literal["epsilon_insensitive", "squared_epsilon_insensitive"]
Intercept = Literal["penalised", "free", "none"]


@dataclass(frozen=True)
class SVRConfig:
    """Objective and stopping criterion; `C` and `epsilon` are scikit-learn's.

    Attributes:
        loss: absolute or squared excess.
        C: weight of the loss against ½‖w‖²; positive and finite.
        epsilon: half width of the tube without loss, in units of y; at least 0.
        intercept: `penalised` as in liblinear, `free` as in libsvm, or `none`.
        intercept_scaling: value of liblinear's constant feature; only `penalised` uses it.
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
            allowed = typing.get_args(choices)
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} is {getattr(self, name)!r}; choose one of {allowed}.")
        for name in ("C", "intercept_scaling", "tol", "max_iter"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}; give a number above 0.")
        if not 0 <= self.epsilon < math.inf:
            raise UserError(f"epsilon is {self.epsilon}; give a number of at least 0.")


@dataclass(frozen=True)
class SVRFit:
    """A solution and its certificate, float64, one entry for each of the k targets.

    Attributes:
        coef: [k, d] weights w.
        intercept: [k] intercepts b.
        primal: [k] objective at (coef, intercept).
        dual: [k] dual objective of a feasible α, a lower bound of the optimum.
        gap: [k] (primal − dual) / primal, 0 where both vanish.
        converged: [k] whether the gap is within `tol`, or within float64 rounding.
        iterations: Newton steps taken, for all targets together.
    """

    coef: np.ndarray
    intercept: np.ndarray
    primal: np.ndarray
    dual: np.ndarray
    gap: np.ndarray
    converged: np.ndarray
    iterations: int
