"""DualStyleGAN: the recorded calls of the original, and what its parts do on small networks."""

import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert import dualstylegan as converter
from convert import psp as convert_psp
from convert import stylegan
from emojax.latents import stylization
from emojax.latents.stylization import Strength, Stylizer
from emojax.models import dualstylegan
from emojax.models.dualstylegan import DualStyleGAN, DualStyleGANConfig, StyleSampler
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator, GeneratorConfig, mix
from emojax.nn.pooling import area_mean
from emojax.store import weights
from tests.data import recipe
from tests.support import encoder_cases as cases
from tests.support import oracles, small_world
from tests.support.pictures import noise

CASE = "dualstylegan_ffhq1024"
ENCODER, TRANSFER, SAMPLER = (f"dualstylegan_{name}" for name in ("encoder", "transfer", "sampler"))
CALLS = {
    name: call
    for name, call in oracles.manifest(CASE)["config"]["calls"].items()
    if f"probe/{name}/shape" in oracles.golden(CASE)
}
whole = pytest.mark.skipif("EMOJAX_ORACLES" not in os.environ, reason="needs EMOJAX_ORACLES")
FEATURES = "after.6"
"""What return_feat returns: the features of 32²."""


def nchw(x):
    return np.asarray(x).transpose(0, 3, 1, 2)


@functools.cache
def published():
    config, table, _ = converter.convert(oracles.state_dict(CASE))
    return weights.load(weights.abstract(DualStyleGAN, config), table)


@functools.cache
def given():
    """The inputs of the calls, mapped where a call says so, and the lists of noise."""
    held = oracles.inputs(CASE)
    mapping = jax.jit(lambda network, z: network.mapping(z))
    named = {name: jnp.asarray(array) for name, array in held.items() if ":" not in name}
    for name in ("zp0", "zp1", "exz0", "exz1"):
        named[f"map({name})"] = mapping(published(), named[name])
    named["w0"] = mapping(published(), named["z0"])
    noises = [held[f"noise:{i}"].transpose(0, 2, 3, 1) for i in range(17)]
    return named, noises


def rows(array):
    """A code as [B,L,D]."""
    return (
        jnp.broadcast_to(jnp.atleast_2d(array)[..., None, :], (1, 18, 512))
        if (array.ndim < 3)
        else array
    )


def codes_of(call):
    """The intrinsic codes of a call in W+, truncated."""
    named, _ = given()
    found = []
    for text in call["styles"]:
        name, _, part = text.partition("[")
        name = "w0" if name == "z0" else f"map({name})" if call.get("z_plus_latent") else name
        found.append(rows(named[name])[: 1 if part else None])
    codes = mix(*found, call["inject_index"]) if len(found) > 1 else found[0]
    psi, centre = call.get("truncation", 1), call.get("truncation_latent", 0)
    centre = rows(named[centre]) if centre else jnp.zeros((1, 18, 512))
    return centre + np.float32(psi) * (codes - centre)


def weights_of(call):
    """The weights of a call, those behind its fuse_index 0."""
    found = np.float32(call.get("interp_weights", [1] * 18))
    return np.where(np.arange(18) <= call.get("fuse_index", 18), found, np.float32(0))


@jax.jit
def traced(network, codes, styles, share, noise):
    """Every layer's output, and the picture."""
    fused = network.fused(codes, styles, share)
    return dict(network.synthesis.trace(fused.w_plus, after=fused.after, noise=noise))


def theirs(name):
    """The original's name of a layer."""
    kind, _, number = name.partition(".")
    i = int(number)
    if kind == "after":
        return f"res.{i}"
    if kind == "skips":
        return "to_rgb1" if i == 0 else f"to_rgbs.{i - 1}"
    return "conv1" if i == 0 else f"convs.{i - 1}"


