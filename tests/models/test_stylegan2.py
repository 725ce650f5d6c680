"""The generator against the recorded originals, layer by layer, and how it behaves under jax.

Tolerance: twice the original's own float32 error of that output, at least 2e-6 (oracles' README).
A layer's recorded error covers its whole tensor, a probe holds 128 of its values a sample.
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert import stylegan
from emojax.models.generator import draw_noise, mean_latent
from emojax.models.stylegan2 import Generator, GeneratorConfig, mix
from emojax.runtime import devices
from emojax.store import weights
from tests.support import oracles

FLOOR = 2e-6
ROSINALITY = ["stylegan2_ffhq1024", "stylegan2_256_cm1", "stylegan2_deltas"]
NVLABS = ["nvlabs_256", "nvlabs_256_cb32768", "nvlabs_tiny"]
SLOW = ("stylegan2_ffhq1024", "stylegan2_256_cm1", "stylegan2_deltas", "nvlabs_256_cb32768")
QUICK = {
    ("stylegan2_256_cm1", "z_trunc1"),
    ("stylegan2_deltas", "unbatched"),
    ("nvlabs_256_cb32768", "const_psi07_cutoff8"),
}
CALLS = [
    pytest.param(
        *(case, call),
        marks=[pytest.mark.slow] if case in SLOW and (case, call) not in QUICK else [],
    )
    for case in ROSINALITY + NVLABS
    for call in oracles.manifest(case)["calls"]
]


def build(case: str) -> Generator:
    """Return a case's generator, through the converter."""
    layout = "rosinality" if case in ROSINALITY else "nvlabs"
    tensors = oracles.state_dict(case)
    kwargs = oracles.manifest(case)["config"].get("synthesis_kwargs", {})
    mean = np.zeros(oracles.manifest(case)["config"].get("style_dim", 0), np.float32)
    found = stylegan.Found(
        layout, case, tensors, mean if layout == "rosinality" else None, kwargs.get("conv_clamp")
    )
    config, table, _, _ = stylegan.convert(found)
    return weights.load(weights.abstract(Generator, config), table)


@pytest.fixture(scope="module")
def generator_of():
    """Keep one generator at a time: cases come in order."""
    kept = {}

    def get(case: str) -> Generator:
        if case not in kept:
            kept.clear()
            kept[case] = build(case)
        return kept[case]

    return get


def noise_of(case: str, call: dict):
    """Return a call's noise argument."""
    if call.get("noise") == "list":
        drawn = oracles.inputs(case)
        return [
            jnp.asarray(drawn[f"noise:{i}"].transpose(0, 2, 3, 1))
            for i in range(sum(key.startswith("noise:") for key in drawn))
        ]
    return {"buffers": "const", None: call.get("noise_mode")}[call.get("noise")]


def deltas_of(case: str, call: dict):
    """Return a call's deltas as HWIO arrays."""
    if "deltas" not in call:
        return None
    drawn = oracles.inputs(case)
    sample = call.get("unbatched_sample")
    deltas = [None] * oracles.manifest(case)["config"]["n_deltas"]
    for i in call["deltas"]:
        delta = drawn[f"delta:{i}"]
        delta = delta if sample is None else delta[sample]
        deltas[i] = jnp.asarray(np.moveaxis(delta, (-2, -1, -3, -4), (-4, -3, -2, -1)))
    return deltas


def w_plus_of(generator: Generator, call: dict, golden: dict) -> tuple[dict, jax.Array]:
    """Return a call's mapping outputs by probe name, and its W+ codes."""
    psi = call.get("truncation", call.get("truncation_psi", 1))
    if "truncation_latent" in call:
        mean = jnp.asarray(golden[f"in.{call['truncation_latent']}"][0])
        generator.latent_avg = generator.latent_avg.replace(mean)
    names = call.get("styles") or [call.get("z") or call["ws"]]
    given = [jnp.asarray(golden[f"in.{name}"]) for name in names]
    if call.get("input_is_latent") or "ws" in call:
        return {}, generator.w_plus(given[0], truncation=psi)
    ws = [map_z(generator, z) for z in given]
    cutoff = call.get("truncation_cutoff")
    codes = [generator.w_plus(w, truncation=psi, cutoff=cutoff) for w in ws]
    mapped = {"style": ws[0], "style#1": ws[-1], "mapping": codes[0]}
    return mapped, codes[0] if len(codes) == 1 else mix(*codes, call["inject_index"])


@jax.jit
def map_z(model, z):
    """Return w."""
    return model.mapping(z)


