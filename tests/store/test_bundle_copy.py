"""Bundles in an object store: copied when they are used, part by part, and never half."""

import pytest

from emojax.runtime.errors import UserError
from emojax.store import bundle, place
from emojax.store.parts import EMOTION, GENERATOR, PSP
from tests.support import score_world
from tests.support.object_server import BUCKET

ADDRESS = f"s3://{BUCKET}/bundles/tiny"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = score_world.write(tmp_path_factory.mktemp("checkpoints") / "tiny")
    (folder / "samples").mkdir()
    (folder / "samples/source.png").write_bytes(b"a picture")
    (folder / "world.json").write_text("{}")
    return folder


@pytest.fixture
def remote(object_server, world, monkeypatch, tmp_path):
    """The bundle in the store, and an empty cache folder here."""
    object_server.use(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = place.at(ADDRESS)
    for file in world.rglob("*"):
        if file.is_file():
            found.write(file.relative_to(world).as_posix(), file.read_bytes())
    return found


def copies(tmp_path):
    """Return what is in the cache folder, by the path below a copy."""
    found = (tmp_path / "cache/emojax/bundles").rglob("*")
    return sorted("/".join(file.parts[-3:]) for file in found if file.is_file())


def test_a_bundle_is_copied_as_far_as_it_is_used(remote, world, tmp_path):
    here, there = bundle.find(world), bundle.find(ADDRESS)
    assert str(there) == ADDRESS
    there.check(GENERATOR, EMOTION)
    assert not any("weights" in name for name in copies(tmp_path))
    assert there.file("samples/source.png").read_bytes() == b"a picture"
    assert there.file("world.json").read_text() == "{}"
    assert there.metadata(EMOTION) == here.metadata(EMOTION)
    loaded = there.load(EMOTION)
    assert loaded.config == here.load(EMOTION).config
    assert any("weights" in name for name in copies(tmp_path))
    assert not (there.folder(GENERATOR) / "weights").exists()
    before = copies(tmp_path)
    bundle.find(ADDRESS).load(EMOTION)
    assert copies(tmp_path) == before
    assert list((tmp_path / "cache/emojax/bundles").glob(".part-*")) == []
    with pytest.raises(UserError, match=r"has no psp .*: make or get it in a folder"):
        there.folder(PSP)


def test_a_part_that_is_replaced_is_copied_again(remote, world):
    there = bundle.find(ADDRESS)
    folder = there.folder(EMOTION)
    text = remote.read("emotion/metadata.json", 2**20)
    remote.write("emotion/metadata.json", text + b"\n")
    with pytest.raises(UserError, match=r"emotion of .* was changed meanwhile: give the command"):
        there.load(EMOTION)
    again = bundle.find(ADDRESS)
    assert again.folder(EMOTION) != folder
    assert again.folder(GENERATOR) == there.folder(GENERATOR)
    again.load(EMOTION)


def test_damaged_weights_are_named(remote, world):
    name = max(remote.sizes("emotion/weights"), key=remote.sizes("emotion/weights").get)
    data = bytearray(remote.read(name, 2**24))
    data[len(data) // 2] ^= 4
    remote.write(name, bytes(data))
    with pytest.raises(UserError, match=r"is damaged|has other weights than its metadata"):
        bundle.find(ADDRESS).load(EMOTION)


def test_what_is_no_bundle_and_where_none_is_written(remote):
    with pytest.raises(UserError, match=r"no bundle 's3://faces/bundles/none': wanted one of"):
        bundle.find(f"s3://{BUCKET}/bundles/none")
    with pytest.raises(UserError, match=r"is in an object store: write the bundle into a folder"):
        bundle.destination(ADDRESS)