def check_probe(name, port):
    """Hold a layer against its probe, if it has one; return whether."""
    if f"probe/{name}/shape" not in oracles.golden(CASE):
        return False
    cases.check_probe(CASE, name, port)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_recorded_calls(name):
    network, (named, noises), call = published(), given(), CALLS[name]
    styles = rows(named[call["exstyles"]])
    noise = noises if call.get("noise") == "list" else "const"
    if noise == "const":
        layers = traced_with_stored_noise(network, codes_of(call), styles, weights_of(call))
    else:
        layers = traced(network, codes_of(call), styles, weights_of(call), noise)
    seen = [
        check_probe(f"{name}.{theirs(layer)}", nchw(x))
        for layer, x in layers.items()
        if not layer.startswith("to_rgbs")
    ]
    assert sum(seen) >= 13
    picture = layers["skips.8"]
    cases.check_picture(CASE, name, picture)
    structure = np.asarray(network.transform(styles)).reshape(-1, 512)
    count, _ = oracles.golden(CASE)[f"probe/{name}.style/shape"]  # 1 where all rows are equal
    assert check_probe(f"{name}.style", structure[:count])
    for i in (7, 17):
        check_probe(f"{name}.res.{i}", network.colours[i - 7](styles[:, i]))
    if f"probe/{name}.res.1.norm/shape" in oracles.golden(CASE):
        check_block(network, name, layers["convs.1"], network.transform(styles[:, 1]))
    if name == "default":
        cases.check(CASE, "exstyle", styles)
        cases.check_probe(CASE, "feat.out", nchw(layers[FEATURES]))
        cases.check(CASE, "feat_skip", nchw(layers["skips.3"]))


@jax.jit
def traced_with_stored_noise(network, codes, styles, share):
    fused = network.fused(codes, styles, share)
    return dict(network.synthesis.trace(fused.w_plus, after=fused.after))


def check_block(network, name, x, style):
    """Hold the steps of the second residual block against their probes."""
    block = network.blocks[1]
    normal = block.norm1(x, style)
    between = dualstylegan.leaky_relu(block.conv1(normal))
    again = block.norm2(between, style)
    last = dualstylegan.leaky_relu(block.conv2(again))
    steps = {"norm": normal, "conv": between, "norm2": again, "conv2": last}
    for step, found in steps.items():
        cases.check_probe(CASE, f"{name}.res.1.{step}", nchw(found))


@functools.cache
def encoder():
    manifest = oracles.manifest(ENCODER)
    state, mean = cases.part(manifest, "encoder."), cases.latent_avg(manifest)
    config, table, _ = convert_psp.convert(state, "gradual", 18, mean)
    return weights.load(weights.abstract(Encoder, config), table)


@whole
@pytest.mark.slow
def test_the_encoder_gives_codes_in_z_plus():
    manifest = oracles.manifest(ENCODER)
    pictures = noise("input", 2, 256, seed=41)
    codes = jax.jit(lambda network, x: network(x))(encoder(), pictures)
    cases.check(ENCODER, "codes", codes)
    mean = np.zeros((1, 512), np.float32)
    state = {"state_dict": cases.part(manifest, "decoder."), "latent_avg": mean}
    config, table, _, _ = stylegan.convert(stylegan.find(state, "the recorded case"))
    decoder = weights.load(weights.abstract(Generator, config), table)
    w_plus = jax.jit(lambda network, z: network.mapping(z))(decoder, codes)
    cases.check(ENCODER, "codes_w_plus", w_plus)
    drawn = jax.jit(lambda network, w: network.synthesis(w))(decoder, w_plus[:1])
    cases.check_picture(ENCODER, "image_rec_1024", drawn)
    cases.check_picture(ENCODER, "image_rec_256", area_mean(drawn, 256))


def exstyle():
    manifest = oracles.manifest(TRANSFER)
    rule, config = manifest["config"]["exstyle_rule"], manifest["config"]
    name = config["style_names"][config["style_id"]]
    entry = {**rule, "key": rule["key"].replace("NAME", name)}
    return recipe.draw(entry, manifest["seed"])


@pytest.mark.slow
def test_recorded_style_transfers():
    picture = noise("content", 1, 1024, seed=41)[0]
    networks = Stylizer(published(), encoder())
    content = stylization.content(networks, picture)[None]
    if "probe/content_256/shape" in oracles.golden(TRANSFER):
        cases.check_picture(TRANSFER, "content_256", content)
    codes = stylization.encode(networks, content, batch=1, devices=1)
    cases.check(TRANSFER, "instyle", codes)
    kept = {"transfer": {}, "preserve_color": {"keeps_colours": True}, "wplus_transfer": {}}
    for name, changes in kept.items():
        if f"{name}_1024/crops" not in oracles.golden(TRANSFER):
            continue
        used = dataclasses.replace(networks, space="w+") if name.startswith("wplus") else networks
        drawn = stylization.draw(used, codes, exstyle(), Strength(**changes), batch=1, devices=1)
        cases.check_picture(TRANSFER, f"{name}_1024", drawn.clip(-1, 1))
        wanted = oracles.golden(TRANSFER)[f"{name}_1024/uint8_center64"]
        levels = ((drawn[:, 480:544, 480:544].clip(-1, 1) + 1) * 127.5).astype(np.uint8)
        assert np.abs(levels.astype(int) - wanted).max() <= 1


