"""Checks of named arrays: that they are there, of numbers, finite, and of shapes that agree."""

from collections.abc import Mapping

import numpy as np

from emojax.runtime.errors import shortened
from emojax.store.reader.contents import Malformed


class Table:
    """Named arrays of one file; sizes that bear one letter must agree.

    Args:
        arrays: as `read_npz` returns them.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Hold the arrays, none of them checked."""
        self._arrays, self._sizes = arrays, {}

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def numbers(self, name: str, *axes: str | int) -> np.ndarray:
        """Return an array of finite real numbers.

        Args:
            name: of the array.
            *axes: its shape; a letter stands for a size that is the same in all arrays asked for.

        Raises:
            Malformed: it is missing, of another shape, or of complex numbers, text or truths, or
                it holds NaN or infinity.
        """
        array = self._of_shape(name, axes)
        if array.dtype.kind not in "iuf":
            raise Malformed(f"{name} is of type {array.dtype}, wanted real numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Malformed(f"{name} holds NaN or infinity")
        return array

    def texts(self, name: str, axis: str) -> tuple[str, ...]:
        """Return a list of texts.

        Raises:
            Malformed: it is missing, or something else.
        """
        array = self._of_shape(name, (axis,))
        if array.dtype.kind != "U":
            raise Malformed(f"{name} is of type {array.dtype}, wanted texts")
        return tuple(map(str, array))

    def text(self, name: str) -> str:
        """Return a single text.

        Raises:
            Malformed: it is missing, or something else.
        """
        array = self._of_shape(name, ())
        if array.dtype.kind != "U":
            raise Malformed(f"{name} is of type {array.dtype}, wanted a text")
        return str(array)

    def _of_shape(self, name: str, axes: tuple[str | int, ...]) -> np.ndarray:
        if name not in self._arrays:
            held = shortened(", ".join(map(str, self._arrays)) or "nothing", 60)
            raise Malformed(f"it has no {name!r}, it holds {held}")
        array = self._arrays[name]
        wanted = [self._sizes.get(axis, axis) for axis in axes]
        fits = array.ndim == len(wanted) and all(
            isinstance(want, str) or want == size
            for want, size in zip(wanted, array.shape, strict=True)
        )
        if not fits:
            form = ", ".join(map(str, wanted))
            raise Malformed(f"{name} is {list(array.shape)[:8]}, wanted [{form}]")
        self._sizes |= {
            axis: size
            for axis, size in zip(axes, array.shape, strict=True)
            if isinstance(axis, str)
        }
        return array
