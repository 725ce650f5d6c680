"""The drawn faces: what is random, what is smooth, what moves, and the data set on disk."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.demo import batches, drawn_faces, photos
from emojax.demo.drawing import factors, render
from emojax.demo.drawing.expressions import ACTION_UNITS, EMOTIONS, emfacs_table
from emojax.demo.drawing.factors import FACTORS, LATENT_SIZE
from emojax.runtime.errors import UserError

BATCH = 16  # one compiled program for all tests at 64 px, and the data set's


@functools.cache
def people(seed: int = 0) -> factors.Params:
    keys = jax.random.split(jax.random.key(seed), BATCH)
    return jax.vmap(lambda key: factors.params(factors.sample(key)))(keys)


@functools.cache
def pictures(resolution: int = 64) -> np.ndarray:
    return np.asarray(render.render_batch(people(), resolution=resolution))


def one(index: int = 0) -> factors.Params:
    return jax.tree.map(lambda a: a[index], people())


def test_the_factors_fill_the_latent():
    assert len(FACTORS) + len(EMOTIONS) == LATENT_SIZE
    assert len({factor.name for factor in FACTORS}) == len(FACTORS)


def test_pictures_have_their_range_and_differ():
    drawn = pictures()
    assert drawn.shape == (BATCH, 64, 64, 3)
    assert drawn.dtype == np.float32
    assert drawn.min() >= -1
    assert drawn.max() <= 1
    assert np.abs(drawn[0] - drawn[1]).mean() > 0.05
    assert (drawn.std((1, 2, 3)) > 0.1).all()


def test_drawing_again_gives_the_same_bits():
    again = np.asarray(render.render_batch(people(), resolution=64))
    np.testing.assert_array_equal(again, pictures())


@pytest.mark.slow  # every operation is compiled by itself
def test_compiled_and_eager_agree():
    # rounding alone: edges are ramps a pixel wide, so 1e-6 of a coordinate is 1e-4 of a colour
    eager = render.render(one(), 64)
    np.testing.assert_allclose(eager, pictures()[0], rtol=0, atol=2e-3)


def test_half_the_resolution_is_the_average():
    large = np.asarray(render.render_batch(people(), resolution=128))
    small = large.reshape(BATCH, 64, 2, 64, 2, 3).mean((2, 4))
    error = np.abs(small - pictures()).mean()  # textures fade and thin lines widen at 64 px
    assert error < 0.02
    shifted = np.abs(np.roll(small, 1, axis=2) - pictures()).mean()
    assert shifted > 2 * error


LATENT = np.random.default_rng(3).normal(size=LATENT_SIZE).astype(np.float32) * 0.7
LATENT[:7] = 0  # undecided: where one emotion has won, the rarest are e^-20 down the softmax


def test_every_latent_entry_moves_the_picture():
    def drawn(latents):
        faces = jax.jit(jax.vmap(factors.params))(latents)
        return np.asarray(render.render_batch(faces, resolution=64))

    before = drawn(np.tile(LATENT, (BATCH, 1)))
    moved = LATENT + np.eye(LATENT_SIZE, dtype=np.float32)
    after = np.concatenate([drawn(rows) for rows in np.split(moved, LATENT_SIZE // BATCH)])
    assert np.isfinite(after).all()
    largest = np.abs(after - before[0]).max((1, 2, 3))
    # the faintest are closed gates (glasses) and rare emotions; an unused entry gives exactly 0
    assert (largest > 1e-3).all(), np.flatnonzero(largest <= 1e-3)


def test_emotions_are_as_frequent_as_in_figure_4():
    keys = jax.random.split(jax.random.key(5), 40_000)
    weights = jax.jit(jax.vmap(lambda key: factors.params(factors.sample(key)).emotion))(keys)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=0, atol=1e-5)
    share = np.bincount(np.argmax(weights, 1), minlength=8) / len(keys)
    wanted = [0.05, 0.007, 0.025, 0.008, 0.42, 0.35, 0.08, 0.06]
    # four standard errors of the largest, 4 sqrt(.42 * .58 / 40000), and of the rarest
    np.testing.assert_allclose(share, wanted, rtol=0, atol=0.010)
    np.testing.assert_allclose(share[[1, 3]], [0.007, 0.008], rtol=0, atol=0.002)
    assert set(np.argsort(share)[:2]) == {EMOTIONS.index("contempt"), EMOTIONS.index("fear")}
    assert np.argmax(share) == EMOTIONS.index("happiness")


def test_balanced_faces_show_every_emotion_equally():
    keys = jax.random.split(jax.random.key(6), 4_000)
    emotion = jax.jit(jax.vmap(lambda key: factors.sample_balanced(key).emotion))(keys)
    np.testing.assert_allclose(emotion.sum(1), 1, rtol=0, atol=1e-5)
    share = np.bincount(np.argmax(emotion, 1), minlength=8) / len(keys)
    np.testing.assert_allclose(share, 1 / 8, rtol=0, atol=0.021)  # four standard errors


def test_another_emotion_keeps_the_person():
    face = one()
    angry = factors.with_emotion(face, "anger")
    for before, after in zip(face.identity, angry.identity, strict=True):
        np.testing.assert_array_equal(before, after)
    calm = factors.with_emotion(face, "anger", 0.0)
    rest = factors.with_emotion(face, "neutral")
    np.testing.assert_allclose(calm.action_units, rest.action_units, rtol=0, atol=1e-7)
    brows = ACTION_UNITS.index(4)
    assert (angry.action_units[brows] > 0.8).all()


def test_contempt_alone_is_one_sided():
    face = one()._replace(identity=one().identity._replace(asymmetry=jnp.float32(0.7)))
    dimpler = ACTION_UNITS.index(14)
    left, right = factors.with_emotion(face, "contempt").action_units[dimpler]
    assert right > 0.9
    assert left < 0.05
    lips = ACTION_UNITS.index(12)
    left, right = factors.with_emotion(face, "happiness").action_units[lips]
    assert 0.7 < left / right < 1


@pytest.mark.parametrize(("emotion", "units"), [("fear", {1, 2, 4, 5, 20, 25}), ("neutral", set())])
def test_emotions_are_emfacs_combinations(emotion, units):
    row = emfacs_table()[EMOTIONS.index(emotion)]
    assert {ACTION_UNITS[i] for i in np.flatnonzero(row)} == units


@functools.cache
def unit_pictures() -> np.ndarray:
    """A plain face with each of the sixteen units alone, then what moves against rest."""
    who = one().identity
    plain = dict.fromkeys(("yaw", "pitch", "roll", "glasses", "beard", "hair_fringe", "hair_curl"))
    who = who._replace(**{name: jnp.zeros(()) for name in plain}, zoom=jnp.float32(1.1))
    rest = factors.Params(who, jnp.eye(8)[5], jnp.float32(1), jnp.zeros((16, 2)))
    batch = jax.tree.map(lambda a: jnp.broadcast_to(a, (16, *a.shape)), rest)
    units = jnp.eye(16)[:, :, None] * jnp.ones(2)
    moved = render.render_batch(batch._replace(action_units=units), resolution=64)
    return np.abs(np.asarray(moved - render.render_batch(batch, resolution=64))).sum(-1)


REGIONS = {  # rows of the 64 that a unit moves most
    1: (12, 30), 2: (12, 30), 4: (12, 34), 5: (22, 36), 6: (22, 48), 7: (22, 36), 9: (18, 50),
    10: (36, 54), 12: (34, 54), 14: (38, 54), 15: (38, 54), 17: (40, 60), 20: (38, 54),
    23: (38, 54), 25: (38, 54), 26: (38, 64),
}  # fmt: skip


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_units_move_their_part_of_the_face(unit):
    moved = unit_pictures()[ACTION_UNITS.index(unit)]
    top, bottom = REGIONS[unit]
    assert moved.max() > 0.1
    assert moved[top:bottom].sum() > 0.9 * moved.sum()


def test_photos_are_other_pictures_of_the_same_faces():
    drawn = jnp.asarray(pictures()[:4])
    keys = jax.random.split(jax.random.key(7), 4)
    taken = jax.vmap(photos.photograph)(keys, drawn)
    assert float(taken.min()) >= -1
    assert float(taken.max()) <= 1
    assert float(jnp.abs(taken - drawn).mean()) > 0.03
    for photo, picture in zip(np.asarray(taken), np.asarray(drawn), strict=True):
        assert np.corrcoef(photo.ravel(), picture.ravel())[0, 1] > 0.8
    twice = jax.vmap(photos.photograph)(keys, drawn)
    np.testing.assert_array_equal(taken, twice)


def test_the_photo_domain_has_what_the_generator_has_not():
    keys = jax.random.split(jax.random.key(8), 4_000)
    who = jax.vmap(lambda key: photos.photo_params(key).identity)(keys)
    np.testing.assert_allclose(who.hat.mean(), photos.HAT_SHARE, rtol=0, atol=0.021)
    assert float(jnp.abs(who.yaw).max()) > 0.14  # generator: 0.10
    assert float(jnp.abs(people().identity.hat).max()) == 0


def test_half_of_the_faces_get_wider_poses():
    faces = batches.faces_of(batches.latents(jax.random.key(3), count=6))
    turned = batches.half_turned(faces)
    ratio = turned.identity.yaw / faces.identity.yaw
    np.testing.assert_allclose(ratio, [1, 1, 1.6, 1.6, 1, 1], rtol=1e-6)
    np.testing.assert_array_equal(turned.identity.hair_curl, faces.identity.hair_curl)


def test_jpeg_encodes_and_decodes():
    pixels = photos.to_pixels(pictures()[0])
    coarse, fine = photos.jpeg(pixels, 20), photos.jpeg(pixels, 95)
    errors = [np.abs(out.astype(int) - pixels).mean() for out in (coarse, fine)]
    assert errors[0] > errors[1] > 0
    with pytest.raises(UserError, match=r"not float32 \[64, 64, 3\]"):
        photos.jpeg(pictures()[0], 90)


@pytest.mark.parametrize("domain", ["generator", "photo"])
def test_the_data_set_round_trips(tmp_path, domain):
    made = drawn_faces.prepare(tmp_path, domain=domain, resolution=64, train=20, test=3)
    source = made.as_data_source("train")
    assert (len(source), len(made.as_data_source("test"))) == (20, 3)
    assert {row["image"].shape for row in source} == {(64, 64, 3)}
    for row in source:
        np.testing.assert_allclose(row["emotion"].sum(), 1, rtol=0, atol=1e-5)
        assert row["label"] == row["emotion"].argmax()
        assert row["action_units"].shape == (16, 2)
    assert np.std([row["image"].mean() for row in source]) > 5
    again = drawn_faces.prepare(tmp_path, domain=domain, resolution=64, train=20, test=3)
    np.testing.assert_array_equal(again.as_data_source("train")[7]["image"], source[7]["image"])


def test_bad_requests_are_explained(tmp_path):
    with pytest.raises(UserError, match=r"not \(3, 64\); use jax\.vmap"):
        factors.params(jnp.zeros((3, 64)))
    with pytest.raises(UserError, match="unknown emotion 'joy'; choose one of anger"):
        factors.with_emotion(one(), "joy")
    with pytest.raises(UserError, match="domain is 'moon', wanted one of generator, photo"):
        drawn_faces.prepare(tmp_path, domain="moon")
    with pytest.raises(UserError, match="test 0 must be at least 1"):
        drawn_faces.prepare(tmp_path, test=0)
