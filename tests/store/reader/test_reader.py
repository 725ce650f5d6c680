"""The door for files from outside: what is refused, in which words, and at which cost."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emojax.runtime.errors import UserError, shortened
from emojax.store.reader.contents import Kind, Malformed, reading
from emojax.store.reader.fields import record
from emojax.store.reader.json_text import parse, parse_object
from emojax.store.reader.npy import read_npy
from emojax.store.reader.npz import read_npz, write_npz
from emojax.store.reader.tables import Table

KIND = Kind("a table", "write it again", most=1000)
"""What the files of these tests should be."""


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    write_npz(stream, {name: np.asarray(array) for name, array in arrays.items()})
    return stream.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


# ---- files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    sentence = r"not a table \(it is a pipe or a device"
    with pytest.raises(UserError, match=sentence), reading(tmp_path / "pipe", KIND):
        pass


def test_what_is_no_file_is_one_line(tmp_path):
    (tmp_path / "large").write_bytes(bytes(2000))
    cases = {
        tmp_path / "none": "no file .*none: write it again",
        tmp_path: r"is not a table \(Is a directory\): write it again",
        tmp_path / "large": r"\(it has 2,000 bytes, more than 1,000\)",
        tmp_path / "evil\n\x1b[31m.npz": r"no file .*evil\\n\\x1b\[31m\.npz",
        tmp_path / ("n" * 300): r"nnn \.\.\. nnn.*\(File name too long\)",
    }
    for file, sentence in cases.items():
        with pytest.raises(UserError, match=sentence) as error, reading(file, KIND):
            pass
        assert "\n" not in str(error.value)
        assert len(str(error.value)) <= 300


def test_the_middle_of_a_long_text_is_left_out():
    assert shortened("abc\n\x1b", 20) == r"abc\n\x1b"
    for text in ("x" * 41, "x" * 10**6, "\x1b" * 50):
        short = shortened(text, 40)
        assert len(short) == 40
        assert short.isprintable()


# ---- JSON


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no readable JSON"),
        ("[" * 10_000, "nested too deeply"),
        ("NaN", "holds NaN, which is no number"),
        ("9" * 5000, "no readable JSON"),
        (b"\xff\xfe\xff", "no readable JSON"),
        ("[1]", "a list, not an object"),
        ("null", "null, not an object"),
        ("[" + "[]," * 2_000_000 + "1]", "more values than are read"),
    ],
)
def test_json_that_is_refused(text, sentence):
    with pytest.raises(Malformed, match=sentence):
        parse_object(text)


def test_honest_landmarks_of_a_data_set_are_read():
    points = [[[10.5, 20.25]] * 5]
    table = {f"{number:05d}.png": points for number in range(20_000)}
    assert parse(json.dumps(table)) == table


# ---- arrays


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}", "claims"),
        ("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000,)}", "of type"),
        ("{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000,)}", "of type"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "of type 'object'"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", "claims"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}", "claims"),
        ("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}", "of type"),
        ("{'descr': '<f8', 'shape': (1,)}", "header of an array is damaged"),
        ("{" * 60, "header of an array is damaged"),
        ("1\n'", "header of an array is damaged"),
    ],
)
def test_headers_that_are_refused(header, sentence):
    with pytest.raises(Malformed, match=sentence):
        read_npy(npy(header, bytes(8)))


def test_arrays_of_any_order_come_back():
    for array in (
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array("text"),
        np.zeros((0, 5), np.float16),
    ):
        found = read_npz(npz(a=array))["a"]
        np.testing.assert_array_equal(found, array)
        assert found.dtype.isnative


def test_equal_arrays_are_equal_bytes_whatever_the_clock_says(monkeypatch):
    first = npz(a=np.arange(5))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(0))
    assert npz(a=np.arange(5)) == first


def archive(compression=zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as written:
        for name, data in members.items():
            written.writestr(f"{name}.npy", data)
    return stream.getvalue()


def test_archives_that_are_refused():
    honest = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (8,)}", bytes(8))
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with pytest.raises(Malformed, match="compressed by method"):
            read_npz(archive(method, a=honest))
    with pytest.raises(Malformed, match=r"claims to expand to 400,"):
        read_npz(archive(a=bytes(400_000_000)))
    for damaged in (b"", b"PK", honest, npz(a=1)[:-30], npz(a=1).replace(b"NUMPY", b"NUMPX")):
        with pytest.raises(Malformed):
            read_npz(damaged)
    twice = archive(zipfile.ZIP_STORED, a=honest, b=honest).replace(b"b.npy", b"a.npy")
    with pytest.raises(Malformed, match="some of one name"):
        read_npz(twice)


def test_numpy_reads_what_is_written():
    with np.load(io.BytesIO(npz(a=np.arange(3), b=np.array("x")))) as found:
        assert found["a"].tolist() == [0, 1, 2]
        assert found["b"].item() == "x"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_is_malformed(data):
    """Every byte may change: what comes back is honest arrays or the one exception."""
    whole = bytearray(npz(codes=np.ones((3, 4), np.float32), about=np.array('{"a": 1}')))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        found = read_npz(bytes(whole[:cut] if data.draw(st.booleans()) else whole))
    except Malformed:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


def test_memory_stays_within_the_budget():
    """Claims of terabytes cost nothing: the process's peak stays within 256 MB of its start."""
    code = """
import resource, numpy as np
from emojax.store.reader.npy import read_npy
from emojax.store.reader.contents import Malformed
from emojax.store.reader.npz import read_npz
import io, zipfile
header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }"
header = header.ljust(118) + b"\\n"
bad = b"\\x93NUMPY\\x01\\x00" + len(header).to_bytes(2, "little") + header
stream = io.BytesIO()
with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
    with archive.open("a.npy", "w") as member:
        for _ in range(600):
            member.write(bytes(2**20))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for data, read in ((bad, read_npy), (stream.getvalue(), read_npz)):
    try:
        read(data)
    except Malformed as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *refused, grown = done.stdout.splitlines()
    assert len(refused) == 2
    assert int(grown) * 1024 < 2**28


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_memory_of_archives_stays_within_the_budget():
    """One of a million records, and one whose record is compressed and of another byte order."""
    code = r"""
