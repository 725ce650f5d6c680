"""Small files that ask for much are refused within a second and 256 MB, measured outside."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convert.reader.budget import Budget
from convert.reader.checkpoint_file import Record, load, state_dict
from convert.reader.records import Unreadable
from emojax.runtime.errors import UserError
from tests.fuzz.mutations.pickles import number, text
from tests.support.pickle_code import name_of, tensor_of, write_pickle, write_zip

MEGABYTE = 2**20

MEASURE = """
import json, pathlib, sys, time
from convert.reader.checkpoint_file import load

def memory(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

for path in sys.argv[1:]:
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before, start, said = memory("VmRSS"), time.process_time(), ""
    try:
        kept = load(path)
    except ValueError as error:
        said = str(error)
    seconds = time.process_time() - start
    print(json.dumps([said, seconds, memory("VmHWM") - before]), flush=True)
    kept = None
"""


def repeated(code: bytes, count: int) -> bytes:
    return code * count


def array_of_nothing(order: str) -> bytes:
    """A NumPy array of 10⁹ items of no size."""
    dtype = name_of("numpy.dtype") + text("U0") + b"\x85R(K\x03" + text(order) + b"tb"
    made = name_of("numpy.core.multiarray._reconstruct") + b")R"
    return made + b"(K\x01" + number(10**9) + b"\x85" + dtype + b"\x89" + b"C\x00tb"


def tuple_keys(count: int) -> bytes:
    """Tuples of -1 and -2, whose hashes are all equal."""
    keys = [
        b"(" + b"".join(b"h\x01" if i >> bit & 1 else b"h\x02" for bit in range(14)) + b"tN"
        for i in range(count)
    ]
    return number(-1) + b"q\x010" + number(-2) + b"q\x020}(" + b"".join(keys) + b"u"


def merged_state(size: int, count: int) -> bytes:
    """Instances whose state is put together from one large dict and an empty one."""
    items = b"".join(text(f"{i}") + b"N" for i in range(size))
    return b"}(" + items + b"u" + b"q\x010](" + b"ca\nB\n)\x81h\x01}\x86b" * count + b"e"


def shape_of_large_numbers() -> bytes:
    """A NumPy array whose shape takes long to multiply."""
    dtype = name_of("numpy.dtype") + text("f4") + b"\x85R(K\x03" + text("<") + b"tb"
    made = name_of("numpy.core.multiarray._reconstruct") + b")R"
    shape = number(2**62) + b"q\x010(" + b"h\x01" * 300_000 + b"t"
    return made + b"(K\x01" + shape + dtype + b"\x89" + b"C\x00tb"


def safetensors(entries: dict) -> bytes:
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header


EMPTY = {"dtype": "U8", "data_offsets": [0, 0]}
JOINED = text("x" * 100_000) + b"q\x010](" + repeated(b"h\x01h\x01\x93", 5000) + b"e"

PICKLES = {
    "items of no size": array_of_nothing("<"),
    "items of no size, swapped": array_of_nothing(">"),
    "names joined again and again": JOINED,
    "state merged again and again": merged_state(20_000, 2000),
    "a shape of large numbers": shape_of_large_numbers(),
    "keys of equal hash": tuple_keys(16_000),
    "four million sets": repeated(b"\x8f", 4 * MEGABYTE),
    "a million lists": repeated(b"]", MEGABYTE),
    "three million memo entries": b"N" + repeated(b"\x94", 3 * MEGABYTE),
    "a dict copied again and again": (
        b"}(" + b"".join(text(f"{i}") + b"N" for i in range(10_000)) + b"u"
        b"q\x010](" + repeated(name_of("builtins.dict") + b"h\x01\x85R", 1000) + b"e"
    ),
    "text of wide letters": repeated(text("\U0001f600" + "x" * MEGABYTE), 90),
}

FILES = {
    "empty tensors of many axes": safetensors({"a": {**EMPTY, "shape": [0] * 60_000}}),
    "many empty tensors of many axes": safetensors(
        {f"{i}": {**EMPTY, "shape": [0] * 6000} for i in range(15)}
    ),
    "a million empty objects": safetensors({"a": [{}] * MEGABYTE}),
}


def write_bomb(path: Path) -> Path:
    """A checkpoint of 3 MB within the ratio of 100, with a record of 300 MB of zeros."""
    size = 300 * MEGABYTE
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + tensor_of([1], [1], size=size // 4) + b".")
        archive.writestr("a/other", np.random.default_rng(0).bytes(3 * MEGABYTE))
        archive.writestr("a/data/0", bytes(size), zipfile.ZIP_DEFLATED, 1)
    return path


def write_swapped(path: Path) -> Path:
    """A big-endian checkpoint whose one storage is read, and its bytes are turned, 3000 times."""
    storage = tensor_of([1], [1], size=MEGABYTE // 2)
    records = {"byteorder": b"big", "data/0": bytes(2 * MEGABYTE)}
    return write_zip(path, b"(" + storage * 3000 + b"t", records)


def write_headers(path: Path) -> Path:
    """Arrays whose headers are long to parse and short when they are compressed."""
    header = b"{'descr': " + b"'' " * 2900 + b"'<f4', 'fortran_order': False, 'shape': (), }\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(4)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(4000):
            archive.writestr(f"{i}.npy", array)
    return path


ARCHIVES = {
    "a zip bomb": write_bomb,
    "a storage turned again and again": write_swapped,
    "headers that are long to parse": write_headers,
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What `load` said of each file, its seconds of CPU time, peak memory, and the file's size."""
    folder, names = tmp_path_factory.mktemp("hostile"), [*PICKLES, *FILES, *ARCHIVES]
    for i, name in enumerate(names):
        if name in PICKLES:
            write_pickle(folder / str(i), PICKLES[name])
        elif name in FILES:
            (folder / str(i)).write_bytes(FILES[name])
        else:
            ARCHIVES[name](folder / str(i))
    paths = [str(folder / str(i)) for i in range(len(names))]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True
    )
    found = map(json.loads, done.stdout.splitlines())
    sizes = [os.path.getsize(path) for path in paths]
    return {name: (*each, size) for name, each, size in zip(names, found, sizes, strict=True)}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux' /proc")
