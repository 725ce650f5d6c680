"""`.safetensors` files as memory-mapped arrays.

The format is eight bytes of header length, a JSON header {name: {dtype, shape, data_offsets}}, and
the data (github.com/huggingface/safetensors, README, "Format").
"""

import math
import mmap
from typing import Any

import numpy as np

from convert.reader.budget import Budget
from convert.reader.records import Unreadable, Unsupported
from convert.reader.storages import DTYPES, naturals, shape_of
from emojax.store.reader.json_text import parse_object

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}

_TENSOR_OPERATIONS = 10  # what one entry of the header costs


def looks_like_safetensors(mapped: mmap.mmap) -> bool:
    """Whether a file begins as `.safetensors` files do: length of the header, then JSON."""
    if len(mapped) < 10:
        return False
    size = int.from_bytes(mapped[:8], "little")
    return 2 <= size <= len(mapped) - 8 and mapped[8:9] == b"{"


def read_safetensors(mapped: mmap.mmap, budget: Budget) -> dict[str, Any]:
    """Return the tensors of a mapped `.safetensors` file by name.

    A file whose header holds training options, `opts`, as 'emojax export weights' writes it, gives
    what the pSp family's own files hold: {"state_dict": tensors, "opts": options, "latent_avg": the
    tensor of that name, where there is one}.

    Raises:
        Unreadable: the header is malformed, a tensor lies outside the file, or its size does not
            agree with its shape.
        Unsupported: a tensor is of an unknown type.
        ValueError: the header is not JSON.
    """
    start = 8 + int.from_bytes(mapped[:8], "little")
    header = parse_object(mapped[8:start])
    about = header.pop("__metadata__", None)
    budget.spend(_TENSOR_OPERATIONS * len(header))
    tensors = {name: _tensor(mapped, start, entry, budget) for name, entry in header.items()}
    options = about.get("opts") if isinstance(about, dict) else None
    if not isinstance(options, str):
        return tensors
    held: dict[str, Any] = {"opts": parse_object(options.encode())}
    if "latent_avg" in tensors:
        held["latent_avg"] = tensors.pop("latent_avg")
    return {"state_dict": tensors, **held}


def _tensor(mapped: mmap.mmap, start: int, entry: Any, budget: Budget) -> np.ndarray:
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise Unreadable("a tensor has no dtype, shape or data_offsets")
    code = entry["dtype"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise Unsupported(f"it holds a tensor of type {str(code)[:50]}")
    dtype, shape = DTYPES[_DTYPES[code]], shape_of(entry["shape"])
    place = naturals(entry["data_offsets"], "the place of a tensor", most=2)
    first, end = place if len(place) == 2 else (1, 0)
    size = math.prod(shape) * dtype.itemsize
    if end - first != size or start + end > len(mapped):
        raise Unreadable(f"a tensor of shape {shape} does not fit its {end - first} bytes")
    budget.claim(size)
    if not size:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, buffer=mapped, offset=start + first)