def probe_name(name: str, nvlabs: bool) -> str:
    """Translate our layer's name to the recording's."""
    kind, i = name.split(".")
    i = int(i)
    if nvlabs:
        size = 4 * 2 ** ((i + 1) // 2 if kind == "convs" else i)
        part = {"convs": f"conv{1 if i % 2 == 0 else 0}", "to_rgbs": "torgb", "skips": "img"}[kind]
        return f"b{size}.{part}"
    if kind == "to_rgbs":
        return ""
    if i == 0:
        return {"convs": "conv1", "skips": "to_rgb1"}[kind]
    return f"{kind.replace('skips', 'to_rgbs')}.{i - 1}"


def probed(x: jax.Array) -> jax.Array:
    """Return what the recordings keep of [B, H, W, C] or of codes: 2 x 64 values in CHW order."""
    if x.ndim < 4:
        x = x.reshape(x.shape[0], 1, 1, -1)
    _, height, width, channels = x.shape
    size = height * width * channels
    flat = np.stack([np.arange(64) % size, np.arange(64) * 1000003 % size])
    channel, y, column = np.unravel_index(flat, (channels, height, width))
    return x[:, y, column, channel].swapaxes(0, 1)


def seen(model, w_plus, deltas, noise):
    """Return every layer's probes and the picture."""
    layers = dict(model.synthesis.trace(w_plus, noise=noise, deltas=deltas))
    picture = layers[f"skips.{len(model.config.channels) - 1}"]
    return {name: probed(x) for name, x in layers.items()}, picture


draw_named = jax.jit(seen, static_argnames="noise")
draw_given = jax.jit(seen)


@pytest.mark.parametrize(("case", "name"), CALLS)
def test_recorded_call(generator_of, case, name):
    generator, golden = generator_of(case), oracles.golden(case)
    call = oracles.manifest(case)["calls"][name]
    if "conv_clamp" in call:
        clamped = dataclasses.replace(generator.config, conv_clamp=call["conv_clamp"])
        generator = weights.load(weights.abstract(Generator, clamped), weights.flatten(generator))
    mapped, w_plus = w_plus_of(generator, call, golden)
    noise, deltas = noise_of(case, call), deltas_of(case, call)

    drawing = draw_named if isinstance(noise, str) else draw_given
    layers, picture = drawing(generator, w_plus, deltas, noise=noise)
    probes = {name: probed(x) for name, x in mapped.items()}
    probes |= {probe_name(key, case in NVLABS): values for key, values in layers.items()}
    for i, probe in enumerate(golden[f"{name}.probe_names"]):
        truth = [golden[f"{name}.probe_head"][i], golden[f"{name}.probe_spread"][i]]
        error = oracles.rel_err(probes[str(probe)], np.stack(truth))
        assert error <= max(2 * golden[f"{name}.probe_rel_err"][i], FLOOR), probe

    picture = np.asarray(picture).transpose(0, 3, 1, 2)
    for kind, port in pictures(picture, golden, name).items():
        error = oracles.rel_err(port, golden[f"{name}.{kind}"])
        assert error <= max(2 * golden[f"{name}.{kind}.torch_f32_rel_err"], FLOOR), kind


def pictures(picture: np.ndarray, golden: dict, name: str) -> dict[str, np.ndarray]:
    """Cut a picture as the recording is cut."""
    if f"{name}.image" in golden:
        return {"image": picture}
    block = picture.shape[-1] // 64
    area = picture[: len(golden[f"{name}.area64"])]
    area = area.reshape(*area.shape[:2], 64, block, 64, block).astype(np.float64).mean((3, 5))
    crops = [picture[b, :, y : y + 48, x : x + 48] for b, y, x in golden[f"{name}.crop_pos"]]
    return {"area64": area, "crops": np.stack(crops)}


def small(**changes) -> Generator:
    """Return a random 32² generator."""
    config = GeneratorConfig(channels=(16, 16, 12, 8), style_dim=24, z_dim=20, **changes)
    model = weights.abstract(Generator, config)
    rng = np.random.default_rng(0)
    table = {
        name: rng.standard_normal(leaf.shape).astype(np.float32) * (100 if "mapping" in name else 1)
        for name, leaf in weights.flatten(model).items()
    }
    return weights.load(model, table)


@functools.partial(jax.jit, static_argnames=("noise", "resolution"))
def draw_codes(model, w_plus, noise="const", resolution=None):
    """Return the picture of W+ codes under a named noise."""
    return model.synthesis(w_plus, noise=noise, resolution=resolution)


@jax.jit
def draw(model, z):
    """Return the picture of z."""
    return model(z)


def test_wrong_weights_show():
    """The comparison can fail: one kernel flipped in space is off by far more than allowed."""
    generator, case = build("nvlabs_tiny"), oracles.golden("nvlabs_tiny")
    table = dict(weights.flatten(generator))
    key = "synthesis.convs.1.weight"
    table[key] = table[key][::-1]
    flipped = weights.load(weights.abstract(Generator, generator.config), table)
    picture = draw_codes(flipped, jnp.asarray(case["in.ws"]))
    error = oracles.rel_err(np.asarray(picture).transpose(0, 3, 1, 2), case["ws_const.image"])
    assert error > 0.01


def test_bfloat16_is_close():
    """Mean absolute difference under 1/255 of the range; full sizes: benchmarks/README."""
    generator = build("nvlabs_tiny")
    half = dataclasses.replace(generator.config, bfloat16_from=8)
    same = weights.load(weights.abstract(Generator, half), weights.flatten(generator))
    z = jnp.asarray(oracles.golden("nvlabs_tiny")["in.z0"])
    exact, port = draw(generator, z), draw(same, z)
    span = float(exact.max() - exact.min())
    error = float(jnp.abs(exact - port).mean()) / span
    assert port.dtype == jnp.float32
    assert 0 < error < 1 / 255


def test_intermediate_resolution_is_the_skip_picture():
    generator = small()
    w_plus = generator.w_plus(jnp.ones((2, 24)))
    layers = jax.jit(lambda model, w_plus: dict(model.synthesis.trace(w_plus)))(generator, w_plus)
    for i, size in enumerate((4, 8, 16, 32)):
        picture = draw_codes(generator, w_plus, resolution=size)
        assert picture.shape == (2, size, size, 3)
        np.testing.assert_allclose(picture, layers[f"skips.{i}"], rtol=1e-5, atol=1e-4)


def test_truncation_and_cutoff():
    generator = small()
    w = jax.random.normal(jax.random.key(1), (3, 24))
    mean = generator.latent_avg[...]
    np.testing.assert_array_equal(generator.w_plus(w, truncation=1.0)[:, 5], w)
    cut = generator.w_plus(w, truncation=0.0, cutoff=3)
    np.testing.assert_allclose(cut[:, :3], jnp.broadcast_to(mean, (3, 3, 24)), rtol=1e-6)
    np.testing.assert_array_equal(cut[:, 3], w)


def test_random_noise_of_a_sample_does_not_depend_on_its_batch():
    config = small().config
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(3), i))(jnp.arange(5))
    whole, alone = draw_noise(config, keys), draw_noise(config, keys[3:4])
    for a, b in zip(whole, alone, strict=True):
        np.testing.assert_array_equal(a[3:4], b)
    assert [a.shape for a in whole] == [(5, r, r, 1) for r in config.noise_sizes]


