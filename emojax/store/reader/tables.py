"""Checks of named arrays: that they are there, of numbers, finite, and of shapes that agree."""

from collections.abc import Iterator, Mapping

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

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def size(self, name: str) -> int:
        """Return the size of an array's first axis.

        Raises:
            Malformed: it is missing, or a single value.
        """
        array = self._array(name)
        if not array.ndim:
            raise Malformed(f"{name} is a single value, wanted an array")
        return len(array)

    def rank(self, name: str) -> int:
        """Return the number of an array's axes.

        Raises:
            Malformed: it is missing.
        """
        return self._array(name).ndim

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

    def rows(self, name: str, count: int) -> np.ndarray:
        """Return an array of real numbers, NaN and infinity among them, by its number of rows.

        Raises:
            Malformed: it is missing, has another number of rows, or holds something else.
        """
        array = self._array(name)
        if array.ndim < 1 or len(array) != count or array.dtype.kind not in "iufb":
            held = f"{list(array.shape)[:8]} of {array.dtype}"
            raise Malformed(f"{shortened(name, 40)} is {held}, wanted {count} rows of numbers")
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

    def _array(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            held = shortened(", ".join(map(str, self._arrays)) or "nothing", 60)
            raise Malformed(f"it has no {name!r}, it holds {held}")
        return self._arrays[name]

    def _of_shape(self, name: str, axes: tuple[str | int, ...]) -> np.ndarray:
        array = self._array(name)
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
