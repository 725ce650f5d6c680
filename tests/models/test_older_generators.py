"""StyleGAN, ProgressiveGAN and DCGAN against the recorded originals, layer by layer.

Tolerance: three times the original's own float32 error, five times for the 64 values of a layer, at
least 2e-6 (oracles' README). The layers up to 32² of every network run always; whole pictures of
256² and 1024² are slow.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert import pggan as convert_pggan
from emojax.latents import arithmetic
from emojax.models import dcgan, stylegan1
from emojax.nn.layers import pixel_norm
from tests.support import older_generators, oracles
from tests.support.older_generators import CASES

FLOOR = 2e-6
LOW = 8
"""Layers up to 32²."""
CALLS = [(case, call) for case in CASES[:-1] for call in oracles.manifest(case)["calls"]]


@functools.lru_cache(maxsize=1)  # cases come in order, and a network takes 0.2 GB
def network(case: str) -> Any:
    return older_generators.build(case, oracles.state_dict(case))


def inputs(case: str) -> dict[str, jax.Array]:
    return {name: jnp.asarray(each) for name, each in oracles.inputs(case).items()}


def check_layer(case: str, call: str, layer: str, port: Any) -> None:
    """Hold a layer [B, H, W, C] or [B, D] against its values at 64 places."""
    golden, port = oracles.golden(case), np.asarray(port, np.float64)
    values = (port.transpose(0, 3, 1, 2) if port.ndim == 4 else port).reshape(-1)
    places = np.arange(64) * (values.size - 1) // 63
    allowed = max(5 * float(golden[f"torch_f32_rel_err/probe/{call}/{layer}"]), 3 * FLOOR)
    error = oracles.rel_err(values[places], golden[f"probe/{call}/{layer}/spread64"])
    assert error <= allowed, (case, call, layer, error, allowed)


def check_picture(case: str, call: str, port: Any) -> None:
    """Hold pictures [B, S, S, 3] against the means over blocks and the crops."""
    golden = oracles.golden(case)
    port = np.asarray(port, np.float64).transpose(0, 3, 1, 2)
    allowed = max(3 * float(golden[f"torch_f32_rel_err/{call}"]), FLOOR)
    batch, _, size, _ = port.shape
    means = port.reshape(batch, 3, 64, size // 64, 64, size // 64).mean((3, 5))
    area = golden[f"{call}/area64"]
    step = 64 // area.shape[-1]
    assert oracles.rel_err(means[: len(area), :, ::step, ::step], area) <= allowed
    for (y, x), crop in zip(golden[f"{call}/crop_yx"], golden[f"{call}/crops"], strict=True):
        found = port[: crop.shape[0], :, y : y + 24, x : x + 24]
        # a dark corner against the whole picture: torch's error was recorded over all of it
        least = np.sqrt(np.square(port).mean() * crop.size)
        size = max(np.linalg.norm(np.float64(crop)), least)
        assert np.linalg.norm(found - crop) / size <= allowed


def truncated(case: str, name: str) -> tuple[float, int | None]:
    """Return psi of a call, and the number of layers that it is applied to."""
    call = oracles.manifest(case)["calls"][name]
    if case == "stylegan1_interfacegan1024":  # truncates z and w by its settings
        return (0.7, 8) if call["space"] != "wplus" else (1.0, None)
    return call.get("psi", call.get("style_weight", 1.0)), call.get("layers")


def codes(case: str, call: str) -> tuple[list[jax.Array], jax.Array, Any]:
    """Return the mapping's layers, W+ and the noise of a call."""
    model, given = network(case), inputs(case)
    said = oracles.manifest(case)["calls"][call]
    noise: Any = [
        given[f"noise:{i}"].transpose(0, 2, 3, 1) for i in range(18) if f"noise:{i}" in given
    ]
    if case.startswith("pggan"):
        return [], model.w_plus(model.mapping(given[said["input"]])), None
    mean = given.get("avg_latent", given.get("mean_style"))
    if mean is not None:  # these files hold none
        model.latent_avg[...] = mean.reshape(-1)
    psi, cutoff = truncated(case, call)
    given_codes = [given[name] for name in said.get("z", [said.get("input")])]
    layers: list[jax.Array] = []
    if said.get("space", "z") == "z":
        traced = [jax.jit(lambda m, z: list(m.mapping.trace(z)))(model, z) for z in given_codes]
        layers, given_codes = traced[0], [each[-1] for each in traced]
    rows = [model.w_plus(w, truncation=psi, cutoff=cutoff) for w in given_codes]
    w_plus = rows[0]
    if "mixing_range" in said:  # counts blocks of two layers
        first, last = said["mixing_range"]
        part = slice(2 * first, 2 * last + 2)
        w_plus = w_plus.at[:, part].set(rows[1][:, part])
    return layers, w_plus, noise or "const"


