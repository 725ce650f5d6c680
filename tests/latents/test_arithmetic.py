"""Equations 1 and 2 on made-up codes and directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.latents import arithmetic
from emojax.latents.directions import Directions
from emojax.runtime.errors import UserError
from tests.support.small_world import rel_err

E, L, D = 8, 6, 16
NAMES = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def directions(shape=(E, D), seed=0):
    rng = np.random.default_rng(seed)
    return Directions(
        NAMES,
        rng.standard_normal(shape),
        rng.standard_normal(E),
        rng.standard_normal(D),
        rng.uniform(0.5, 2, E),
    )


@pytest.fixture(params=[(E, D), (E, L, D)], ids=["W", "W+"])
def known(request):
    return directions(request.param)


@pytest.fixture(scope="module")
def codes():
    return jnp.asarray(np.random.default_rng(1).standard_normal((3, L, D)), jnp.float32)


def test_units_of_k():
    known = directions()
    moved = {
        unit: arithmetic.moves(known, ["fear"], L, unit=unit)[0]
        for unit in ("norm", "layer", "sigma")
    }
    assert np.linalg.norm(moved["norm"]) == pytest.approx(1, rel=1e-6)
    # the paper's k = 20 at 18 layers is 20/√18 a layer
    assert np.linalg.norm(moved["norm"][0]) == pytest.approx(1 / np.sqrt(L), rel=1e-6)
    np.testing.assert_allclose(np.linalg.norm(moved["layer"], axis=-1), 1, rtol=1e-6)
    # k = 1 in σ adds σ to the coordinate of a code of W, in every layer
    sigma, unit = known.sigma[3], known.units[3]
    np.testing.assert_allclose(moved["sigma"] @ unit, sigma, rtol=1e-5)


def test_sigma_in_w_plus_is_of_the_whole_code():
    known = directions((E, L, D))
    (step,) = arithmetic.moves(known, ["fear"], L, unit="sigma")
    assert np.sum(step * known.units[3]) == pytest.approx(known.sigma[3], rel=1e-6)


def test_editing_adds_up(known, codes):
    one, other = arithmetic.moves(known, ["happiness", "fear"], L)
    edited = arithmetic.edit(codes, known, {"happiness": 3.0, "fear": [1.0, 0.0, -2.0]})
    np.testing.assert_allclose(edited[0], codes[0] + 3 * one + other, atol=1e-5, rtol=0)
    np.testing.assert_allclose(edited[2], codes[2] + 3 * one - 2 * other, atol=1e-5, rtol=0)
    back = arithmetic.edit(edited, known, {"fear": [-1.0, 0.0, 2.0], "happiness": -3.0})
    np.testing.assert_allclose(back, codes, atol=1e-5, rtol=0)


def test_one_face_with_many_numbers_gives_many_edits(known, codes):
    edits = arithmetic.edit(codes[:1], known, {"anger": np.linspace(-2, 2, 5)})
    assert edits.shape == (5, L, D)
    np.testing.assert_array_equal(edits[2], codes[0])


def test_a_range_of_layers_moves_as_far_as_in_the_whole(known, codes):
    whole = arithmetic.edit(codes, known, {"anger": 5.0})
    part = arithmetic.edit(codes, known, {"anger": 5.0}, layers=slice(2, 4))
    np.testing.assert_array_equal(part[:, 2:4], whole[:, 2:4])
    np.testing.assert_array_equal(part[:, :2], codes[:, :2])
    np.testing.assert_array_equal(part[:, 4:], codes[:, 4:])


@pytest.mark.parametrize("projection", ["plain", "plane", "layer"])
def test_neutral_faces_share_their_neutral_coordinate(known, codes, projection):
    k = 7.0
    neutral = arithmetic.neutralise(codes, known, k=k, projection=projection)
    (unit,) = arithmetic.moves(known, ["neutral"], L)
    coordinate = np.einsum("nld,ld->n", neutral, unit)
    np.testing.assert_allclose(coordinate, coordinate[0], atol=1e-4, rtol=0)
    if projection != "plane":
        assert coordinate[0] == pytest.approx(k, abs=1e-4)
    else:  # before the step, the regressor itself says 0
        on_plane = arithmetic.neutralise(codes, known, k=0.0, projection="plane")
        score = known.predict(np.asarray(on_plane, np.float64))[:, known.index("neutral")]
        np.testing.assert_allclose(score, 0, atol=1e-5)
    if projection == "layer":
        shares = np.einsum("nld,ld->nl", neutral, unit)
        np.testing.assert_allclose(
            shares, k * np.square(unit).sum(-1)[None] + 0 * shares, atol=1e-4
        )
    else:  # only the coordinate along ND changes
        change = np.asarray(neutral - codes)
        along = np.einsum("nld,ld->n", change, unit)[:, None, None] * unit
        np.testing.assert_allclose(change, along, atol=1e-4)


def test_neutralising_twice_changes_nothing(known, codes):
    once = arithmetic.neutralise(codes, known)
    assert rel_err(arithmetic.neutralise(once, known), once) < 1e-6
    assert rel_err(codes, once) > 0.1


def test_it_runs_under_jit(codes):
    known = directions()
    compiled = jax.jit(
        lambda c, k: arithmetic.neutralise(arithmetic.edit(c, known, {"fear": k}), known)
    )
    wanted = arithmetic.neutralise(arithmetic.edit(codes, known, {"fear": 2.0}), known)
    assert rel_err(compiled(codes, jnp.float32(2)), wanted) < 1e-6


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda d: arithmetic.moves(d, ["joy"], L), "no direction 'joy': these are known: anger"),
        (lambda d: arithmetic.moves(d, ["fear"], L, unit="px"), "unit is 'px', wanted 'norm'"),
        (
            lambda d: arithmetic.moves(d, ["fear"], L, layers=slice(9, 12)),
            "layers 9:12 hold none of the generator's: wanted a range within 0:6",
        ),
        (
            lambda d: arithmetic.neutralise(jnp.zeros((1, L, D)), d, projection="flat"),
            "projection is 'flat', wanted 'plain'",
        ),
    ],
)
def test_bad_requests_are_one_sentence(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call(directions())


def test_other_layers_are_refused():
    with pytest.raises(UserError, match="made for 6 layers, this generator has 18"):
        arithmetic.moves(directions((E, L, D)), ["fear"], 18)
