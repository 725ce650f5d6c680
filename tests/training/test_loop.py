"""Training of networks: the loop, its checkpoints and the optimiser."""

import dataclasses
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from emojax.nn.conv_norm import ConvNorm
from emojax.runtime import devices
from emojax.runtime.errors import UserError
from emojax.runtime.locks import alone
from emojax.training import loop as training_loop
from emojax.training.checkpoints import last_metrics, seconds
from emojax.training.loop import LOGGED, Loop, Programs, Stage, fit
from emojax.training.optimiser import matrix_axes


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


class Normed(nnx.Module):
    """A linear map with BatchNorm that learns to double its input."""

    def __init__(self):
        self.norm = nnx.BatchNorm(3, use_running_average=True, rngs=nnx.Rngs(0))
        self.linear = nnx.Linear(3, 3, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.linear(self.norm(x))


def rows_stage(steps, stop=None):
    def rows(start):
        for step in range(start, 10_000):
            if step == stop:
                raise Stopped
            yield np.random.default_rng(step).standard_normal((8, 3)).astype(np.float32)

    def loss(model, frozen, x):
        return jnp.mean(jnp.square(model(x) - frozen * x)), {"twice": 2 * x.mean()}

    common = {"statistics": 0.5, "average": 0.9, "stored": "float32", "rows": rows}
    return Stage("rows", Normed(), None, loss, jnp.float32(2), steps, 0.05, **common)


def test_a_stopped_run_on_four_devices_ends_as_one_that_was_not(tmp_path):
    mesh = devices.global_mesh()
    assert mesh.size == 4
    whole = fit(rows_stage(110), tmp_path / "whole", 0, Loop(mesh=mesh))
    with pytest.raises(Stopped):
        fit(rows_stage(110, stop=105), tmp_path / "parts", 0, Loop(save_every=0.0, mesh=mesh))
    assert json.loads((tmp_path / "parts/rows/progress.json").read_text())["step"] == 100
    resumed = fit(rows_stage(110), tmp_path / "parts", 0, Loop(mesh=mesh))
    for a, b in zip(values(whole), values(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    logs = [(tmp_path / name / "rows/losses.jsonl").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_what_several_devices_trained_can_be_changed_at_the_end(tmp_path):
    def doubled(model):
        model.linear.bias[...] = 2 * model.linear.bias[...]
        return model

    plain, changed = rows_stage(3), dataclasses.replace(rows_stage(3), end=doubled)
    found = [
        fit(each, tmp_path / name, 0, Loop(mesh=devices.global_mesh()))
        for name, each in (("plain", plain), ("changed", changed))
    ]
    once, twice = (np.asarray(each.linear.bias[...]) for each in found)
    assert np.abs(once).max() > 0
    np.testing.assert_array_equal(2 * once, twice)


def drawing_stage(steps):
    def draw(key, _):
        return jax.random.normal(key, (8, 3))

    return dataclasses.replace(rows_stage(steps), draw=draw, rows=None)


@pytest.mark.parametrize("stage", [rows_stage, drawing_stage])
def test_devices_change_nothing_but_the_order_of_sums(tmp_path, stage):
    """Also statistics of the batch are those of all devices."""
    found = [
        values(fit(stage(20), tmp_path / str(most), 0, Loop(mesh=devices.global_mesh(most))))
        for most in (1, 4)
    ]
    for began, one, four in zip(values(Normed()), *found, strict=True):
        assert np.abs(began - one).max() > 1e-3
        np.testing.assert_allclose(one, four, rtol=1e-4, atol=1e-5)
