"""The functions that a pickle may call: our own, under the names that torch and NumPy use.

Arguments come from the file and are untrusted until checked; `TypeError`, `ValueError` and the like
count as damage. No function here calls anything that it was given.
"""

import functools
import math
import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from convert.reader.budget import Budget
from convert.reader.records import Name, Record, Unreadable, Unsupported
from convert.reader.storages import DTYPES, shape_of, tensor

_OBJECTS = Name("numpy.object")
"""Stands for the dtype of objects."""


def _rebuild_tensor(
    budget: Budget, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any
) -> np.ndarray:
    """torch._utils._rebuild_tensor_v2; the rest is requires_grad, hooks and metadata."""
    if len(rest) > 2 and rest[2]:
        raise Unsupported("it holds a tensor saved as a lazy conjugate or negative")
    return tensor(budget, storage, offset, shape, strides)


def _rebuild_tensor_v3(
    budget: Budget,
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _grad: Any,
    _hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> np.ndarray:
    """torch._utils._rebuild_tensor_v3: dtypes that have no class of storage."""
    name = dtype.kind.removeprefix("torch.") if isinstance(dtype, Name) else ""
    if name not in DTYPES or metadata:
        raise Unsupported(f"it holds a tensor of type {name[:50] or 'unknown'}")
    return tensor(budget, storage, offset, shape, strides, DTYPES[name])


def _rebuild_parameter(data: Any, *_rest: Any) -> Any:
    """torch._utils._rebuild_parameter: requires_grad, hooks and state are left out."""
    return data


# ---- NumPy objects


def _build_dtype(arguments: Any, state: Any) -> np.dtype:
    """A pickled numpy.dtype: ("f8", ...) and the state (version, "<", ...)."""
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or not re.fullmatch(r"[biufcSU]\d{1,9}", code):
        raise Unsupported("it holds a NumPy array of objects or records")
    order = state[1]
    if order not in ("<", ">", "|", "="):
        raise Unreadable("the byte order of a NumPy dtype is malformed")
    dtype = np.dtype(order + code)
    if not dtype.itemsize:  # an array of such items could claim any shape
        raise Unsupported("it holds a NumPy array of items without a size")
    return dtype


def _values(
    dtype: Any, shape: tuple[int, ...], data: Any, order: Literal["C", "F"] = "C"
) -> np.ndarray:
    """Bytes as a read-only array of native byte order."""
    if isinstance(data, str):  # as Python 2 wrote bytes
        data = data.encode("latin-1")
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes | bytearray):
        raise Unsupported("it holds a NumPy array of objects or records")
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise Unreadable(f"a NumPy array of shape {shape} has {len(data)} bytes")
    array = np.ndarray(shape, dtype, buffer=data, order=order)
    array.flags.writeable = False
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="), order="K")


def _build_array(_arguments: Any, state: Any) -> np.ndarray:
    """A pickled numpy.ndarray: (version, shape, dtype, is Fortran order, bytes)."""
    _, shape, dtype, fortran, data = state
    return _values(dtype, shape_of(shape), data, "F" if fortran is True else "C")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    """numpy._core.numeric._frombuffer: how protocol 5 writes arrays."""
    return _values(dtype, shape_of(shape), data, "F" if order == "F" else "C")


def _scalar(dtype: Any, data: Any = b"") -> Any:
    return _values(dtype, (), data)[()]


# ---- NumPy's array of one object, as np.save writes a dict


def _build_object_dtype(arguments: Any, state: Any) -> np.dtype | Name:
    """A pickled numpy.dtype, that of objects among them."""
    if isinstance(arguments, tuple) and arguments[:1] == ("O8",):
        return _OBJECTS
    return _build_dtype(arguments, state)


def _build_object(arguments: Any, state: Any) -> Any:
    """A pickled numpy.ndarray; of objects only one without axes, which becomes its object."""
    _, shape, dtype, _, data = state
    if dtype is not _OBJECTS:
        return _build_array(arguments, state)
    if shape != () or not isinstance(data, list) or len(data) != 1:
        raise Unsupported("it holds a NumPy array of objects or records")
    return data[0]


# ---- Python objects that pickles make by a call


def _elements(items: Any) -> Any:
    """Return `items` if going through them costs no more than their length."""
    if not isinstance(items, list | tuple | set | frozenset):
        raise Unreadable(f"a container is made from a {type(items).__name__}")
    return items


