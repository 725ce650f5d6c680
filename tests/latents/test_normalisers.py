"""Equations 3 and 4 and their normalisers, on small random networks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.latents import arithmetic, inversion, normalisers, refinement, subspace
from emojax.latents.normalisers import Transferrer, combine
from emojax.nn.pooling import area_mean
from emojax.runtime.errors import UserError
from emojax.store import bundle
from tests.support import small_world
from tests.support.pictures import noise
from tests.support.small_world import SIDE, rel_err

METHODS = ("psp", "hyperstyle")
SUBSPACES = [
    (name, projection)
    for name in ("subspace", "subspace-scores")
    for projection in ("plain", "layer")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_world.write(tmp_path_factory.mktemp("checkpoints") / "small")


@pytest.fixture(scope="module")
def inverters(folder):
    return {method: inversion.load(bundle.find(folder), method) for method in METHODS}


@pytest.fixture(scope="module")
def faces(inverters):
    """Three faces by each method; for these networks, codes that differ from layer to layer."""
    pictures = noise("transfer", 3, SIDE)
    return {
        method: inversion.invert(inverter, pictures, passes=2, batch=2)
        for method, inverter in inverters.items()
    }


@pytest.fixture(scope="module")
def directions():
    return small_world.directions()


def scores(directions, codes):
    return directions.predict(np.asarray(codes, np.float64))


def test_without_reinversion_only_the_neutral_coordinate_moves(inverters, faces, directions):
    k, source, target = 7.0, faces["psp"][0], faces["psp"][1]
    done = normalisers.transfer(
        inverters["psp"], directions, source, target, normaliser="none", k=k
    )
    (neutral,) = arithmetic.moves(directions, ["neutral"], source.w_plus.shape[1])
    coordinate = float(np.sum(target.w_plus[0] * neutral))
    difference = target.w_plus - done.target.base.w_plus
    np.testing.assert_allclose(difference[0], (coordinate - k) * neutral, atol=1e-5)
    own = float(np.sum(source.w_plus[0] * neutral))
    wanted = source.w_plus + (coordinate - own) * neutral
    np.testing.assert_allclose(done.result.w_plus, wanted, atol=1e-5)


@pytest.mark.parametrize(("normaliser", "projection"), SUBSPACES)
def test_a_subspace_takes_the_targets_scores_and_keeps_the_rest(
    inverters, faces, directions, normaliser, projection
):
    ready = Transferrer(inverters["psp"], directions, normaliser=normaliser, projection=projection)
    source, target = ready.prepare(faces["psp"][:2]), ready.prepare(faces["psp"][2])
    result = combine(source, target)
    wanted = np.repeat(scores(directions, target.face.w_plus), 2, axis=0)
    np.testing.assert_allclose(scores(directions, result.w_plus), wanted, atol=2e-5)
    assert np.abs(scores(directions, source.face.w_plus) - wanted).max() > 0.1
    # P is a projection, and its mean cancels: SC + P(TC − SC)
    change, spanned = result.w_plus - source.face.w_plus, ready.method.subspace
    np.testing.assert_allclose(spanned.project(change), change, atol=2e-5)
    straight = spanned.project(target.face.w_plus - source.face.w_plus)
    np.testing.assert_allclose(change, straight, atol=2e-5)
    rest = result.w_plus - spanned.project(result.w_plus)
    kept = source.face.w_plus - spanned.project(source.face.w_plus)
    np.testing.assert_allclose(rest, kept, atol=2e-5)
    # the base has the mean face's scores
    mean = np.broadcast_to(directions.mean, (1, *result.w_plus.shape[1:]))
    expected = np.repeat(scores(directions, mean), 2, axis=0)
    np.testing.assert_allclose(scores(directions, source.base.w_plus), expected, atol=2e-5)


def test_the_orthogonal_subspace_is_the_span_of_the_directions(inverters, directions):
    layers = inverters["psp"].generator.config.n_latent
    plain = subspace.emotion_subspace(directions, layers)
    tiled = jnp.asarray(directions.tiled(layers), jnp.float32)
    np.testing.assert_allclose(plain.project(tiled), tiled, atol=1e-5)
    matrix = np.asarray(plain.project(jnp.eye(layers * 32).reshape(-1, layers, 32)))
    matrix = matrix.reshape(layers * 32, -1)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
    assert np.trace(matrix) == pytest.approx(8, abs=1e-3)


def test_the_oblique_move_is_the_shortest_by_the_spread_of_the_codes(inverters, directions):
    spread = subspace.code_spread(inverters["psp"].generator, 2000)
    oblique = subspace.emotion_subspace(directions, 12, spread=spread)
    plain = subspace.emotion_subspace(directions, 12)
    w = np.random.default_rng(5).standard_normal((1, 1, 32))
    wanted = jnp.asarray(np.repeat(w, 12, axis=1), jnp.float32)

    def length(move):  # Mahalanobis, of a code that is the same in all layers
        one = np.asarray(move[0, 0], np.float64)
        return float(one @ np.linalg.solve(spread, one))

    moves = [each.project(wanted) for each in (oblique, plain)]
    np.testing.assert_allclose(
        scores(directions, moves[0]), scores(directions, moves[1]), atol=1e-4
    )
    np.testing.assert_allclose(moves[0], moves[0][:, :1] + 0 * moves[0], atol=1e-5)
    assert length(moves[0]) < length(moves[1])
    # any other move in the null space of the scores only adds to it
    null = wanted - plain.project(wanted)
    assert all(length(moves[0] + step * null) > length(moves[0]) for step in (-0.1, 0.1))


def test_scores_that_sum_to_a_constant_lose_one_dimension(directions):
    coefficients = directions.coefficients - directions.coefficients.mean(0)
    tied = dataclasses.replace(directions, coefficients=coefficients)
    spanned = subspace.emotion_subspace(tied, 12)
    rows = np.asarray(spanned.rows[0])
    assert np.sum(np.linalg.norm(rows, axis=1) > 0.5) == 7
    tiled = jnp.asarray(tied.tiled(12), jnp.float32)
    np.testing.assert_allclose(spanned.project(tiled), tiled, atol=1e-5)


@pytest.mark.parametrize("normaliser", ["none", "subspace", "subspace-scores"])
def test_equation_4_runs_from_the_source_to_equation_3(inverters, faces, directions, normaliser):
    ready = Transferrer(inverters["hyperstyle"], directions, normaliser=normaliser)
    all_faces = ready.prepare(faces["hyperstyle"])
    source, target = all_faces[0], all_faces[2]
    path = combine(source, target, [0.0, 0.25, 1.0])
    assert path.is_shared  # one face's kernels
    np.testing.assert_allclose(path.w_plus[:1], source.face.w_plus, atol=1e-5)
    third = target.face.w_plus - target.base.w_plus + source.base.w_plus
    np.testing.assert_array_equal(path.w_plus[2:], third)
    between = 0.75 * path.w_plus[0] + 0.25 * path.w_plus[2]
    np.testing.assert_allclose(path.w_plus[1], between, atol=1e-5)
    np.testing.assert_array_equal(path.changes["vectors"], source.face.changes["vectors"])


@pytest.mark.parametrize("method", METHODS)
def test_the_papers_transfer_is_its_steps(inverters, faces, directions, method):
    """Step by step with the parts that are held against the originals: encode, refine, draw."""
    inverter, k, alpha = inverters[method], 9.0, 0.75
    source, target = faces[method][:2], faces[method][[2, 2]]
    done = normalisers.transfer(
        inverter, directions, source, target, k=k, alpha=alpha, projection="plain", batch=2
    )
    neutral_direction = directions.tiled(12)[directions.index("neutral")].astype(np.float32)

    def step(face):
        vectors = (face.changes or {}).get("vectors")
        neutral = np.asarray(face.w_plus)
        along = np.sum(neutral * neutral_direction, (1, 2), keepdims=True)
        neutral = neutral - along * neutral_direction + k * neutral_direction
        if vectors is None:
            drawn = inversion.draw(inverter.generator, neutral, None)
        else:
            drawn = refinement.redraw(inverter, neutral, vectors, 2)
        seen = area_mean(jnp.clip(drawn, -1, 1), SIDE)
        if vectors is None:
            return inversion.encode(inverter.encoder, seen), None
        return refinement.refine(inverter, seen, passes=2)[:2]

    sc, svectors = step(source)
    tc, _ = step(target)
    wanted = alpha * (target.w_plus - tc) + (1 - alpha) * (source.w_plus - sc) + sc
    # rounding, through a generator and an encoder
    assert rel_err(done.result.w_plus, wanted) < 2e-5
    if method == "hyperstyle":  # the person is in the changes of the code that is moved
        assert rel_err(done.result.changes["vectors"], svectors) < 2e-5
        assert rel_err(done.result.changes["vectors"], source.changes["vectors"]) > 1e-3
    assert rel_err(done.source.base.w_plus, done.source.neutral.w_plus) > 1e-2
    assert inversion.synthesize(inverter, done.result, batch=2).shape == (2, 128, 128, 3)


def test_a_ragged_batch_is_reinverted_as_a_full_one(inverters, faces, directions):
    """Three faces two at a time, and a face on its own."""
    ready = Transferrer(inverters["psp"], directions, batch=2)
    together = ready.prepare(faces["psp"])
    assert len(together) == len(together.base) == 3
    alone = ready.prepare(faces["psp"][[2, 0]])
    assert rel_err(alone.base.w_plus, together.base.w_plus[np.array([2, 0])]) < 1e-5
    assert jax.tree.structure(together[1:]) == jax.tree.structure(together)


def test_other_attributes_stay_out_of_the_subspace(directions):
    renamed = dataclasses.replace(directions, names=("age", *directions.names[1:]))
    fewer = subspace.emotion_subspace(renamed, 12)
    assert fewer.rows.shape[1] == 7
    nameless = dataclasses.replace(directions, names=tuple("abcdefgh"))
    with pytest.raises(UserError, match="a, b, c, d, e, f, g, h are none of anger"):
        subspace.emotion_subspace(nameless, 12)


def test_bad_requests_are_one_sentence(inverters, faces, directions):
    with pytest.raises(UserError, match="normaliser is 'norm', wanted one of reinvert"):
        Transferrer(inverters["psp"], directions, normaliser="norm")
    with pytest.raises(UserError, match="projection is 'plane', wanted 'plain' or 'layer'"):
        Transferrer(inverters["psp"], directions, normaliser="subspace", projection="plane")
    ready = Transferrer(inverters["psp"], directions, normaliser="none")
    three = ready.prepare(faces["psp"])
    with pytest.raises(ValueError, match="3 sources, 2 targets and 1 values of alpha"):
        combine(three, three[:2])
    other = Transferrer(inverters["hyperstyle"], directions, normaliser="none")
    with pytest.raises(ValueError, match="inverted by different networks"):
        combine(three, other.prepare(faces["hyperstyle"]))