def layer_name(case: str, index: int) -> str:
    """Return the recording's name of a layer."""
    if case.startswith("pggan"):
        return convert_pggan._layer(network(case).config.variant, index).removesuffix(".module")
    block, half = divmod(index, 2)
    return {
        "stylegan1_rosinality1024": f"progression.{block}.adain{half + 1}",
        "stylegan1_lernapparat1024": f"blocks.{4 * 2**block}x{4 * 2**block}.epi{half + 1}",
    }.get(case, f"synthesis.layer{index}")


def mapping_name(case: str, index: int) -> str:
    return {
        "stylegan1_rosinality1024": f"style.{2 * index + 2}",
        "stylegan1_lernapparat1024": "g_mapping.dense0_act" + (f"#{index}" if index else ""),
    }.get(case, f"mapping.dense{index}")


def drawn(case: str, call: str, layers: int) -> tuple[list[jax.Array], jax.Array]:
    """Return the first layers and the picture of a call, of one program."""
    _, w_plus, noise = codes(case, call)
    alpha = oracles.manifest(case)["calls"][call].get("alpha")

    @jax.jit
    def run(model, w_plus, noise):
        if case.startswith("pggan"):
            pairs, picture = model.synthesis.trace(w_plus), None
            found = [next(pairs)[model.config.equalises_bias is False] for _ in range(layers)]
            if layers > LOW:
                picture = model.synthesis(w_plus, alpha=alpha)
            return found, picture
        kept = "const" if noise is None else noise
        trace = model.synthesis.trace(w_plus, noise=kept)
        found = [next(trace) for _ in range(layers)]
        return found, model.synthesis(w_plus, noise=kept) if layers > LOW else None

    return run(network(case), w_plus, noise if isinstance(noise, list) else None)


@pytest.mark.parametrize("case", CASES[:-1])
def test_the_layers_up_to_32_pixels_are_the_originals(case):
    call = next(iter(oracles.manifest(case)["calls"]))
    mapped, _, _ = codes(case, call)
    for i, each in enumerate(mapped):
        check_layer(case, call, mapping_name(case, i), each)
    for i, each in enumerate(drawn(case, call, LOW)[0]):
        check_layer(case, call, layer_name(case, i), each)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "call"), CALLS)
def test_whole_pictures_are_the_originals(case, call):
    count = 2 * len(network(case).config.channels)
    layers, picture = drawn(case, call, count)
    for i, each in enumerate(layers):
        check_layer(case, call, layer_name(case, i), each)
    check_picture(case, call, picture)


def dcgan_codes() -> dict[str, jax.Array]:
    given = inputs("dcgan64")
    mean = arithmetic.analogy(given["za"], given["zb"], given["zc"])
    z = jnp.concatenate([mean[None], mean + given["jitter"]])
    return {"z": given["z"], "z_batch": given["z"], "arith": z}


@jax.jit
def dcgan_layers(model, z):
    return dict(model.synthesis.trace(z[:, None])), dict(
        model.synthesis.trace(z[:, None], batch_statistics=True)
    )


