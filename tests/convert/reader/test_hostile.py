"""Files written by hand to harm, mislead or tire the checkpoint reader, each for one reason."""

import struct
import zipfile

import numpy as np
import pytest

from convert.reader.checkpoint_file import Name, load
from emojax.runtime.errors import UserError
from tests.support.pickle_code import name_of, tensor_of, text, write_pickle, write_zip

LOAD_BYTES = name_of("torch.storage._load_from_bytes")

HOSTILE = {
    "a function": (name_of("subprocess.Popen") + b")R", r"would call subprocess\.Popen"),
    "getattr": (name_of("builtins.getattr") + b")R", r"would call builtins\.getattr"),
    "a dotted name": (
        text("torch._utils") + text("_rebuild_tensor_v2.__globals__") + b"\x93)R",
        r"_rebuild_tensor_v2\.__globals__",
    ),
    "INST": (b"(" + text("true") + b"ios\nsystem\n", r"would call os\.system"),
    "OBJ": (b"(" + name_of("os.system") + text("true") + b"o", r"would call os\.system"),
    "a call of a result": (name_of("torch.Size") + b")R)R", "would call a tuple"),
    "a call of a record": (name_of("a.B") + b")\x81)R", "would call a Record"),
    "a tensor subclass": (
        name_of("torch._tensor._rebuild_from_type_v2") + b"(" + name_of("os.system") + b"N)NtR",
        r"would call os\.system",
    ),
    "an extension": (b"\x82\x01", "opcode EXT1"),
    "attributes of a name": (name_of("builtins.len") + b"}b", r"attributes of builtins\.len"),
    "attributes of a list": (b"]}b", "attributes of a? ?list"),
    "an instance of text": (text("x") + b")\x81", "instance of a str"),
    "a name that is no text": (b"KAKA\x93", "not text"),
    "an empty stack": (b"0", "takes more from its stack"),
    "a stack below its mark": (b"K\x01(\x85", "takes more from its stack"),
    "a missing mark": (b"t", "never made"),
    "a missing memo entry": (b"h\x09", "memo entry 9"),
    "items of a number": (b"K\x01K\x01K\x01s", "sets items of a int"),
    "a list as a key": (b"}]K\x01s", "key contains a list"),
    "nested tuples as a key": (b"})" + b"2\x86" * 60 + b"K\x01s", "key contains a tuple"),
    "a huge integer as a key": (b"}\x8a\x09" + b"\x01" * 9 + b"K\x01s", "huge integer"),
    "text of 2⁶⁰ bytes": (b"\x8d" + struct.pack("<Q", 2**60), "damaged"),
    "a number of 2³⁰ bytes": (b"\x8b" + struct.pack("<i", 2**30), "damaged"),
    "a future protocol": (b"\x80\x63", "protocol 99"),
    "a storage elsewhere": (tensor_of([2], [1]), "storage outside itself"),
    "bytes of a storage": (
        LOAD_BYTES + b"C\x04\x80\x02N.\x85R",
        "hold something else",
    ),
    "bytes in bytes": (
        LOAD_BYTES + b"C" + bytes([len(LOAD_BYTES) + 5]) + LOAD_BYTES + b"C\x00\x85R.\x85R",
        "the bytes of a storage are malformed",
    ),
    "a list of letters": (name_of("builtins.list") + text("abc") + b"\x85R", "from a str"),
    "an odd encoding": (
        name_of("_codecs.encode") + text("a") + text("zlib") + b"\x86R",
        "unusual way",
    ),
    "objects in an array": (
        name_of("numpy.dtype") + text("O8") + b"\x85R(K\x03" + text("|") + b"tb",
        "objects or records",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickle(case, tmp_path):
    code, reason = HOSTILE[case]
    with pytest.raises(UserError, match=reason):
        load(write_pickle(tmp_path / "hostile.pkl", code))


def test_classes_become_records(tmp_path):
    code = b"(" + name_of("os.system") + text("true") + b"\x85\x81"  # would be os.system.__new__
    code += name_of("a.B") + b")\x81N}" + text("x") + b"K\x05s\x86b"  # slots
    code += name_of("a.List") + b")\x81K\x07a" + name_of("a.Dict") + b")\x81K\x01K\x02s"
    code += name_of("torch.device") + text("cuda:0") + b"\x85R" + name_of("math.floor") + b"t"
    inert, slots, items, mapping, device, function = load(write_pickle(tmp_path / "a.pkl", code))
    assert (inert.kind, inert.state) == ("os.system", ("true",))
    assert (slots.kind, slots.state) == ("a.B", {"x": 5})
    assert items.items == [7]
    assert mapping.items == {1: 2}
    assert (device.kind, device.state) == ("torch.device", ("cuda:0",))
    assert function == Name("math.floor")


def test_repetition_is_bounded_work(tmp_path):
    """A call on one long list, asked for again and again, ends in a refusal within seconds."""
    code = b"](" + b"N" * 100_000 + b"e\x94" + name_of("builtins.list") + b"\x94"
    code += b"h\x01h\x00\x85R0" * 1000  # 10⁸ elements in all
    with pytest.raises(UserError, match="more work"):
        load(write_pickle(tmp_path / "work.pkl", code))


def test_deep_nesting_and_cycles_are_harmless(tmp_path):
    deep = load(write_pickle(tmp_path / "deep.pkl", b"]" * 100_000 + b"a" * 99_999))
    depth = 0
    while deep:
        deep, depth = deep[0], depth + 1
    assert depth == 99_999
    cycle = load(write_pickle(tmp_path / "cycle.pkl", b"]\x94h\x00a"))
    assert cycle[0] is cycle


FOUR = {"data/0": np.arange(4, dtype="f4").tobytes()}

MISFITS = {
    "a negative size": (tensor_of([-1], [1]), "numbers from 0 up"),
    "a negative stride": (tensor_of([2], [-1]), "numbers from 0 up"),
    "a negative offset": (tensor_of([2], [1], offset=-1), "numbers from 0 up"),
    "an offset at the end": (tensor_of([1], [1], offset=4), "beyond its storage"),
    "a long stride": (tensor_of([2], [4]), "beyond its storage"),
    "a missing stride": (tensor_of([2, 1], [1]), "2 axes and 1 strides"),
    "100 axes": (tensor_of([1] * 100, [1] * 100), "100 axes"),
    "4·10¹⁸ repetitions": (tensor_of([2**31 - 1] * 2, [0, 0]), "repeats a storage"),
    "a short record": (tensor_of([2], [1], size=5), "5 values of 4 bytes"),
    "a long record": (tensor_of([2], [1], size=3), "3 values of 4 bytes"),
    "a record elsewhere": (tensor_of([2], [1], key="../data.pkl"), "is missing"),
    "an unknown storage": (tensor_of([2], [1], kind="torch.QInt8Storage"), "torch.QInt8Storage"),
    "a storage of a stranger": (tensor_of([2], [1], kind="os.FloatStorage"), "os.FloatStorage"),
    "a lazy conjugate": (tensor_of([2], [1], extra=b"}" + text("conj") + b"\x88s"), "conjugate"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_tensor_that_does_not_fit(case, tmp_path):
    code, reason = MISFITS[case]
    with pytest.raises(UserError, match=reason):
        load(write_zip(tmp_path / "bad.pt", code, FOUR))


def test_hostile_zip_archives(tmp_path):
    good = tensor_of([4], [1])
    path = write_zip(tmp_path / "good.pt", good, FOUR)
    np.testing.assert_array_equal(load(path), np.arange(4))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(16))
    with pytest.raises(UserError, match="same name"):
        load(path)
    with pytest.raises(UserError, match="byte order"):
        load(write_zip(path, good, {**FOUR, "byteorder": b"middle"}))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"\x80\x02N.")
    with pytest.raises(UserError, match=r"0 records NAME/data\.pkl"):
        load(path)


def test_zip_bombs(tmp_path):
    code = tensor_of([1], [1], size=2**25)
    bomb = {"data/0": bytes(2**27)}  # 130 KB in the file
    path = write_zip(tmp_path / "bomb.pt", code, bomb, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="far more memory"):
        load(path)


def test_overlapping_records(tmp_path):
    """Records inside one another would make each checksum a pass over the file."""
    inside = write_zip(tmp_path / "inside.zip", b"", {"data/1": bytes(2**16)})
    with zipfile.ZipFile(inside) as archive:
        info = archive.getinfo("archive/data/1")
    code = b"(" + tensor_of([1], [1], size=2**14, key="1")
    code += tensor_of([1], [1], kind="torch.ByteStorage", size=len(inside.read_bytes())) + b"t"
    path = write_zip(tmp_path / "outside.pt", code, {"data/0": inside.read_bytes()})
    with zipfile.ZipFile(path, "a") as archive:
        outer = archive.getinfo("archive/data/0")
        info.header_offset += outer.header_offset + 30 + len(outer.filename)
        archive.filelist.append(info)
        archive.NameToInfo[info.filename] = info
        archive.writestr("archive/version", b"3")  # so that the directory is written anew
    with pytest.raises(UserError, match=r"its records overlap|Overlapped entries"):
        load(path)
