"""Arrays in NumPy's .npy format, out of bytes from outside."""

import io
import math
import threading
import tokenize
import warnings

import numpy as np

from emojax.store.reader.contents import Malformed

_LONGEST_HEADER = 10_000
_HEAD = 2**14
"""Bytes that hold any header that is read."""
_KINDS = "biufcSU"
"""Kinds of dtype: numbers and text, no Python objects, records or times."""
_ONE_PARSER = threading.Lock()
"""Held while a header is parsed: CPython 3.11 counts the depth of a parse for all threads together
and raises SystemError when two parse Python text at once, as NumPy does with headers. Filters of
warnings belong to all threads, too."""


def read_npy(data: bytes | bytearray | memoryview | np.ndarray) -> np.ndarray:
    """Return the array of an .npy file, a read-only view of its bytes in native byte order.

    Args:
        data: all of the file's bytes: an object with a contiguous buffer, such as bytes or uint8.
            Of one that can be written, the bytes of another order are turned in place; of any
            other they are turned in a copy.

    Raises:
        Malformed: the header is damaged or unusual, or claims another size than there is.
    """
    view = (data.data if isinstance(data, np.ndarray) else memoryview(data)).cast("B")
    stream = io.BytesIO(view[:_HEAD])
    shape, fortran, dtype = read_header(stream)
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise Malformed(f"it holds an array of type {str(dtype)[:40]!r}, not of numbers or text")
    rest = view[stream.tell() :]
    if any(type(size) is not int or size < 0 for size in shape) or len(shape) > 32:
        raise Malformed(f"it claims an array of shape {str(shape)[:60]}")
    if math.prod(shape) * dtype.itemsize != len(rest):
        raise Malformed(f"it claims {str(shape)[:60]} of {dtype} and has {len(rest):,} bytes")
    array = np.ndarray(shape, dtype, buffer=rest, order="F" if fortran else "C")
    if not dtype.isnative and array.flags.writeable:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    elif not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="), order="K")
    array.flags.writeable = False
    return array


def read_header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, whether the order is Fortran's, and dtype; leave the stream behind them.

    Raises:
        Malformed: the header is damaged or unusual.
    """
    try:
        with _ONE_PARSER, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the parser, about malformed text
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                return np.lib.format.read_array_header_1_0(stream, _LONGEST_HEADER)
            if version == (2, 0):
                return np.lib.format.read_array_header_2_0(stream, _LONGEST_HEADER)
    except (  # what it raises over malformed headers
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        SyntaxError,
        MemoryError,
        RecursionError,
        EOFError,
        tokenize.TokenError,
    ) as error:
        raise Malformed(f"the header of an array is damaged, {error}") from error
    raise Malformed(f"it holds an array in version {version} of the npy format")