def _dict(budget: Budget, items: Any = ()) -> dict:
    """OrderedDict and its kin, from nothing, from a dict or from pairs (Python 2)."""
    pairs = items.items() if isinstance(items, dict) else map(_elements, _elements(items))
    return {budget.key(key): value for key, value in pairs}


def _list(items: Any = ()) -> list:
    return list(_elements(items))


def _tuple(items: Any = ()) -> tuple:
    return tuple(_elements(items))


def _set(budget: Budget, items: Any = ()) -> set:
    return {budget.key(item) for item in _elements(items)}


def _frozenset(budget: Budget, items: Any = ()) -> frozenset:
    return frozenset(_set(budget, items))


def _complex(real: Any, imaginary: Any) -> complex:
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise Unreadable("a complex number is malformed")
    return complex(real, imaginary)


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    """_codecs.encode: how protocol 2 writes bytes."""
    if encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise Unreadable("it encodes text in an unusual way")
    return str.encode(text, encoding)


def _bytes(data: Any = b"", encoding: Any = "latin-1") -> bytes:
    if isinstance(data, str):
        return _encode(data, encoding)
    if not isinstance(data, bytes | bytearray):
        raise Unreadable("bytes are made from something else")
    return bytes(data)


def _inert(kind: str) -> Callable[..., Record]:
    """A constructor that only notes its arguments."""
    return lambda *arguments: Record(kind, arguments)


def _reconstructed(kind: Any, _base: Any, state: Any) -> Record:
    """copyreg._reconstructor: how protocols 0 and 1 make instances."""
    if not isinstance(kind, Name):
        raise Unreadable("an instance has no class")
    return Record(kind.kind, {} if state is None else (state,))


def _persistent_object(meta: Any) -> Record:
    """NVlabs' torch_utils/persistence.py: a class's source text and its state; the text is left."""
    name = meta.get("class_name") if isinstance(meta, dict) else None
    if not isinstance(name, str):
        raise Unreadable("a persistent object is malformed")
    return Record(name, meta["state"])


# fmt: off
_INERT = (
    "torch.device", "torch.serialization._get_layout", "builtins.slice", "builtins.range",
    "functools.partial", "datetime.date", "datetime.datetime", "datetime.timedelta", "uuid.UUID",
    "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath", "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
)
# fmt: on

_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch.Size": _tuple,
    "torch.jit._pickle.build_intlist": _list,
    "torch.jit._pickle.build_doublelist": _list,
    "torch.jit._pickle.build_boollist": _list,
    "torch.jit._pickle.build_tensorlist": _list,
    "torch.jit._pickle.restore_type_tag": lambda value, _type: value,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "collections.defaultdict": lambda _factory=None: {},
    "builtins.list": _list,
    "builtins.tuple": _tuple,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.complex": _complex,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstructed,
    "numpy.dtype": _inert("numpy.dtype"),  # becomes a dtype with its state, see BUILDS
    **{
        f"numpy.{package}.{function}": implementation
        for package in ("core", "_core")  # NumPy 1 and 2
        for function, implementation in (
            ("multiarray._reconstruct", _inert("numpy.ndarray")),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _from_buffer),
        )
    },
    **{kind: _inert(kind) for kind in _INERT},
}

_COUNTED: dict[str, Callable[..., Any]] = {  # these are given the budget first
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "dnnlib.util.EasyDict": _dict,
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "builtins.dict": _dict,
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
}

BUILDS: dict[str, Callable[[Any, Any], Any]] = {
    "numpy.dtype": _build_dtype,
    "numpy.ndarray": _build_array,
}


OBJECT_BUILDS: dict[str, Callable[[Any, Any], Any]] = {
    "numpy.dtype": _build_object_dtype,
    "numpy.ndarray": _build_object,
}
"""In place of `BUILDS` for a .npy file of one object."""


def calls(budget: Budget, load_from_bytes: Callable[[Any], Any]) -> dict[str, Callable[..., Any]]:
    """Return everything a pickle may call, by the name it uses.

    Args:
        budget: the work that is left.
        load_from_bytes: stands in for torch.storage._load_from_bytes: the bytes of a legacy
            stream -> its `Storage`.
    """
    counted = {kind: functools.partial(each, budget) for kind, each in _COUNTED.items()}
    return {**_CALLS, **counted, "torch.storage._load_from_bytes": load_from_bytes}
