"""Training of the demo's networks: loop, batches and losses of small networks."""

import dataclasses
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from emojax.demo import batches, train
from emojax.demo.drawing.expressions import EMOTIONS
from emojax.demo.training import classifiers, encoders
from emojax.demo.training import generator as generating
from emojax.demo.training import loop as training_loop
from emojax.demo.training.checkpoints import last_metrics, seconds
from emojax.demo.training.loop import LOGGED, Loop, Programs, Stage, fit
from emojax.demo.training.optimiser import matrix_axes
from emojax.demo.training.recipe import PROFILES
from emojax.demo.training.run import Run, _blank, _in_order, _stage
from emojax.demo.training.schedule import NEEDS, with_needed
from emojax.nn.conv_norm import ConvNorm
from emojax.runtime.errors import UserError
from emojax.runtime.locks import alone

TINY = dataclasses.replace(PROFILES["cpu"], resolution=32, channels=(8, 8, 8, 8))

KEY = jax.random.key(0)
INVERTING = ("psp", "w_encoder", "hyperstyle")


class Small(nnx.Module):
    """One normalised convolution that learns to double its input."""

    def __init__(self):
        self.layer = ConvNorm(1, 1, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.layer(x)


def small_stage(steps, statistics=0.5):
    def draw(key, frozen):
        return jax.random.normal(key, (4, 2, 2, 1))

    def loss(model, frozen, x):
        return jnp.mean(jnp.square(model(x) - frozen * x)), {"twice": 2 * x.mean()}

    return Stage("small", Small(), draw, loss, jnp.float32(2), steps, 0.05, statistics=statistics)


def values(model):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model))]


def blank_stage(name):
    return _stage(TINY, name, [_blank(TINY, each) for each in NEEDS.get(name, ())], 0)


