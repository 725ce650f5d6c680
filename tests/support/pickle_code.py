"""Torch pickles and zip checkpoints written opcode by opcode, for the tests of the reader."""

import struct
import zipfile


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def name_of(kind):
    module, _, name = kind.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def tensor_of(shape, strides, *, kind="torch.FloatStorage", key="0", size=4, offset=0, extra=b""):
    """The opcodes of torch for one tensor."""
    storage = b"(" + text("storage") + name_of(kind) + text(key) + text("cpu")
    storage += number(size) + b"tQ"
    axes = [b"(" + b"".join(map(number, values)) + b"t" for values in (shape, strides)]
    hooks = name_of("collections.OrderedDict") + b")R"
    arguments = [storage, number(offset), *axes, b"\x89", hooks, extra]
    return name_of("torch._utils._rebuild_tensor_v2") + b"(" + b"".join(arguments) + b"tR"


def write_zip(path, code, records=(), *, compression=zipfile.ZIP_STORED):
    """A zip checkpoint whose data.pkl is `code` (without PROTO and STOP)."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + code + b".")
        for name, data in dict(records).items():
            archive.writestr(f"archive/{name}", data)
    return path


def write_pickle(path, code):
    path.write_bytes(b"\x80\x04" + code + b".")
    return path
