"""Folders and object stores keep the same promises."""

import contextlib
import http.client
import sys

import numpy as np
import pytest

from emojax.evaluation import table
from emojax.runtime.errors import UserError
from emojax.store import place
from emojax.store.block_store import BlockStore
from emojax.store.reader.contents import Kind, Malformed
from tests.support.object_server import BUCKET, LOST, REFUSED


@pytest.fixture
def address(object_server, monkeypatch, request):
    """An address below which nothing is, and the way to it."""
    object_server.use(monkeypatch)
    return f"s3://{BUCKET}/{request.node.name.replace('[', '-').replace(']', '')}"


@pytest.fixture(params=["folder", "object store"])
def somewhere(request, tmp_path, address):
    return place.at(tmp_path / "results" if request.param == "folder" else address)


def test_what_is_written_is_read_and_listed(somewhere):
    assert somewhere.is_empty()
    assert somewhere.sizes("rows") == {}
    somewhere.write("rows/1.npz", b"abc")
    somewhere.write("rows/1.npz", b"abcd")
    somewhere.write("settings.json", b"{}")
    assert somewhere.read("rows/1.npz", 4) == b"abcd"
    assert somewhere.sizes("rows") == {"rows/1.npz": 4}
    assert not somewhere.is_empty()
    with pytest.raises(Malformed, match=r"it has 4 bytes, more than 3"):
        somewhere.read("rows/1.npz", 3)
    with pytest.raises(FileNotFoundError):
        somewhere.read("rows/2.npz", 3)
    kind = Kind("a chunk", "score again")
    with (
        pytest.raises(UserError, match=r"no file .*rows/2.npz: score again"),
        place.reading(somewhere, "rows/2.npz", kind),
    ):
        pass


def test_only_the_first_creates_and_only_who_knows_replaces(somewhere):
    assert somewhere.create("settings.json", b"1")
    assert not somewhere.create("settings.json", b"2")
    assert not somewhere.replace("settings.json", b"0", b"3")
    assert somewhere.replace("settings.json", b"1", b"4")
    assert somewhere.read("settings.json", 9) == b"4"


def test_a_file_that_is_written_to_a_path_appears_when_it_is_whole(somewhere):
    with somewhere.file("figures/4.png") as aside:
        assert aside.suffix == ".png"
        aside.write_bytes(b"half")
        assert somewhere.sizes("figures") == {}
    assert somewhere.read("figures/4.png", 9) == b"half"
    with contextlib.suppress(KeyError), somewhere.file("figures/5.png") as aside:
        aside.write_bytes(b"half")
        raise KeyError
    assert list(somewhere.sizes("figures")) == ["figures/4.png"]


def test_blocks_of_results_and_their_table(somewhere):
    store = BlockStore.create(somewhere, {"samples": 5, "block": 2})
    for block in range(store.blocks):
        assert not store.has("psp/none", block)
        store.write("psp/none", block, {"x": np.full((2, 3), block)})
    assert store.has("psp/none", 2)
    assert store.read("psp/none")["x"][:, 0].tolist() == [0, 0, 1, 1, 2]
    data = bytearray(somewhere.read("psp/none/00001.npz", 2**20))
    data[len(data) // 2] ^= 4
    somewhere.write("psp/none/00001.npz", bytes(data))
    assert not store.has("psp/none", 1)
    with pytest.raises(UserError, match=r"holds results of another run \(samples 5, now 6\)"):
        BlockStore.create(somewhere, {"samples": 6, "block": 2})
    row = table.Row("psp", "none", "all", {"top1": 0.5})
    written = table.ResultTable([row, row._replace(target="fear")], {"top1": "top-1"}, ["A note."])
    table.write(somewhere, written, {"samples": 5})
    assert table.read(somewhere) == written
    assert b"| psp" in somewhere.read("table.md", 2**20)


def test_a_store_that_refuses_one_write_in_ten_gets_all_of_them(
    object_server, address, monkeypatch
):
    monkeypatch.setattr(object_server, "failing", 0.1)
    somewhere = place.at(address)
    failed = sum(object_server.failed.values())
    names = [f"rows/{number:06d}.npz" for number in range(150)]
    for name in names:
        somewhere.write(name, name.encode())
    assert {name: somewhere.read(name, 99).decode() for name in names} == {n: n for n in names}
    assert sum(object_server.failed.values()) > failed + 5
    assert min(object_server.failed[REFUSED], object_server.failed[LOST]) > 0


@pytest.mark.parametrize("kind", [REFUSED, LOST])
def test_settings_written_twice_because_the_answer_was_lost(
    object_server, address, monkeypatch, kind
):
    """The second attempt finds its own first: whoever reads sees what was wanted."""
    fates = iter([kind])
    monkeypatch.setattr(object_server, "_fate", lambda: next(fates, None))
    somewhere = place.at(address)
    assert somewhere.create("settings.json", b"1") == (kind == REFUSED)
    assert somewhere.read("settings.json", 9) == b"1"


def test_addresses_that_lead_nowhere_are_one_sentence(address, monkeypatch):
    with pytest.raises(UserError, match=r"cannot write s3://nothing/x/a .*404, .*bucket does not"):
        place.at("s3://nothing/x").write("a", b"")
    with pytest.raises(UserError, match=r"cannot list s3://nothing/x .*404, .*bucket does not"):
        place.at("s3://nothing/x").is_empty()
    with pytest.raises(UserError, match=r"cannot read s3://nothing/x/a .*404, .*bucket does not"):
        place.at("s3://nothing/x").read("a", 9)
    with pytest.raises(UserError, match=r"s3:// is no address .*: wanted s3://BUCKET/FOLDER"):
        place.at("s3://")
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(UserError, match=r"for which obstore is not installed: 'pip install"):
        place.at("s3://faces/x")


def test_names_that_lead_out_of_a_folder_are_refused(address, object_server):
    place.at(address).write("a", b"")
    connection = http.client.HTTPConnection(object_server.url.removeprefix("http://"))
    connection.request("PUT", f"/{address.removeprefix('s3://')}/b%5C..%5C.bashrc", b"x")
    connection.getresponse()
    connection.close()
    with pytest.raises(UserError, match=r"which is no path"):
        place.at(address).sizes("")


def test_a_file_is_copied_to_be_read(somewhere):
    somewhere.write("faces/a.png", b"a picture")
    with somewhere.copy("faces/a.png") as file:
        assert (file.name, file.read_bytes()) == ("a.png", b"a picture")
    with pytest.raises(FileNotFoundError), somewhere.copy("faces/b.png"):
        pass