def test_noise_changes_the_picture():
    generator = small()
    w_plus = generator.w_plus(jnp.ones((1, 24)))
    drawn = draw_noise(generator.config, jax.random.split(jax.random.key(0), 1))
    given = jax.jit(lambda model, w_plus, noise: model.synthesis(w_plus, noise=noise))
    pictures = [draw_codes(generator, w_plus, noise=noise) for noise in ("const", "none")]
    pictures.append(given(generator, w_plus, drawn))
    for a, b in itertools.combinations(pictures, 2):
        assert float(jnp.abs(a - b).mean()) > 1e-2


def test_vmap_grad_and_shard_map_agree_with_a_batch():
    generator = small()
    z = jax.random.normal(jax.random.key(2), (4, 20))
    batch = draw(generator, z)
    one_by_one = jax.vmap(lambda model, z: model(z[None])[0], in_axes=(None, 0))
    single = jax.jit(one_by_one)(generator, z)
    np.testing.assert_allclose(single, batch, rtol=1e-5, atol=1e-5 * float(jnp.abs(batch).max()))

    mesh = devices.local_mesh()
    assert mesh.size == 4
    split = devices.over_samples(draw, mesh, split=(False, True))(generator, z)
    np.testing.assert_allclose(split, batch, rtol=1e-5, atol=1e-5 * float(jnp.abs(batch).max()))

    @jax.jit
    def loss(z, model):
        return jnp.square(model(z[None])).mean()

    gradient = jax.jit(jax.grad(loss))(z[0], generator)
    step = 1e-2 * gradient / jnp.linalg.norm(gradient)
    slope = (loss(z[0] + step, generator) - loss(z[0] - step, generator)) / 2e-2
    np.testing.assert_allclose(slope, jnp.linalg.norm(gradient), rtol=2e-2)


def test_mean_latent_is_the_mean_of_mapped_samples():
    generator = small()
    mean = mean_latent(generator, jax.random.key(0), samples=20_000)
    w = generator.mapping(jax.random.normal(jax.random.key(9), (20_000, 20)))
    spread = np.asarray(w.std(0)) / np.sqrt(20_000)
    assert np.abs(np.asarray(mean - w.mean(0)) / spread).max() < 6  # two means of 20,000 each


def test_published_shapes_cost_nothing():
    model = weights.abstract(Generator, GeneratorConfig.published(1024))
    picture = jax.eval_shape(lambda m, z: m(z), model, jax.ShapeDtypeStruct((2, 512), jnp.float32))
    assert picture.shape == (2, 1024, 1024, 3)
    assert (model.config.n_latent, model.config.n_deltas) == (18, 26)
    assert GeneratorConfig.published(256).n_deltas == 20


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"w_plus": jnp.zeros((1, 7, 24))}, r"w_plus is \[1, 7, 24\], wanted \[batch, 8, 24\]"),
        ({"noise": "some"}, "noise is 'some', wanted 'const', 'none' or a list"),
        ({"noise": []}, "noise has 0 entries, wanted 7"),
        ({"deltas": [None]}, "deltas has 1 entries, wanted 11"),
        ({"resolution": 20}, r"resolution is 20, wanted one of \[4, 8, 16, 32\]"),
    ],
)
def test_wrong_arguments_are_named(change, sentence):
    arguments = {"w_plus": jnp.zeros((1, 8, 24))} | change
    with pytest.raises(ValueError, match=sentence):
        small().synthesis(**arguments)
