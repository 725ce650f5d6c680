"""Settings of a fit of directions, as flags and as an argument; needs no jax."""

import dataclasses
import math
from typing import Literal

from emojax.runtime.choices import FitMethod, Truncation
from emojax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """Method and split of `emojax.latents.fit_directions.fit`."""

    method: FitMethod = "svr"
    """svr: linear support vector regression (the paper). extremes: a linear SVM that separates the
    highest from the lowest samples (InterfaceGAN). pca: principal components (GANSpace). tensor: a
    decomposition of the codes of people who show every emotion (TensorGAN)."""
    loss: Literal["squared", "absolute"] = "squared"
    """svr: squared or absolute error. The squared loss fits the mean probability, the absolute loss
    its median, which is nearly constant for rare emotions."""
    regularisation: float = 0.083332
    """svr: r in (mean loss) + r v |w|^2, v being the mean variance of the codes' coordinates: r v
    is added to the variance of every axis. It needs no change for other numbers of samples or
    another unit of W; scikit-learn's C is 1 / (2 r v samples). Smaller values let the direction run
    along axes in which codes hardly differ, where a move changes nothing; larger ones turn it
    towards the axes in which codes differ most."""
    epsilon: float = 0.0
    """svr: error without loss, in units of probability."""
    intercept: Literal["penalised", "free"] = "free"
    """svr: as in scikit-learn's SVR (free) or LinearSVR (penalised). With a free one the vectors
    of emotions whose probabilities sum to 1 sum to 0."""
    tol: float = 1e-4
    """svr: relative duality gap to reach."""
    extremes: int = 10_000
    """extremes: samples at either end, for each emotion."""
    ranks: tuple[int, ...] = ()
    """tensor: columns to keep of code, person, emotion and each further mode; default: all, which
    is exact."""
    truncation: Truncation = "sequential"
    """tensor: with ranks, cut one mode after the other, the last first, as the original does, or
    all from the whole tensor (classical)."""
    held_out: float = 0.1
    """Share of the samples to validate on: those with the highest ids."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UserError: one is out of range.
        """
        for name in ("regularisation", "tol"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}, wanted a number above 0")
        if not 0 <= self.epsilon < math.inf:
            raise UserError(f"epsilon is {self.epsilon}, wanted 0 or more")
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out is {self.held_out}, wanted a share between 0 and 1")
        if self.ranks and min(self.ranks) < 1:
            raise UserError(f"ranks are {self.ranks}, wanted numbers of 1 or more")
        if self.extremes < 1:
            raise UserError(f"extremes is {self.extremes}, wanted 1 or more samples")