def test_dcgan_and_its_arithmetic_are_the_originals():
    case, golden = "dcgan64", oracles.golden("dcgan64")
    names = {"tanh": "main.13", "convs.4": "main.12"}
    for i in range(4):
        steps = enumerate(("convs", "norms", "relus"))
        names |= {f"{kind}.{i}": f"main.{3 * i + step}" for step, kind in steps}
    for call, z in dcgan_codes().items():
        stored, of_batch = dcgan_layers(network(case), z)
        found = of_batch if call == "z_batch" else stored
        for ours, theirs in names.items():
            check_layer(case, call, theirs, found[ours])
        truth = golden[call]
        step = 64 // truth.shape[-1]
        port = np.asarray(found["tanh"]).transpose(0, 3, 1, 2)[: len(truth), :, ::step, ::step]
        assert oracles.rel_err(port, truth) <= 3 * golden[f"torch_f32_rel_err/{call}"]


def test_batch_statistics_tell_as_the_original_updates_its_own():
    """The running statistics after one step: a tenth of the unbiased estimate."""
    golden, case = oracles.golden("dcgan64"), "dcgan64"
    model = network(case)
    found = dcgan.statistics(dcgan_layers(model, dcgan_codes()["z"])[1]["convs.0"])
    unbiased = found.var * found.values / (found.values - 1)
    stepped = 0.9 * model.synthesis.norms[0].var[...] + 0.1 * unbiased
    if "z_batch/running_var_1" in golden:  # whole recordings only
        assert oracles.rel_err(np.asarray(stepped), golden["z_batch/running_var_1"]) <= 1e-6
    assert found.values == 4 * 4 * 4


@pytest.mark.parametrize("case", CASES)
def test_a_window_is_that_part_of_the_picture(case):
    """In a small network of each layout; the layers of 128² have fused kernels."""
    resolutions = 6 if case == "stylegan1_interfacegan1024" else 4
    state = older_generators.small_state(case, resolutions=resolutions)
    model = older_generators.build(case, state)
    z = jax.random.normal(jax.random.key(0), (2, model.config.z_dim))
    picture = jax.jit(lambda m, z: m(z))(model, z)
    side = model.config.size
    assert picture.shape == (2, side, side, 3)
    assert np.isfinite(picture).all()
    part = jax.jit(lambda m, w: m.synthesis(w, window=(4, 20, 8, 16)))(
        model, model.w_plus(model.mapping(z))
    )
    np.testing.assert_allclose(part, picture[:, 4:20, 8:16], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["lernapparat", "rosinality"])
def test_another_variant_is_another_function(variant):
    """The same weights, taken for those of another layout, draw another picture."""
    case = "stylegan1_ffhq1024"
    model = older_generators.build(case, older_generators.small_state(case, resolutions=3))
    layer, x = model.synthesis.layers[2], jax.random.normal(jax.random.key(2), (1, 4, 4, 8))
    w, noise = jnp.ones((1, model.config.style_dim)), jnp.ones((1, 8, 8, 1))
    own = layer(x, w, noise)
    layer.arithmetic = stylegan1.ARITHMETIC[variant]
    assert oracles.rel_err(layer(x, w, noise), own) > 1e-6


def test_a_generator_without_a_mean_code_refuses_truncation():
    model = older_generators.build("dcgan64", older_generators.small_state("dcgan64"))
    with pytest.raises(ValueError, match="has no mean code"):
        model(jnp.ones((1, 100)), truncation=0.5)
    with pytest.raises(ValueError, match=r"resolution is 32, wanted one of \[64\]"):
        model(jnp.ones((1, 100)), resolution=32)
    w = model.mapping(jnp.ones((1, 100)))
    np.testing.assert_array_equal(w, 1)


def test_codes_of_progressive_gan_lie_on_a_sphere():
    case = "pggan_ganzoo256"
    model = older_generators.build(case, older_generators.small_state(case, resolutions=3))
    z = jax.random.normal(jax.random.key(1), (3, model.config.z_dim)) * 5
    w = model.mapping(z)
    np.testing.assert_allclose(jnp.square(w).mean(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(pixel_norm(w), w, rtol=1e-6)
    for fraction in (0.0, 1.0):
        drawn = model.synthesis(model.w_plus(w), alpha=fraction)
        coarse = drawn[:, ::2, ::2] - drawn[:, 1::2, 1::2]
        assert bool(np.abs(coarse).max() == 0) == (fraction == 1.0)
