"""The other things the checkpoint reader reads, state dicts, memory, and torch's own files."""

import os
import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from convert.reader.checkpoint_file import Record, load, release, state_dict
from emojax.runtime.errors import UserError
from tests.support.pickle_code import name_of, number, tensor_of, text, write_zip


def test_shared_numpy_objects_survive_the_memo(tmp_path):
    values = np.arange(6, dtype=">i4").reshape(2, 3)
    path = tmp_path / "numpy.pkl"
    for protocol in range(2, 6):
        path.write_bytes(pickle.dumps([values, values, values.T, np.float32(2)], protocol))
        first, again, turned, scalar = load(path)
        assert first is again
        assert first.dtype == np.dtype("=i4")
        np.testing.assert_array_equal(first, values)
        np.testing.assert_array_equal(turned, values.T)
        assert type(scalar) is np.float32


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("Float", ">f4"),
        ("Double", ">f8"),
        ("Half", ">f2"),
        ("Long", ">i8"),
        ("ComplexFloat", ">c8"),
    ],
)
def test_big_endian_zip(kind, dtype, tmp_path):
    values = np.array([1, -2, 3, 300]).astype(dtype)
    code = tensor_of([2, 2], [1, 2], kind=f"torch.{kind}Storage")
    records = {"byteorder": b"big", "data/0": values.tobytes()}
    array = load(write_zip(tmp_path / "big.pt", code, records))
    assert array.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(array, values.reshape(2, 2).T)


def test_big_endian_bfloat16(tmp_path):
    values = np.array([1, -2, 3, 300], ml_dtypes.bfloat16)
    data = values.view(np.uint16).astype(">u2").tobytes()
    code = tensor_of([4], [1], kind="torch.BFloat16Storage")
    array = load(write_zip(tmp_path / "big.pt", code, {"byteorder": b"big", "data/0": data}))
    np.testing.assert_array_equal(array, values)


def test_compressed_checkpoint(tmp_path):
    values = {"data/0": np.arange(4, dtype="f4").tobytes()}
    code = tensor_of([4], [1])
    path = write_zip(tmp_path / "a.pt", code, values, compression=zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(load(path), np.arange(4))


def test_legacy_storage_views(tmp_path):
    """Files of 2017: a storage that is a part of another one, and wrapped module classes."""
    storage = b"(" + text("storage") + name_of("torch.FloatStorage") + text("7") + text("cpu")
    storage += number(4) + b"(" + text("8") + number(1) + number(2) + b"ttQ"
    hooks = name_of("collections.OrderedDict") + b")R"
    shape = b"(" + number(2) + b"t(" + number(1) + b"t"
    tensor = name_of("torch._utils._rebuild_tensor_v2") + b"(" + storage + number(0)
    tensor += shape + b"\x89" + hooks + b"tR"
    module = b"(" + text("module") + name_of("a.Net") + text("a.py") + text("class Net") + b"tQ"
    module += b")\x81}" + text("w") + tensor + b"sb"
    parts = [
        pickle.dumps(value, 2)
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, ["7"])
    ]
    data = struct.pack("<q", 4) + np.arange(4, dtype="<f4").tobytes()
    whole = b"".join([*parts[:3], b"\x80\x02" + module + b".", parts[3], data])
    path = tmp_path / "old.pt"
    path.write_bytes(whole)
    network = load(path)
    assert network.kind == "a.Net"
    assert network.state["w"].tolist() == [1, 2]
    path.write_bytes(whole + b"x")
    with pytest.raises(UserError, match="1 bytes are left over"):
        load(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="cut short"):
        load(path)


# ---- other formats


