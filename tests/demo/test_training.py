"""Training of the demo's networks: batches and losses of small networks."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from emojax.demo import batches, train
from emojax.demo.drawing.expressions import EMOTIONS
from emojax.demo.training import classifiers, encoders
from emojax.demo.training import generator as generating
from emojax.demo.training.recipe import PROFILES
from emojax.demo.training.run import Run, _blank, _in_order, _stage
from emojax.demo.training.schedule import NEEDS, with_needed
from emojax.runtime.errors import UserError

TINY = dataclasses.replace(PROFILES["cpu"], resolution=32, channels=(8, 8, 8, 8))

KEY = jax.random.key(0)
INVERTING = ("psp", "w_encoder", "hyperstyle")


def blank_stage(name):
    return _stage(TINY, name, [_blank(TINY, each) for each in NEEDS.get(name, ())], 0)


def test_finishing_a_generator_keeps_its_pictures():
    generator = generating.SupervisedGenerator(TINY, rngs=nnx.Rngs(0)).generator
    z = batches.latents(jax.random.key(3), count=2)
    draw = jax.jit(lambda model, z: model(z))
    before = draw(generator, z)
    finished = generating.finish(generator, jax.random.key(0))
    np.testing.assert_allclose(draw(finished, z), before, atol=2e-5)
    assert float(jnp.abs(finished.latent_avg[...]).max()) > 0


def test_w_is_twelve_deviations_of_any_coordinate_for_the_papers_k():
    finished = generating.finish(
        generating.SupervisedGenerator(TINY, rngs=nnx.Rngs(0)).generator, KEY
    )
    w = finished.mapping(batches.latents(KEY, count=4000))
    k_of_a_layer = 20 / np.sqrt(finished.config.n_latent)
    deviation = np.sqrt(np.asarray(w).var(0).mean())
    assert 12 * deviation == pytest.approx(k_of_a_layer, rel=0.02)


def test_w_is_trained_towards_equal_variance_in_all_directions():
    stage = generating.stage(TINY, "mapping", [], 0)
    batch = stage.draw(KEY, None)
    before = stage.loss(stage.model, None, batch)[1]["spread"]
    rate = 1e-3 / 0.01**2  # the mapping's weights are stored divided by 0.01
    slope = nnx.grad(lambda model: stage.loss(model, None, batch)[1]["spread"])(stage.model)
    state = nnx.state(stage.model, nnx.Param)
    nnx.update(stage.model, jax.tree.map(lambda a, b: a - rate * b, state, slope))
    assert stage.loss(stage.model, None, batch)[1]["spread"] < before


@pytest.mark.parametrize("count", [4, 7])
def test_latents_have_unit_mean_square(count):
    for draw in (batches.latents, batches.expressive_latents):
        z = draw(jax.random.key(0), count=count)
        np.testing.assert_allclose(jnp.square(z).mean(-1), np.ones(count), rtol=1e-5)


def test_expressive_latents_show_rare_emotions_more_often():
    def share(z):
        shown = np.asarray(batches.faces_of(z).emotion.argmax(-1))
        return np.mean((shown == 1) | (shown == 3))  # contempt, fear

    key = jax.random.key(0)
    often = share(batches.expressive_latents(key, count=4000))
    assert often > 2 * share(batches.latents(key, count=4000))


def test_balanced_latents_show_all_emotions_about_equally_often():
    z = batches.expressive_latents(jax.random.key(0), count=4000, balance=True)
    shifted = np.asarray(batches.faces_of(z[1::2]).emotion.argmax(-1))
    shares = np.delete(np.bincount(shifted, minlength=8) / 2000, EMOTIONS.index("neutral"))
    assert shares.min() > 0.07
    assert shares.max() < 0.35  # happiness, also among faces shifted to another emotion


def test_pixels_count_more_where_the_expression_shows():
    faces = batches.faces_of(batches.latents(jax.random.key(0), count=4))
    plain = batches.face_weights(32)
    for emotion, most in (("neutral", 1.0), ("surprise", 5.0)):
        shown = batches.with_emotion(faces, emotion)
        times = np.asarray(batches.expression_weights(shown, batches.draw(shown, 32))) / plain
        np.testing.assert_allclose(times.min((1, 2, 3)), 1, rtol=1e-5)
        np.testing.assert_allclose(times.max((1, 2, 3)), most, rtol=1e-5)
    mouth = times[:, 18:26, 12:20].mean()
    assert mouth > 1.5 * times[:, :, :4].mean()  # the background stays as it is


def test_attributes_are_named_one_by_one():
    faces = batches.faces_of(batches.latents(jax.random.key(0), count=3))
    table = np.asarray(batches.attributes(faces))
    assert table.shape == (3, len(batches.ATTRIBUTES))
    assert len(set(batches.ATTRIBUTES)) == len(batches.ATTRIBUTES)
    factors = table[:, : -2 * 16]
    assert np.abs(factors).max() <= 1 + 1e-6
    column = batches.ATTRIBUTES.index("au12_right")
    np.testing.assert_array_equal(table[:, column], faces.action_units[:, 8, 1])


@pytest.mark.slow
@jax.default_prng_impl("rbg")  # quick to compile, for some hundred shapes of parameters
def test_every_stage_has_a_scalar_loss():
    stages = [blank_stage(name) for name in TINY.lengths]
    for stage in stages:
        batch = jax.eval_shape(stage.draw, jax.random.key(0), stage.frozen)
        value, metrics = jax.eval_shape(stage.loss, stage.model, stage.frozen, batch)
        assert value.shape == ()
        assert all(metric.shape == () for metric in metrics.values())
        # a weakly typed parameter would be compiled for twice, as it starts and as updates leave it
        assert not any(leaf.weak_type for leaf in jax.tree.leaves(nnx.state(stage.model)))
        assert stage.steps == TINY.lengths[stage.name].steps
        assert 0 <= stage.statistics < 1
        assert stage.muon == (stage.name != "mapping")
        assert (stage.sheet is not None) == (
            stage.name in ("coarse", "middle", "fine", "generator", *INVERTING)
        )


@jax.default_prng_impl("rbg")
def test_batches_can_be_split_over_devices():
    for name in TINY.lengths:
        stage = blank_stage(name)
        batch = jax.eval_shape(stage.draw, jax.random.key(0), stage.frozen)
        count = TINY.lengths[name].batch
        assert {leaf.shape[0] for leaf in jax.tree.leaves(batch)} <= {count, 256 - count}


def test_half_a_batch_of_the_generator_has_its_own_pictures():
    """Were pictures and latents of a share not of the same faces, its error would be larger."""
    stage = blank_stage("coarse")
    batch = stage.draw(KEY, None)
    halves = [jax.tree.map(lambda a, at=at: a[at], batch) for at in (np.s_[0::2], np.s_[1::2])]
    for half in halves:
        drawn = batches.draw(batches.faces_of(half.z), half.pictures.shape[1])
        np.testing.assert_allclose(drawn, half.pictures, atol=1e-5)
        known = batches.w_targets(batches.faces_of(half.more))
        np.testing.assert_allclose(known, half.more_targets, atol=1e-5)


def test_the_generator_grows_from_a_quarter_of_its_size():
    for name, side in (("coarse", 8), ("middle", 16), ("fine", 32), ("generator", 32)):
        stage = blank_stage(name)
        batch = jax.eval_shape(stage.draw, KEY, stage.frozen)
        assert batch.pictures.shape[1:] == (side, side, 3)


def test_encoders_of_large_pictures_see_smaller_ones():
    """As pSp and HyperStyle of FFHQ see 256 pixels of 1024; the losses compare pictures whole."""
    large = dataclasses.replace(PROFILES["cpu"], channels=(8, 8, 8, 8, 8, 8))
    for name in INVERTING:
        stage = _stage(large, name, [_blank(large, each) for each in NEEDS[name]], 0)
        batch = jax.eval_shape(stage.draw, KEY, stage.frozen)
        assert max(leaf.shape[-2] for leaf in batch if leaf.ndim == 4) == 128
        value, _ = jax.eval_shape(stage.loss, stage.model, stage.frozen, batch)
        assert value.shape == ()
        assert stage.model.config.resolution == 64


def test_encoders_start_from_the_pretrained_trunk():
    generator, _, *judges = (_blank(TINY, name) for name in NEEDS["psp"])
    pretrained = encoders.trunk(TINY, [], 5).model
    model = encoders.psp(TINY, [generator, pretrained, *judges], 0).model
    assert jax.tree.all(
        jax.tree.map(
            lambda a, b: a is not b and bool(jnp.all(a == b)),
            nnx.state(model.trunk),
            nnx.state(pretrained.trunk),
        )
    )


def test_codes_are_read_by_a_linear_regression():
    keys = jax.random.split(KEY, 2)
    w, matrix = jax.random.normal(keys[0], (200, 5)), jax.random.normal(keys[1], (5, 3))
    np.testing.assert_allclose(encoders._linear(w + 1, w @ matrix - 2), matrix, atol=1e-5)


def test_a_wrong_fraction_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"--fraction is 0\.0, wanted more than 0"):
        train.main(train.Options(fraction=0.0, work=tmp_path))
    with pytest.raises(UserError, match="'pspp', wanted some of mapping, coarse, middle, "):
        train.main(train.Options(stages=("pspp",), work=tmp_path))
    with pytest.raises(UserError, match="--together is -1, wanted 1 or more"):
        train.main(train.Options(together=-1, work=tmp_path))


def test_stages_that_are_finished_are_not_started_again(tmp_path):
    run = Run(TINY, tmp_path, 0)
    assert run.unfinished(tuple(TINY.lengths)) == list(TINY.lengths)
    assert run.unfinished(("psp",)) == [
        "mapping",
        "coarse",
        "middle",
        "fine",
        "features",
        "generator",
        "attributes",
        "trunk",
        "psp",
    ]
    for name, share in (("mapping", 1.0), ("coarse", 0.7)):
        (tmp_path / name / "network").mkdir(parents=True)
        (tmp_path / name / "progress.json").write_text(json.dumps({"step": 9_000, "share": share}))
    assert run.unfinished(("fine",)) == ["coarse", "middle", "fine"]
    with pytest.raises(UserError, match="'pspp', wanted some of"):
        run.unfinished(("pspp",))


def test_half_of_each_kind_of_face_is_photographed():
    chosen = np.asarray(classifiers.photographed_rows(64))
    assert chosen.sum() == 32
    assert chosen[::2].sum() == chosen[1::2].sum() == 16  # balanced emotions, natural ones


def test_stages_come_after_what_they_need():
    order = _in_order(with_needed(["hyperstyle"], TINY.lengths))
    assert sorted(order) == sorted(
        [
            "mapping",
            "coarse",
            "middle",
            "fine",
            "features",
            "generator",
            "trunk",
            "attributes",
            "w_encoder",
            "hyperstyle",
        ]
    )
    for name in order:
        assert set(NEEDS.get(name, ())) <= set(order[: order.index(name)])
