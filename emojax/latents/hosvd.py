"""Higher-order singular value decomposition of a tensor of codes, and the directions in it.

TensorGAN arranges codes by what they show: mode 0 is the latent code, mode 1 the person, mode 2 the
emotion, and further modes such as intensity and view. With Q = core ×₀ U₀ a code is Q contracted
with one row of each other factor; a direction takes the row of its emotion, and the mean row of the
others. At full rank that is the mean centred code of the emotion.

Source: Haas, Graßhof and Brandt 2022; renhaa/tensorgan `tensormodel_pytorch.py`.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from emojax.runtime.choices import Truncation

EMOTION = 2
"""The mode of the emotions."""


class Hosvd(NamedTuple):
    """A decomposed tensor, float64.

    Attributes:
        mean: [D] mean code, which is subtracted first.
        factors: U of each mode, [size, rank], orthonormal columns; the largest entry of each column
            is positive.
        core: [rank of each mode].
        singular: singular values of each mode, those left out too.
    """

    mean: np.ndarray
    factors: tuple[np.ndarray, ...]
    core: np.ndarray
    singular: tuple[np.ndarray, ...]

    def code(self, rows: Mapping[int, np.ndarray]) -> np.ndarray:
        """Return the centred code [D] of given rows of factors, by mode; of others the mean row."""
        x = self.core
        for mode in range(len(self.factors) - 1, 0, -1):
            row = rows.get(mode, self.factors[mode].mean(0))
            x = np.tensordot(x, row, ([mode], [0]))
        return self.factors[0] @ x

    def emotions(self) -> np.ndarray:
        """Return the direction of each emotion, [E,D]; they sum to 0."""
        return np.stack([self.code({EMOTION: row}) for row in self.factors[EMOTION]])

    def view(self) -> np.ndarray:
        """Return the direction [D] from the second to the first of two views, the last mode.

        Raises:
            ValueError: the last mode has another size than 2.
        """
        last = len(self.factors) - 1
        factor = self.factors[last]
        if last <= EMOTION or len(factor) != 2:
            raise ValueError(f"the last mode has {len(factor)} entries, wanted two views")
        return self.code({last: factor.mean(0) + np.array([1.0, -1.0]) @ factor})

    def restored(self) -> np.ndarray:
        """Return the tensor that the factors and the core stand for, with the mean."""
        whole = functools.reduce(_product, enumerate(self.factors), self.core)
        return whole + self.mean.reshape(-1, *[1] * (whole.ndim - 1))


def decompose(
    tensor: np.ndarray, ranks: Sequence[int] = (), truncation: Truncation = "sequential"
) -> Hosvd:
    """Decompose codes [D,P,E,...].

    Args:
        tensor: codes by person, emotion and further modes.
        ranks: columns to keep of each factor; none: all, and the decomposition is exact.
        truncation: where ranks are given, "sequential" takes the modes one after the other, the
            last first, each from the tensor that the others have cut already, as the original does;
            "classical" takes all from the whole tensor.

    Raises:
        ValueError: fewer than three modes, or ranks that do not fit.
    """
    if tensor.ndim < 3:
        raise ValueError(f"the tensor is {list(tensor.shape)}, wanted [code, person, emotion, ...]")
    if ranks and (len(ranks) != tensor.ndim or min(ranks) < 1):
        raise ValueError(f"ranks are {list(ranks)}, wanted {tensor.ndim} numbers of 1 or more")
    tensor = tensor.astype(np.float64)
    mean = tensor.reshape(len(tensor), -1).mean(1)
    centred = tensor - mean.reshape(-1, *[1] * (tensor.ndim - 1))
    rest, found = centred, {}
    for mode in reversed(range(tensor.ndim)):
        u, values = _factor(rest, mode)
        u = u[:, : ranks[mode]] if ranks else u
        found[mode] = u, values
        if ranks and truncation == "sequential":
            rest = _product(rest, (mode, u.T))
    factors = tuple(found[mode][0] for mode in range(tensor.ndim))
    core = functools.reduce(_product, enumerate(u.T for u in factors), centred)
    return Hosvd(mean, factors, core, tuple(found[mode][1] for mode in range(tensor.ndim)))


def _factor(tensor: np.ndarray, mode: int) -> tuple[np.ndarray, np.ndarray]:
    """Return left singular vectors and singular values of an unfolding."""
    unfolded = np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)
    u, values, _ = np.linalg.svd(unfolded, full_matrices=False)
    signs = np.sign(u[np.abs(u).argmax(0), np.arange(u.shape[1])])
    return u * signs, values


def _product(tensor: np.ndarray, factor: tuple[int, np.ndarray]) -> np.ndarray:
    """Multiply a mode of a tensor by a matrix [new, old]."""
    mode, matrix = factor
    return np.moveaxis(np.tensordot(matrix, tensor, ([1], [mode])), 0, mode)
