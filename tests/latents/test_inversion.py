"""The inversion stage on small random networks."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.latents import inversion, refinement
from emojax.latents.codes import Inversion, concatenate
from emojax.nn.pooling import area_mean
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.parts import HYPERSTYLE
from tests.support import small_world
from tests.support.pictures import noise
from tests.support.small_world import SIDE, rel_err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_world.write(tmp_path_factory.mktemp("checkpoints") / "small")


@pytest.fixture(scope="module")
def hyper(folder):
    return inversion.load(bundle.find(folder), "hyperstyle")


@pytest.fixture(scope="module")
def pictures():
    return noise("faces", 5, SIDE)


@pytest.fixture(scope="module")
def inverted(hyper, pictures):
    return inversion.invert(hyper, pictures, passes=3, batch=2)


def _plus(total, delta):
    return delta if total is None else total + delta


@jax.jit
def _start(hyper, picture):
    codes = hyper.encoder(picture)
    return codes, hyper.generator.synthesis(codes)


@jax.jit
def _explicit_pass(hyper, picture, codes, total, shown):
    """One pass of run_inversion as the original writes it: kernels are summed."""
    shown = area_mean(shown, SIDE)
    deltas = hyper.hypernet.deltas(hyper.hypernet(picture, shown), 1)
    total = [_plus(t, d) for t, d in zip(total, deltas, strict=True)]
    return total, hyper.generator.synthesis(codes, deltas=total)


def test_passes_equal_the_explicit_loop(hyper, pictures, inverted):
    for i in range(2):
        x = pictures[i : i + 1]
        codes, plain = _start(hyper, x)
        total, picture = [None] * hyper.generator.config.n_deltas, plain
        for _ in range(3):
            total, picture = _explicit_pass(hyper, x, codes, total, picture)
        assert rel_err(inverted.w_plus[i : i + 1], codes) < 1e-5
        found = inversion.synthesize(hyper, inverted[i])
        assert rel_err(found, picture) < 2e-5  # rounding through three passes of two networks
        assert rel_err(plain, picture) > 1e-2  # the passes did something


def test_a_face_does_not_depend_on_its_batch(hyper, pictures, inverted):
    alone = inversion.invert(hyper, pictures[4:], passes=3, batch=1)
    assert (
        rel_err(alone.changes["vectors"], inverted[4].changes["vectors"]) < 1e-5
    )  # float32 sums in another order
    assert rel_err(alone.w_plus, inverted[4].w_plus) < 1e-5
    assert len(inverted) == 5


def test_psp_gives_codes_only(folder, pictures):
    psp = inversion.load(bundle.find(folder), "psp")
    found = inversion.invert(psp, pictures, batch=2)
    assert (found.method, found.passes, found.changes) == ("psp", 0, None)
    assert rel_err(found.w_plus, inversion.encode(psp.encoder, pictures)) < 1e-5
    drawn = inversion.synthesize(psp, found, batch=2)
    assert drawn.shape == (5, 128, 128, 3)
    whole = inversion.draw(psp.generator, found.w_plus, None)
    assert rel_err(drawn, whole) < 1e-5
    assert inversion.synthesize(psp, found, resolution=16).shape == (5, 16, 16, 3)


def test_edits_of_one_face_share_its_kernels(hyper, inverted, monkeypatch):
    face = inverted[1]
    offsets = jnp.linspace(-1, 1, 6)[:, None, None] * jnp.ones((1, 12, 32))
    edits = face.with_codes(face.w_plus + offsets)
    assert edits.is_shared
    assert edits.changes["vectors"].shape[0] == 1
    calls = []
    expand = refinement.expand
    monkeypatch.setattr(refinement, "expand", lambda *args: calls.append(1) or expand(*args))
    shared = inversion.synthesize(hyper, edits, batch=4)
    assert len(calls) == 1
    each = [inversion.synthesize(hyper, face.with_codes(edits.w_plus[i : i + 1])) for i in range(6)]
    assert rel_err(shared, np.concatenate(each)) < 1e-5
    assert rel_err(inversion.synthesize(hyper, edits[2:4]), shared[2:4]) < 1e-5
    with pytest.raises(ValueError, match="3 codes for 5 faces"):
        inverted.with_codes(jnp.zeros((3, 12, 32)))


def test_inversions_save_load_slice_and_join(tmp_path, inverted):
    file = tmp_path / "face.npz"
    inverted.save(file)
    loaded = Inversion.load(file)
    assert jax.tree.structure(loaded) == jax.tree.structure(inverted)  # what made it, too
    np.testing.assert_array_equal(loaded.changes["vectors"], inverted.changes["vectors"])
    np.testing.assert_array_equal(loaded.w_plus, inverted.w_plus)
    assert [path.name for path in tmp_path.iterdir()] == ["face.npz"]
    joined = concatenate([inverted[0], inverted[1:3], inverted[[3, 4]]])
    np.testing.assert_array_equal(joined.changes["vectors"], inverted.changes["vectors"])
    edits = inverted[0].with_codes(inverted.w_plus)
    assert concatenate([edits, inverted]).changes["vectors"].shape[0] == 10
    with pytest.raises(IndexError):
        inverted[5]
    other = dataclasses.replace(inverted, passes=4)
    with pytest.raises(ValueError, match="wanted inversions of one kind, got 2"):
        concatenate([inverted, other])


def test_an_inversion_is_small():
    """34 KB of vectors a face at 1024², 17 layers of 512; codes beside."""
    face = Inversion(jnp.zeros((1, 18, 512)), {"vectors": jnp.zeros((1, 17, 512))}, 5, "hyperstyle")
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(face)) == (17 + 18) * 512 * 4


def test_damaged_and_foreign_files_are_refused(tmp_path, inverted):
    file = tmp_path / "face.npz"
    inverted.save(file)
    whole = file.read_bytes()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    file.write_bytes(whole[: len(whole) // 2])
    for wrong in (file, tmp_path / "other.npz", tmp_path / "none.npz"):
        with pytest.raises(UserError, match=r"is not an inversion|no file"):
            Inversion.load(wrong)
    with pytest.raises(UserError, match="cannot write"):
        inverted.save(tmp_path / "none" / "face.npz")


def test_wrong_shapes_and_networks_are_refused(hyper, folder, pictures, inverted):
    for wrong in (pictures[:, :32], pictures[0], pictures[:0]):
        with pytest.raises(ValueError, match=r"wanted \[N, 64, 64, 3\]"):
            inversion.invert(hyper, wrong)
    with pytest.raises(ValueError, match="passes is 0"):
        inversion.invert(hyper, pictures, passes=0)
    with pytest.raises(UserError, match="the inversion was made with other networks"):
        inversion.synthesize(inversion.load(bundle.find(folder), "psp"), inverted)
    wider = [
        jnp.pad(array, ((0, 0), (0, 1), (0, 0)))
        for array in (inverted.w_plus, inverted.changes["vectors"])
    ]
    for wrong in ({"w_plus": wider[0]}, {"changes": {"vectors": wider[1]}}):
        with pytest.raises(UserError, match="for each face, these networks take"):
            inversion.synthesize(hyper, dataclasses.replace(inverted, **wrong))


def test_an_encoder_for_another_generator_is_refused(folder, tmp_path):
    other = small_world.write(tmp_path / "other")
    file = other / "psp" / "metadata.json"
    about = json.loads(file.read_text())
    about["source"]["generator_sha256"] = "f" * 64
    file.write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"psp was made for another generator \(f{12}\)"):
        inversion.load(bundle.find(other), "psp")
    inversion.load(bundle.find(other), "hyperstyle")  # its parts are tied to the right one
    (other / "psp").rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"has no psp .*: make it with 'emojax convert psp FILE"):
        inversion.load(bundle.find(other), "psp")


@pytest.mark.slow
def test_bfloat16_stays_close(folder, hyper, pictures, inverted):
    half = inversion.load(bundle.find(folder), "hyperstyle", bfloat16=True)
    found = inversion.invert(half, pictures, passes=3, batch=2)
    assert found.changes["vectors"].dtype == found.w_plus.dtype == jnp.float32
    exact = inversion.synthesize(hyper, inverted)
    error = rel_err(inversion.synthesize(half, found), exact)
    assert 1e-4 < error < 0.1  # eight bits of mantissa, three passes


def test_an_inverter_is_a_pytree(hyper):
    assert HYPERSTYLE.network_class() is type(hyper.hypernet)
    leaves, structure = jax.tree.flatten(hyper)
    again = jax.tree.unflatten(structure, leaves)
    assert again.made_with == hyper.made_with
    assert again.method == "hyperstyle"
