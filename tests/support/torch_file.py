"""PyTorch's zip format written without PyTorch: nested dicts of arrays, strings and numbers."""

import math
import struct
import zipfile

import numpy as np

from tests.support.pickle_code import number, tensor_of, text

STORAGES = {"float32": "torch.FloatStorage", "int64": "torch.LongStorage"}


def write(path, contents):
    """Write a file as `torch.save(contents, path)` does, and return its path."""
    records = []
    code = _code(contents, records)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + code + b".")
        for key, array in enumerate(records):
            with archive.open(f"archive/data/{key}", "w", force_zip64=True) as record:
                record.write(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
    return path


def _code(value, records):
    """Return the opcodes of a value; its arrays are appended to `records`."""
    if isinstance(value, dict):
        items = b"".join(_code(k, records) + _code(v, records) for k, v in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, np.ndarray):
        same = [i for i, each in enumerate(records) if each is value]  # a shared storage
        if not same:
            records.append(value)
        strides = [math.prod(value.shape[axis + 1 :]) for axis in range(value.ndim)]
        kind, key = STORAGES[value.dtype.name], str(same[0] if same else len(records) - 1)
        return tensor_of(value.shape, strides, kind=kind, key=key, size=value.size)
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    return text(value) if isinstance(value, str) else number(value)
