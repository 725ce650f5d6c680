"""Projection and pivotal tuning against the originals' recorded steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert import stylegan
from emojax.latents import pivotal_tuning, projection
from emojax.latents.projection import Schedule
from emojax.metrics.perceptual import Perceptual
from emojax.models.stylegan2 import Generator
from emojax.store import weights
from tests.data import recipe
from tests.models.test_lpips import network as lpips
from tests.support import judges, oracles

CASE = "projection"


@functools.cache
def generator(layout: str) -> Generator:
    name = "manifest.json" if layout == "nvlabs" else "manifest_rosinality.json"
    state = recipe.state_dict(recipe.load_manifest(oracles.case_folder(CASE) / name))
    mean = None if layout == "nvlabs" else np.zeros(512, np.float32)
    found = stylegan.Found(layout, "", state, mean, None)
    config, table, *_ = stylegan.convert(found)
    return weights.load(weights.abstract(Generator, config), table)


def drawn(name: str) -> np.ndarray:
    return oracles.inputs(CASE)[name]


def noises(prefix: str, count: int) -> list[jax.Array]:
    found = [drawn(f"{prefix}:{i}") for i in range(count)]
    return [jnp.asarray(each.reshape(1, *each.shape[-2:], 1)) for each in found]


def near(name: str, port, *, index=None, floor=2e-6) -> None:
    golden = oracles.golden(CASE)
    truth = golden[name] if index is None else golden[name][index]
    error = np.asarray(golden.get(f"torch_f32_rel_err/{name}", 0.0)).max()
    assert oracles.rel_err(port, truth) <= max(3 * float(error), floor), name


def test_the_rate_the_jitter_and_the_penalty_are_the_originals():
    schedule, about = Schedule(), oracles.manifest(CASE)["config"]["lr"]
    rates = jax.jit(schedule.rate)(np.float32(about["steps"]) / about["total"])
    np.testing.assert_allclose(rates, oracles.golden(CASE)["B_lr"], rtol=2e-6, atol=1e-8)
    noise = noises("noise1024", 17)

    @jax.jit
    def run(noise):
        mixed = [(n + jnp.roll(n, 1, 2) + jnp.roll(n, 1, 1)) / np.float32(3**0.5) for n in noise]
        each = jnp.stack([projection.penalty([n])[0] for n in noise])
        return each, each.sum(), projection.penalty(mixed)[0]

    for name, found in zip(("each", "total", "correlated"), run(noise), strict=True):
        near(f"B_reg_{name}", found)


def test_noise_is_scaled_as_each_original_does():
    golden = oracles.golden(CASE)
    sample = Schedule(noise_scaling="sample deviation")
    for index, noise in enumerate(noises("noise1024", 4)):
        truth = golden[f"B_normalised.{index}"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(
            projection.normalised(noise, sample), truth, rtol=1e-5, atol=1e-6
        )
    other = projection.normalised(noises("noise1024", 1)[0], Schedule())
    assert oracles.rel_err(other, golden["B_normalised.0"].transpose(0, 2, 3, 1)) > 0.03


step = jax.jit(projection.step, static_argnames="schedule")


@pytest.mark.slow
def test_nvlabs_steps():
    schedule, made = Schedule(steps=12), generator("nvlabs")
    golden, count = oracles.golden(CASE), len(made.config.noise_sizes)
    z = np.random.RandomState(123).randn(10_000, 32).astype(np.float32)
    mean, spread = projection.spread_of(made, jnp.asarray(z))
    near("A_w_avg", mean)
    near("A_w_std", spread)
    levels = np.clip((judges.planes(51, "target", 32, batch=1) + 1) * 127.5, 0, 255).astype(
        np.uint8
    )
    pictures = levels.transpose(0, 2, 3, 1) / np.float32(127.5) - 1
    distance = Perceptual(lpips("lpips_vgg"))
    target = projection.Target.of(distance, pictures.astype(np.float32))
    start = projection.begin(mean[None, None], noises("init_noise", count))
    jitter = drawn("w_noise:0") * golden["A_w_noise_scale"][0]
    slope, _ = jax.jit(jax.grad(projection.losses, argnums=3, has_aux=True), static_argnums=2)(
        made, distance, schedule, start.variables, jnp.asarray(jitter), target
    )
    near("A_grad_w.0", slope.codes)
    near("A_grad_noise4.0", slope.noise[4][0, :, :, 0])
    state, errors = start, golden["torch_f32_rel_err/A_w_steps_each"]
    for index in range(schedule.steps):
        scale = spread * schedule.jitter_at(index / schedule.steps)
        assert float(scale) == pytest.approx(golden["A_w_noise_scale"][index], rel=5e-6)
        rate = schedule.rate(index / schedule.steps)
        assert float(rate) == pytest.approx(golden["A_lr"][index], rel=2e-6, abs=1e-9)
        jitter = jnp.asarray(drawn(f"w_noise:{index}")) * scale
        state, found = step(made, distance, schedule, state, target, jitter, rate)
        assert float(found.distance[0]) == pytest.approx(golden["A_dist"][index], rel=5e-3)
        assert float(found.penalty[0]) == pytest.approx(golden["A_reg"][index], rel=5e-5)
        off = oracles.rel_err(state.variables.codes[0, 0], golden["A_w_steps"][index])
        # Adam divides by the root of tiny squares, so rounding grows; torch's does to 4.6e-3, too.
        # In float64 codes agree to 3e-7 over eight steps, and to 3e-4 after twelve.
        assert off < (3 * errors.max() if index > 1 else 1e-5), index
    for index, noise in enumerate(state.variables.noise):
        near(f"A_final_noise.{index}", noise[0, :, :, 0], floor=1e-4)


def test_rosinality_steps():
    about, made = oracles.manifest(CASE)["config"]["rosinality"], generator("rosinality")
    schedule = Schedule(in_w_plus=True, squared_weight=0.5, noise_scaling="sample deviation")
    picture = judges.planes(51, "ros_target", 32, batch=1).transpose(0, 2, 3, 1)
    distance = Perceptual(lpips("lpips_vgg"))
    target = projection.Target.of(distance, picture.astype(np.float32))
    codes = np.broadcast_to(drawn("ros_latent_mean").reshape(1, 1, -1), (1, 8, 512))
    state = projection.begin(jnp.asarray(codes), noises("ros_noise", 7))
    for index, place in enumerate((0, 60, 500, 900)):
        _, _, _, _, rate, strength = oracles.golden(CASE)[f"C_losses.{index}"]
        jitter = about["latent_std"] * schedule.jitter_at(place / 1000)
        assert float(jitter) == pytest.approx(strength, rel=1e-5)
        assert float(schedule.rate(0.02 if index == 0 else place / 1000)) == pytest.approx(rate)
        jitter = jnp.asarray(drawn(f"ros_latent_noise:{index}")) * strength
        state, found = step(made, distance, schedule, state, target, jitter, rate)
        terms = [found.distance[0], found.penalty[0], found.squared[0]]
        np.testing.assert_allclose(
            terms, oracles.golden(CASE)[f"C_losses.{index}"][:3], rtol=1e-4 if index else 5e-6
        )
        recorded = oracles.golden(CASE)[f"C_latent.{index}"]
        if index:
            near(f"C_latent.{index}", state.variables.codes)
        else:
            # Adam's first step turns a gradient of rounding's size into a whole step of either
            # sign, on another processor for other numbers: a few may differ by it.
            off = np.abs(np.asarray(state.variables.codes) - recorded)
            error = oracles.golden(CASE)["torch_f32_rel_err/C_latent.0"] * np.abs(recorded).max()
            assert np.quantile(off, 0.995) <= error
            assert off.max() <= 2.01 * rate
        # each step starts as recorded, or those few would lead the later ones astray
        codes = jnp.asarray(recorded, jnp.float32)
        state = state._replace(variables=state.variables._replace(codes=codes))
    near("C_final_noise.6", state.variables.noise[6].transpose(0, 3, 1, 2), floor=1e-5)


@pytest.mark.slow
def test_pivotal_tuning_steps():
    made, golden = generator("nvlabs"), oracles.golden(CASE)
    distance = Perceptual(lpips("lpips_alex"))
    picture = judges.planes(51, "pti_real", 32, batch=1).transpose(0, 2, 3, 1).astype(np.float32)
    target = pivotal_tuning.Target(picture, distance.embed(picture))
    pivot = jnp.broadcast_to(drawn("pti_pivot").reshape(1, -1, 32), (1, 8, 32))
    tuning = pivotal_tuning.Tuning(enough=0, locality=0.1)
    tune = jax.jit(pivotal_tuning.step, static_argnames="tuning")
    state = pivotal_tuning.begin(made.synthesis)
    assert len(state.weights) == len(golden["D_grad_norms"])
    for index in range(3):
        z = jnp.asarray(drawn(f"pti_z:{index}")).reshape(1, -1)
        state, found = tune(made, distance, tuning, state, pivot, target, z)
        truth = golden[f"D_losses.{index}"]
        np.testing.assert_allclose([found.squared, found.distance], truth[:2], rtol=5e-6)
        np.testing.assert_allclose(found.locality, truth[3], atol=2e-8)
    draw = jax.jit(lambda made, w: pivotal_tuning.with_weights(made.synthesis, w)(pivot))
    near("D_image_final", draw(made, state.weights).transpose(0, 3, 1, 2), floor=5e-6)
    scaled = {
        name: array * 1.05 if name.endswith("weight") else array
        for name, array in pivotal_tuning.weights_of(made.synthesis).items()
    }
    z = jnp.asarray(drawn("pti_z:0")).reshape(1, -1)
    _, found = jax.jit(pivotal_tuning.losses, static_argnums=2)(
        made, distance, tuning, scaled, pivot, target, z
    )
    near("D_locality_scaled", found.locality, floor=1e-5)
    done = tune(made, distance, pivotal_tuning.Tuning(enough=9), state, pivot, target)[0]
    for name, array in done.weights.items():  # close enough before the step: nothing moves
        np.testing.assert_array_equal(array, state.weights[name])
