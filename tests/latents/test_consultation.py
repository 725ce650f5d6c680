"""HFGI on small random networks: an edit aligns the distortion map again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.__main__ import dispatch
from emojax.latents import consultation, inversion
from emojax.latents.codes import Inversion
from emojax.runtime.errors import UserError
from emojax.store import bundle
from tests.support import small_world
from tests.support.pictures import noise
from tests.support.small_world import SIDE, rel_err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = small_world.write(tmp_path_factory.mktemp("checkpoints") / "small")
    return small_world.write_hfgi(folder)


@pytest.fixture(scope="module")
def networks(folder):
    return inversion.load(bundle.find(folder), "hfgi")


@pytest.fixture(scope="module")
def pictures():
    return noise("faces", 3, SIDE)


@pytest.fixture(scope="module")
def inverted(networks, pictures):
    return inversion.invert(networks, pictures, batch=3)


@jax.jit
def explicit(networks, codes, distortion):
    """What the original does, a row by itself: pictures, small ones without the map, and features.

    The last are what `predict.py` draws: all rows with the second row's alignment.
    """

    def small(drawn):  # 128² is twice the encoder's side
        return drawn.reshape(len(codes), SIDE, 2, SIDE, 2, 3).mean((2, 4))

    plain = small(jnp.clip(networks.generator.synthesis(codes), -1, 1))
    drawn = []
    for shown in (plain, jnp.broadcast_to(plain[1], plain.shape)):
        scale, shift = networks.consultant.consultation(
            networks.consultant.aligner(distortion, shown)
        )
        after = {3: lambda x, a=scale, b=shift: x * (1 + a) + b}  # the first at 16², 64² / 4
        drawn.append(networks.generator.synthesis(codes, after=after))
    return drawn[0], plain, small(drawn[0]), drawn[1]


def test_the_map_is_what_the_code_leaves_out(networks, pictures, inverted):
    assert (inverted.method, inverted.passes, set(inverted.changes)) == ("hfgi", 1, {"distortion"})
    drawn, plain, small, _ = explicit(networks, inverted.w_plus, inverted.changes["distortion"])
    assert rel_err(inverted.changes["distortion"], pictures - plain) < 1e-5
    assert rel_err(inversion.synthesize(networks, inverted, batch=3), drawn) < 2e-5
    assert rel_err(plain, small) > 0.05  # the map does something


def test_edits_of_one_face_align_its_map_each_by_itself(networks, inverted):
    face = inverted[1]
    codes = face.w_plus + jnp.linspace(-2, 2, 3)[:, None, None] * jnp.ones((1, 12, 32))
    edits = face.with_codes(codes)
    assert edits.is_shared
    distortion = jnp.broadcast_to(face.changes["distortion"], (3, SIDE, SIDE, 3))
    wanted, _, _, reused = explicit(networks, codes, distortion)
    assert rel_err(inversion.synthesize(networks, edits, batch=3), wanted) < 2e-5
    assert rel_err(reused[::2], wanted[::2]) > 1e-3
    assert rel_err(reused[1], wanted[1]) < 2e-5


def test_inversions_are_kept_in_files(networks, inverted, tmp_path):
    inverted.save(tmp_path / "face.npz")
    again = Inversion.load(tmp_path / "face.npz")
    assert jax.tree.structure(again) == jax.tree.structure(inverted)
    np.testing.assert_array_equal(again.changes["distortion"], inverted.changes["distortion"])
    small = dataclasses.replace(again, changes={"distortion": jnp.zeros((3, 8, 8, 3))})
    with pytest.raises(UserError, match=r"distortion.*8, 8, 3.*these networks take"):
        inversion.synthesize(networks, small)


def test_bfloat16_stays_close(folder, networks, inverted):
    half = inversion.load(bundle.find(folder), "hfgi", bfloat16=True)
    exact = inversion.synthesize(networks, inverted, batch=3)
    assert 1e-4 < rel_err(inversion.synthesize(half, inverted, batch=3), exact) < 0.1


def test_a_bundle_without_it_names_the_command(tmp_path):
    folder = small_world.write(tmp_path / "none")
    wanted = r"has no hfgi_encoder .*: make it with 'emojax convert hfgi FILE .* --files ckpt\.pt'"
    with pytest.raises(UserError, match=wanted):
        inversion.load(bundle.find(folder), "hfgi")
    assert "hfgi" not in inversion.available(bundle.find(folder))


def test_other_networks_are_refused(folder):
    psp = inversion.load(bundle.find(folder), "psp")
    with pytest.raises(ValueError, match="has no consultation encoder"):
        consultation.shown(psp, jnp.zeros((1, 12, 32)))


@pytest.mark.slow
def test_commands_take_it_as_any_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = small_world.write_hfgi(small_world.write_whole(tmp_path / "whole"))
    photo, common = f"{folder}/samples/source.png", ["--bundle", str(folder)]
    dispatch(["transfer", *common, "--inverter", "hfgi", "--out", "t"])
    dispatch(["edit", photo, *common, "--inverter", "hfgi", "--emotion", "anger", "--out", "e"])
    dispatch(["invert", photo, *common, "--inverter", "hfgi", "--out", "i"])
    sources = ["--sources", f"{folder}/samples", "--samples", "2", "--out", "v"]
    dispatch(["evaluate", *common, "--inverters", "psp", "hfgi", *sources])
    assert "hfgi" in (tmp_path / "v/table.md").read_text().lower()
    assert Inversion.load("i/source.npz").changes["distortion"].shape == (1, SIDE, SIDE, 3)