@pytest.mark.slow
def test_the_recorded_sampler():
    golden, state = oracles.golden(SAMPLER), oracles.state_dict(SAMPLER)
    saved = {
        part: {
            name.removeprefix(f"{part}."): array
            for name, array in state.items()
            if name.startswith(f"{part}.")
        }
        for part in ("color", "structure")
    }
    config, table, left = converter.convert_sampler(saved)
    assert len(table) + len(left) == len(state)
    sampler = weights.load(weights.abstract(StyleSampler, config), table)
    held = oracles.inputs(SAMPLER)
    codes = jax.jit(lambda network, a, b: network(a, b))(
        sampler, held["e_structure"], held["e_color"]
    )
    wanted = np.concatenate([golden["eval_structure"], golden["eval_color"]], 1)
    assert oracles.rel_err(codes, wanted) <= cases.FLOOR


@whole
@pytest.mark.slow
def test_recorded_generation():
    """generate.py: styles by the statistics of the batch, a random intrinsic code."""
    manifest, golden = oracles.manifest(SAMPLER), oracles.golden(SAMPLER)
    held = oracles.inputs(SAMPLER)
    trained = np.concatenate([golden["train_structure"], golden["train_color"]], 1)
    network = published()
    mapping = jax.jit(lambda network, z: network.mapping(z))
    cases.check_probe(SAMPLER, "exstyle", np.asarray(mapping(network, jnp.float32(trained))))
    w_plus = rows(mapping(network, held["instyle"][:1])) * manifest["config"]["truncation"]
    drawn = traced_with_stored_noise(
        network,
        w_plus,
        mapping(network, jnp.float32(trained[:1])),
        np.float32(manifest["config"]["weight"]),
    )
    cases.check_picture(SAMPLER, "generate_1024", jnp.clip(drawn["skips.8"], -1, 1))


SMALL = DualStyleGANConfig(channels=(16, 16, 8), style_dim=16, z_dim=16, n_mlp=2, structure=3)


@pytest.fixture(scope="module")
def small():
    drawn = small_world.table(DualStyleGAN, SMALL, 31)
    return weights.load(weights.abstract(DualStyleGAN, SMALL), drawn)


def test_weights_say_how_much_of_a_style_a_face_takes(small):
    rng = np.random.default_rng(3)
    codes, styles = rng.standard_normal((2, 2, 6, 16), np.float32)
    draw = jax.jit(lambda network, share: network(codes, styles, share))
    plain = jax.jit(lambda network: network.synthesis(codes))(small)
    none, structure, colour, both = (
        np.asarray(draw(small, SMALL.weights(*pair))) for pair in ((0, 0), (1, 0), (0, 1), (1, 1))
    )
    np.testing.assert_array_equal(none, plain)  # bit for bit
    for one in (structure, colour):
        assert oracles.rel_err(one, plain) > 0.05
        assert oracles.rel_err(one, both) > 0.05
    assert SMALL.weights(0.75, 1).tolist() == [0.75] * 3 + [1] * 3


def test_instance_norm_and_its_twins(small):
    x = jnp.asarray(np.random.default_rng(5).standard_normal((2, 4, 4, 16), np.float32)) * 3 + 1
    style = jnp.ones((2, 16), jnp.float32)
    norm = small.blocks[0].norm1
    gamma, beta = np.split(
        np.asarray(style @ norm.weight[...] + norm.bias[...])[:, None, None], 2, -1
    )
    values = np.float64(x)
    for ddof, right in ((0, True), (1, False)):
        spread = values.std((1, 2), keepdims=True, ddof=ddof)
        wanted = gamma * (values - values.mean((1, 2), keepdims=True)) / spread + beta
        assert (oracles.rel_err(norm(x, style), wanted) < 2e-5) == right


def test_impossible_numbers_of_rows_are_refused():
    with pytest.raises(ValueError, match="structure is 6, wanted 1 to 5 rows"):
        dataclasses.replace(SMALL, structure=6)
    assert DualStyleGANConfig(GeneratorConfig.published(1024).channels).structure == 7