@pytest.mark.parametrize("name", [*PICKLES, *FILES, *ARCHIVES])
def test_a_small_file_costs_little(name, measured):
    said, seconds, peak, size = measured[name]
    assert "cannot be read" in said or "is damaged" in said
    assert seconds < 1 + size / 2**25  # a sound file of that size: its checksum, 1 s for 1 GB
    assert peak < 2**28 + 3 * size


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(UserError, match="is a pipe or a device"):
        load(tmp_path / "pipe.pt")
    with pytest.raises(UserError, match="null byte"):
        load("a\0b")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_expand_without_bound_are_not_tried(method, tmp_path):
    path = write_zip(tmp_path / "a.pt", b"N", compression=method)
    data = bytearray(path.read_bytes())
    data[50:52] = b"\xff\xff"  # the properties of LZMA, which used to end in its traceback
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"method 1\d, wanted none or deflation"):
        load(path)


def test_a_directory_of_too_many_records(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for i in range(30_000):
            archive.writestr(f"{i:050}", b"")
    with pytest.raises(UserError, match="far too many records"):
        load(tmp_path / "a.pt")


def test_views_of_one_storage_are_counted(tmp_path):
    """Each of many tensors is the whole of a storage: whoever reads them reads it that often."""
    storage = {"data/0": bytes(MEGABYTE)}
    views = tensor_of([2**18], [1], size=2**18) * 300
    with pytest.raises(UserError, match="repeat its storages until they are huge"):
        load(write_zip(tmp_path / "a.pt", b"(" + views + b"t", storage))
    shared = load(write_zip(tmp_path / "b.pt", b"(" + views[: len(views) // 10] + b"t", storage))
    assert len(shared) == 30


def test_sound_files_of_unusual_kinds_are_read(tmp_path):
    """Long lists of numbers, plain arrays in a pickle of any protocol, tuples as keys."""
    values = {
        "losses": [0.5 * i for i in range(100_000)],
        "table": np.arange(2**20, dtype="f4"),
        "keys": {(i, "a"): i for i in range(200)},
        "names": {f"layer{i}" for i in range(1000)},
    }
    for protocol in range(2, 6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(values, protocol))
        found = load(tmp_path / "a.pkl")
        np.testing.assert_array_equal(found.pop("table"), values["table"])
        assert found == {key: value for key, value in values.items() if key != "table"}


def test_the_budget_grows_with_the_file():
    small, large = Budget(0), Budget(2**30)
    large.hold(2**31)
    large.spend(2**20)
    for count, most in ((small.hold, 2**27), (small.spend, 2**20), (small.claim, 2**29)):
        with pytest.raises(Unreadable):
            count(most)


def test_names_of_a_network_are_short_text():
    weight = np.ones(1, np.float32)
    network = Record("a.Net", {"_parameters": {7: weight}, "_buffers": {}, "_modules": {}})
    with pytest.raises(UserError, match="a part of a network is named by a int"):
        state_dict(network)
    with pytest.raises(UserError, match="a part of a network is named by a int"):
        state_dict({7: weight})
    long = Record("a.Net", {"_parameters": {"x" * 501: weight}, "_buffers": {}, "_modules": {}})
    with pytest.raises(UserError, match="a name of 501 letters"):
        state_dict(long)