class Stopped(Exception):
    """Stands for a kill."""


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path):
    whole = fit(small_stage(140), tmp_path / "whole", 0)
    broken = small_stage(140)
    calls = iter(range(1000))

    def draw(key, frozen):
        if next(calls) == 125:
            raise Stopped
        return broken.draw(key, frozen)

    with pytest.raises(Stopped):
        fit(dataclasses.replace(broken, draw=draw), tmp_path / "parts", 0, Loop(save_every=0.0))
    assert json.loads((tmp_path / "parts/small/progress.json").read_text())["step"] == 100
    with (tmp_path / "parts/small/losses.jsonl").open("a") as log:
        log.write('{"step": 150, "lo')  # a kill in the middle of a line
    resumed = fit(small_stage(140), tmp_path / "parts", 0)
    for a, b in zip(values(whole), values(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not list((tmp_path / "parts/small").glob("step-*"))
    logs = [(tmp_path / name / "small/losses.jsonl").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("steps", [2 * LOGGED])
def test_fused_steps_are_the_same_steps(tmp_path, steps):
    one = fit(small_stage(steps), tmp_path / "one", 0)
    stage = small_stage(steps)
    many = fit(stage, tmp_path / "many", 0, Loop(programs=Programs(stage)))
    for a, b in zip(values(one), values(many), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3)  # stored in float16
    logs = [last_metrics(tmp_path / name, "small") for name in ("one", "many")]
    assert logs[0]["step"] == logs[1]["step"] == steps
    assert logs[0]["twice"] == pytest.approx(logs[1]["twice"], rel=1e-4)


def test_a_stage_ends_when_its_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "_LEAST", 1.0)
    stage = small_stage(10**9)
    begun = time.time()
    loop = Loop(programs=Programs(stage), until=time.time() + 2)
    model = fit(stage, tmp_path, 0, loop)
    assert time.time() - begun < 12
    assert last_metrics(tmp_path, "small")["step"] > LOGGED
    assert float(model(jnp.ones((1, 1, 1, 1)))[0, 0, 0, 0]) == pytest.approx(2.0, abs=0.05)


def test_a_gradient_that_is_not_finite_is_left_out(tmp_path):
    def loss(model, frozen, x):
        return jnp.where(x.mean() > 0, jnp.inf, 1.0) * jnp.mean(jnp.square(model(x))), {}

    model = fit(dataclasses.replace(small_stage(20), loss=loss), tmp_path, 0)
    assert all(np.isfinite(value).all() for value in values(model))


def test_an_average_of_the_parameters_is_the_result(tmp_path):
    last = fit(small_stage(60), tmp_path / "last", 0)
    first = fit(small_stage(1), tmp_path / "first", 0)
    mean = fit(dataclasses.replace(small_stage(60), average=0.99), tmp_path / "mean", 0)
    kernels = [float(np.ravel(each.layer.kernel[...])[0]) for each in (first, mean, last)]
    assert min(kernels[0], kernels[2]) < kernels[1] < max(kernels[0], kernels[2])


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    (tmp_path / "small").mkdir()
    sentence = r"another process is training in .*small: wait"
    with alone(tmp_path / "small", "training"), pytest.raises(UserError, match=sentence):
        fit(small_stage(3), tmp_path, 0)
    trained = fit(small_stage(3), tmp_path, 0)
    (tmp_path / "small/step-3").mkdir()  # left behind by a kill
    with alone(tmp_path / "small", "training"):  # one that has ended is only read
        found = fit(small_stage(3), tmp_path, 0)
        assert not (tmp_path / "small/step-3").exists()
        with pytest.raises(UserError, match=sentence):
            fit(small_stage(4), tmp_path, 0)
    for a, b in zip(values(trained), values(found), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stage_that_has_ended_has_its_sheet(tmp_path):
    drawn = []

    def sheet(model, file):
        drawn.append(file)
        if len(drawn) == 1:
            raise Stopped

    with pytest.raises(Stopped):
        fit(dataclasses.replace(small_stage(3), sheet=sheet), tmp_path, 0)
    fit(dataclasses.replace(small_stage(3), sheet=sheet), tmp_path, 0)
    assert drawn == [tmp_path / "small" / "sheet.png"] * 2


def test_damaged_progress_is_one_sentence(tmp_path):
    fit(small_stage(3), tmp_path, 0)
    (tmp_path / "small/progress.json").write_text('{"step": "3"}')
    with pytest.raises(UserError, match=r"progress\.json is not progress .*: delete .*small to"):
        fit(small_stage(3), tmp_path, 0)


def test_the_loop_learns_and_says_so(tmp_path):
    model = fit(small_stage(300, statistics=0.0), tmp_path, 0)
    x = jnp.ones((1, 1, 1, 1))
    assert float(model(x)[0, 0, 0, 0]) == pytest.approx(2.0, abs=0.05)
    assert last_metrics(tmp_path, "small")["step"] == 300
    assert last_metrics(tmp_path, "small")["loss"] < 0.01
    assert seconds(tmp_path, "small") > 0
    lines = (tmp_path / "small/losses.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(50, 301, 50))


def test_statistics_follow_the_batches_only_while_they_are_meant_to(tmp_path):
    still = fit(small_stage(3, statistics=0.0), tmp_path / "a", 0)
    moved = fit(small_stage(3, statistics=1.0), tmp_path / "b", 0)
    assert float(still.layer.var[...][0]) == 1.0
    assert float(moved.layer.var[...][0]) != 1.0
    assert moved.layer.use_running_average


def test_normalising_by_the_batch_is_batch_normalisation():
    layer = ConvNorm(2, 3, rngs=nnx.Rngs(0))
    layer.train()
    y = layer(jax.random.normal(jax.random.key(0), (8, 4, 4, 2)))
    np.testing.assert_allclose(y.mean((0, 1, 2)), np.zeros(3), atol=1e-6)
    np.testing.assert_allclose(y.std((0, 1, 2)), np.ones(3), rtol=2e-3)  # epsilon 1e-3


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


def test_only_matrices_go_by_muon():
    def axes(*shape, rate_factor=1.0):
        found = matrix_axes(jnp.zeros(shape), rate_factor)
        return found and (found.reduction_axis, found.output_axis)

    assert axes(3, 3, 16, 32) == ((0, 1, 2), (3,))
    assert axes(16, 32) == ((0,), (1,))
    assert axes(16, 32, rate_factor=10.0) is None
    assert axes(3, 3, 1, 32) is None  # depthwise
    assert axes(1, 1, 32, 3) is None  # three colours
    assert axes(4, 4, 32) is None
    assert axes(32) is None


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
            stage.name in ("coarse", "fine", "generator", *INVERTING)
        )


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
    with pytest.raises(UserError, match="'pspp', wanted some of mapping, coarse, fine, "):
        train.main(train.Options(stages=("pspp",), work=tmp_path))
    with pytest.raises(UserError, match="--together is -1, wanted 1 or more"):
        train.main(train.Options(together=-1, work=tmp_path))


def test_stages_that_are_finished_are_not_started_again(tmp_path):
    run = Run(TINY, tmp_path, 0)
    assert run.unfinished(tuple(TINY.lengths)) == list(TINY.lengths)
    assert run.unfinished(("psp",)) == [
        "mapping",
        "coarse",
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
    assert run.unfinished(("fine",)) == ["coarse", "fine"]
    with pytest.raises(UserError, match="'pspp', wanted some of"):
        run.unfinished(("pspp",))


def test_a_model_is_prepared_before_its_first_step_only(tmp_path):
    prepared = []

    def begin(model):
        prepared.append(model)
        model.layer.scale[...] = jnp.full(1, 3.0)
        return model

    stage = dataclasses.replace(small_stage(2, statistics=0.0), begin=begin, rate=0.0)
    first = fit(stage, tmp_path, 0)
    again = fit(dataclasses.replace(stage, model=Small()), tmp_path, 0)
    assert len(prepared) == 1
    assert float(first.layer.scale[...][0]) == float(again.layer.scale[...][0]) == 3.0


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