import codecs, io, struct, zipfile
from emojax.store.reader.contents import Malformed
from emojax.store.reader.npz import read_npz
from tests.fuzz.guard import Guard
entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *[0] * 16)
end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xffff, 0xffff, 46 * 10**6, 0, 0)
listed = entry * 10**6 + end
header = b"{'descr': '>f8', 'fortran_order': False, 'shape': (25000000,), }".ljust(118) + b"\n"
stream = io.BytesIO()
with zipfile.ZipFile(stream, "w") as archive:
    archive.writestr("pad.npy", bytes(40_000_000))
    written = zipfile.ZipInfo("a.npy")
    written.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(written, "w") as member:
        member.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        for _ in range(200):
            member.write(bytes(10**6))
stream = stream.getvalue()
# the padding is no array: without its entry in the directory only the other record is read
start = stream.index(b"PK\x01\x02")
first = 46 + len("pad.npy")
where = struct.pack("<2I", len(stream) - 22 - start - first, start + first)
stream = stream[:-14] + struct.pack("<2H", 1, 1) + where + stream[-2:]
codecs.lookup("cp437")  # which zipfile imports
guard = Guard()
for data in (listed, stream):
    try:
        with guard:
            print(*read_npz(data))
    except Malformed as error:
        print(error)
    print(guard.peak - 2 * len(data), guard.seconds)  # the file itself is there before
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, costs = done.stdout.splitlines()[::2], done.stdout.splitlines()[1::2]
    assert said == ["it is a zip archive of far too many records", "a"]
    for cost in costs:
        beyond, seconds = map(float, cost.split())
        assert beyond < 2**28
        assert seconds < 5


# ---- records and tables


@dataclasses.dataclass(frozen=True)
class Example:
    """Fields of every kind that records have."""

    count: int
    ratio: float = 1.0
    names: tuple[str, ...] = ()
    kind: Literal["a", "b"] = "a"
    limit: int | None = None
    flag: bool = False


def test_a_record_has_the_types_of_its_fields():
    found = record(Example, {"count": 3, "ratio": 2, "names": ["x"], "kind": "b", "limit": None})
    assert found == Example(3, 2.0, ("x",), "b")
    assert type(found.ratio) is float


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ({}, "it has no 'count'"),
        ({"count": 1, "colour\n": 2}, r"unknown field 'colour\\n'"),
        ({"count": "1"}, "count is '1', wanted a whole number"),
        ({"count": True}, "count is True, wanted a whole number"),
        ({"count": 1.5}, "count is 1.5, wanted a whole number"),
        ({"count": 10**60}, "count is a number of more than 40 digits"),
        ({"count": 101}, "count is 101, wanted a whole number within bounds"),
        ({"count": 1, "ratio": None}, "ratio is None, wanted a number"),
        ({"count": 1, "names": "x"}, "names is 'x'"),
        ({"count": 1, "names": [1]}, "names is 1, wanted a text"),
        ({"count": 1, "kind": "c"}, "kind is 'c'"),
        ({"count": 1, "limit": []}, "limit is a list of 0, wanted a whole number .* or null"),
        ({"count": 1, "flag": 1}, "flag is 1, wanted true or false"),
    ],
)
def test_fields_that_are_refused(stored, sentence):
    with pytest.raises(Malformed, match=sentence):
        record(Example, stored, most={"count": 100})


def test_tables_are_checked_by_name_shape_and_kind():
    table = Table({"a": np.zeros((2, 3)), "b": np.zeros(4), "c": np.zeros(2, complex)})
    assert table.numbers("a", "N", 3).shape == (2, 3)
    for call, sentence in (
        (lambda: table.numbers("b", "N"), r"b is \[4\], wanted \[2\]"),
        (lambda: table.numbers("c", "N"), "of type complex128, wanted real numbers"),
        (lambda: table.numbers("d"), "it has no 'd', it holds a, b, c"),
        (lambda: table.text("b"), r"b is \[4\], wanted \[\]"),
        (lambda: table.texts("b", "M"), "wanted texts"),
        (lambda: Table({"a": np.array([np.nan])}).numbers("a", "N"), "a holds NaN or infinity"),
        (lambda: Table({"a": np.array(True)}).numbers("a"), "of type bool"),
    ):
        with pytest.raises(Malformed, match=sentence):
            call()
