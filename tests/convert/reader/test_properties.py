"""Properties of the checkpoint reader: what Python and NumPy write comes back, whatever it is."""

import io
import itertools
import math
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from convert.reader import schema
from convert.reader.budget import Budget
from convert.reader.checkpoint_file import load
from convert.reader.records import Unreadable
from convert.reader.storages import Storage, tensor
from emojax.runtime.errors import LONGEST, UserError
from tests.fuzz.mutations.pickles import OPCODES

quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.one_of(
    TEXTS, st.integers(-(2**63), 2**64 - 1), st.none(), st.tuples(TEXTS, st.booleans())
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    TEXTS,
    st.binary(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
    ),
    max_leaves=20,
)
NUMBERS = arrays.arrays(
    st.sampled_from(["f2", "f4", ">f4", "f8", "i1", ">i4", "i8", "u2", "?", "c8", "U3"]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@quick
@given(value=VALUES, protocol=st.integers(2, 5))
def test_any_containers_come_back(value, protocol, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([value], protocol))  # a number alone is no file
    (found,) = load(tmp_path / "a.pkl")
    assert found == value
    assert type(found) is type(value)


@quick
@given(array=NUMBERS, turned=st.booleans(), protocol=st.integers(2, 5))
def test_any_array_comes_back(array, turned, protocol, tmp_path):
    array = array.T if turned else array
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([array], protocol))
    (found,) = load(tmp_path / "a.pkl")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", weight=array)
        np.testing.assert_array_equal(load(tmp_path / "a.npz")["weight"], array)


@quick
@given(
    table=st.dictionaries(
        TEXTS.filter(lambda name: name != "__metadata__"),
        NUMBERS.filter(lambda array: array.dtype.isnative and array.dtype.kind in "fiub"),
        max_size=4,
    )
)
def test_any_safetensors_come_back(table, tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    (tmp_path / "a").write_bytes(numpy.save({k: np.ascontiguousarray(v) for k, v in table.items()}))
    found = load(tmp_path / "a")
    assert found.keys() == table.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, table[name].reshape(array.shape))


def refusal(path):
    """Return what the reader says of a file; "" if it reads it."""
    try:
        load(path)
    except UserError as error:
        return str(error)
    return ""


@quick
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.one_of(
                st.sampled_from(OPCODES).map(lambda code: bytes([code])), st.binary(max_size=4)
            )
        ).map(lambda pieces: b"\x80\x04" + b"".join(pieces) + b"."),
        st.binary(max_size=100).map(lambda data: b"PK\x03\x04" + data),
        st.binary(max_size=100).map(lambda data: bytes([len(data)]) + bytes(7) + b"{" + data),
    )
)
def test_any_bytes_are_read_or_refused_in_a_line(data, tmp_path):
    (tmp_path / "a").write_bytes(data)
    said = refusal(tmp_path / "a")
    assert said.isprintable()
    assert len(said) <= LONGEST


@quick
@given(name=st.text(min_size=1, max_size=300), data=st.binary(max_size=40))
def test_any_record_of_a_zip_archive_is_read_or_refused(name, data, tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/" + name.encode("utf-8", "replace").decode(), data)
    (tmp_path / "a").write_bytes(stream.getvalue())
    assert refusal(tmp_path / "a").isprintable()


SIZES = st.integers(0, 5)


@quick
@given(
    size=st.integers(0, 30),
    offset=st.integers(0, 12),
    axes=st.lists(st.tuples(SIZES, SIZES), max_size=3),
)
def test_any_view_lies_in_its_storage_and_holds_the_right_values(size, offset, axes):
    """Compared with torch's definition: element i lies at offset + Σ i·stride."""
    values = np.arange(size, dtype=np.float32)
    storage = Storage(values.view(np.uint8), values.dtype)
    shape, strides = tuple(n for n, _ in axes), tuple(step for _, step in axes)
    indices = list(itertools.product(*map(range, shape)))
    places = [offset + sum(map(math.prod, zip(i, strides, strict=True))) for i in indices]
    try:
        found = tensor(Budget(1000), storage, offset, shape, strides)
    except Unreadable:
        assert not all(place < size for place in places)
    else:
        assert found.shape == shape
        assert [found[i] for i in indices] == [values[place] for place in places]


@quick
@given(
    array=arrays.arrays(
        st.sampled_from(["f2", "f4", "f8"]),
        arrays.array_shapes(min_side=0, max_side=6),
        elements={"allow_nan": True, "allow_infinity": True},
    )
)
def test_finite_means_finite_in_float32(array):
    with np.errstate(all="ignore"):
        assert schema.all_finite(array) == bool(np.isfinite(array.astype(np.float32)).all())