def test_npz(tmp_path):
    arrays = {"a.weight": np.arange(6.0).reshape(2, 3), "f": np.ones((2, 3), order="F")}
    arrays |= {"swapped": np.arange(3, dtype=">i4"), "scalar": np.float32(2), "none": np.zeros(0)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        saved = load(tmp_path / "a.npz")
        assert list(saved) == list(arrays)
        for key, array in saved.items():
            np.testing.assert_array_equal(array, arrays[key], strict=key not in ("swapped",))
    np.savez(tmp_path / "a.npz", objects=np.array([{}], object))
    with pytest.raises(UserError, match="array of type 'object'"):
        load(tmp_path / "a.npz")


def test_safetensors(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    arrays = {"b": np.arange(6, dtype=np.float16).reshape(2, 3), "a": np.array([True, False])}
    arrays |= {"half": np.ones(3, ml_dtypes.bfloat16), "scalar": np.array(3), "no": np.ones((0, 2))}
    path = tmp_path / "a.safetensors"
    numpy.save_file(arrays, path, metadata={"format": "np"})
    saved = load(path)
    assert set(saved) == set(arrays)
    for key, array in saved.items():
        np.testing.assert_array_equal(array, arrays[key], strict=True)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(UserError, match="does not fit"):
        load(path)
    path.write_bytes(data.replace(b'"BOOL"', b'"BOO7"'))
    with pytest.raises(UserError, match="BOO7"):
        load(path)


# ---- state dicts


def module(parameters=(), buffers=(), modules=(), hidden=()):
    state = {"_parameters": dict(parameters), "_buffers": dict(buffers), "_modules": dict(modules)}
    return Record("a.Net", {**state, "_non_persistent_buffers_set": set(hidden)})


def test_state_dict_order_and_what_is_left_out():
    one, two, three = (np.full(1, i) for i in range(3))
    inner = module({"weight": one, "bias": None}, {"mean": two, "hidden": three}, hidden=["hidden"])
    outer = module({"gain": three}, {}, {"first": inner, "second": inner, "none": None})
    assert list(state_dict(outer).items()) == [
        ("gain", three),
        ("first.weight", one),
        ("first.mean", two),
        ("second.weight", one),
        ("second.mean", two),
    ]
    assert state_dict({"a": one}) == {"a": one}


def test_state_dict_refuses():
    with pytest.raises(UserError, match="'opts' is a dict"):
        state_dict({"opts": {}})
    with pytest.raises(UserError, match=r"record argparse\.Namespace: lr.* not a network"):
        state_dict(Record("argparse.Namespace", {"lr": 1}))
    with pytest.raises(UserError, match="a list is not a network"):
        state_dict([])
    with pytest.raises(UserError, match="_buffers is a list"):
        state_dict(Record("a.Net", {"_parameters": {}, "_buffers": []}))
    cycle = module()
    cycle.state["_modules"]["me"] = cycle
    with pytest.raises(UserError, match="deeper than 100"):
        state_dict(cycle)
    doubled = module()
    for _ in range(40):  # 2⁴⁰ modules in 40 records
        doubled = module(modules={"a": doubled, "b": doubled})
    with pytest.raises(UserError, match="too many modules"):
        state_dict(doubled)


# ---- memory


def resident_file_bytes():
    """Mapped file pages that are resident, Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssFile"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssFile in /proc/self/status")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux' /proc")
def test_arrays_are_mapped_and_can_be_released(tmp_path):
    size = 2**24  # 64 MiB of float32
    path = write_zip(
        tmp_path / "large.pt",
        tensor_of([size], [1], size=size),
        {"data/0": np.ones(size, "f4").tobytes()},
    )
    before = resident_file_bytes()
    array = load(path)
    assert resident_file_bytes() - before < 8 * 2**20  # the CRC was taken without keeping pages
    assert array.sum(dtype=np.float64) == size
    assert resident_file_bytes() - before > 56 * 2**20
    release(array)
    assert resident_file_bytes() - before < 8 * 2**20
    assert array[-1] == 1
    release(np.ones(3))  # not mapped: left alone


# ---- against torch itself


@pytest.mark.torch
@pytest.mark.parametrize("new", [True, False])
def test_reads_what_torch_writes(new, tmp_path):
    torch = pytest.importorskip("torch")
    kinds = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64"
    kinds += " complex128 uint16 uint32 uint64 float8_e4m3fn float8_e5m2"
    tensors = {
        kind: torch.arange(6).reshape(2, 3).to(getattr(torch, kind)).T for kind in kinds.split()
    }
    tensors["attributed"] = torch.nn.Parameter(torch.ones(2))
    tensors["attributed"].note = "kept by torch, not by us"
    path = tmp_path / "a.pt"
    torch.save(tensors, path, _use_new_zipfile_serialization=new)
    saved = load(path)
    assert list(saved) == list(tensors)
    for kind, tensor in tensors.items():
        assert saved[kind].dtype.name == str(tensor.dtype).removeprefix("torch.")
        assert saved[kind].shape == tuple(tensor.shape)
        raw = tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()
        assert np.ascontiguousarray(saved[kind]).tobytes() == raw


@pytest.mark.torch
@pytest.mark.parametrize("new", [True, False])
def test_whole_torch_module(new, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    block = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    network = torch.nn.Sequential(block, block, torch.nn.PReLU(), torch.nn.LSTM(3, 2))
    network[2].register_buffer("hidden", torch.zeros(1), persistent=False)
    path = tmp_path / "a.pt"
    torch.save(network, path, _use_new_zipfile_serialization=new)
    weights, expected = state_dict(load(path)), network.state_dict()
    assert list(weights) == list(expected)
    for key, tensor in expected.items():
        np.testing.assert_array_equal(weights[key], tensor.numpy(), strict=True)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_module(tmp_path):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).eval()
    path = tmp_path / "script.pt"
    torch.jit.trace(network, torch.zeros(1, 2, 4, 4)).save(os.fspath(path))
    weights, expected = state_dict(load(path)), network.state_dict()
    assert set(weights) == set(expected)
    for key, tensor in expected.items():
        np.testing.assert_array_equal(weights[key], tensor.numpy(), strict=True)
