"""The synthesis of a GPU against the layers one by one; and windows.

Most tests run the kernels' references, which other devices take when the program is one for GPUs;
`tests/nn/test_epilogue.py` holds the kernels against them.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from emojax.models import fused_synthesis
from emojax.models.generator import draw_noise
from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.nn import epilogue, pallas, window

CONFIG = GeneratorConfig(channels=(8, 8, 4), style_dim=8, z_dim=8, n_mlp=1, bfloat16_from=8)


@pytest.fixture(scope="module")
def generator():
    made = Generator(CONFIG, rngs=nnx.Rngs(0))
    for conv in made.synthesis.convs:
        conv.noise_strength[...] = jnp.float32(0.3)
        conv.bias[...] = 0.2 * jax.random.normal(jax.random.key(1), conv.bias[...].shape)
    return made


def codes(batch=2):
    return jax.random.normal(jax.random.key(2), (batch, CONFIG.n_latent, CONFIG.style_dim))


def exact(generator):
    """The same weights in float32, whose layers run one by one."""
    graph, state = nnx.split(generator)
    made = nnx.merge(graph, state)
    made.synthesis.config = dataclasses.replace(CONFIG, bfloat16_from=None)
    return made


def drawn(generator, **options):
    """Pictures by one program: operations compiled one by one take longer."""
    return jax.jit(lambda made, w: made.synthesis(w, **options))(generator, codes())


def both(generator, monkeypatch, **options):
    wanted = drawn(exact(generator), **options)
    if pallas.mode() == "off":
        monkeypatch.setattr(pallas, "mode", lambda: "cuda")
    found = drawn(generator, **options)
    assert found.shape == wanted.shape
    return found, wanted


def close(found, wanted):
    """bfloat16's rounding: 1 % of the picture's spread in the mean, as without the kernels."""
    assert float(jnp.abs(found - wanted).mean()) < 0.01 * float(wanted.std())


def deltas(batch):
    """One change a layer: for all taps together and for each, as the hypernetwork gives them."""
    made, channels = [None] * CONFIG.n_deltas, CONFIG.channels
    for at in (0, 2, 3, 5, 6):
        block = max(at - 2, 0) // 3
        width = channels[min(block + 1, 2)] if at else channels[0]
        inputs = channels[block] if at % 3 == 2 else width
        taps = 3 if at < 5 else 1
        shape = (batch, taps, taps, inputs, width)[0 if batch else 1 :]
        made[at] = 0.2 * jax.random.normal(jax.random.key(at), shape)
    return made


@pytest.mark.parametrize("noise", ["const", "none", "random"])
def test_pictures_are_the_layers(generator, monkeypatch, noise):
    if noise == "random":
        noise = draw_noise(CONFIG, jax.random.split(jax.random.key(3), 2))
    close(*both(generator, monkeypatch, noise=noise))


def test_the_interpreted_kernels_draw_it_too(generator, monkeypatch):
    monkeypatch.setenv(pallas.SWITCH, "interpret")
    monkeypatch.setattr(epilogue, "ROWS", 1)  # the interpreter compiles every one
    monkeypatch.setattr(fused_synthesis, "SINGLE", 16)
    close(*both(generator, monkeypatch, deltas=deltas(2), window=(5, 15, 0, 13)))


@pytest.mark.parametrize("single", [8, 16, 128])
def test_kernels_of_their_own(generator, monkeypatch, single):
    monkeypatch.setattr(fused_synthesis, "SINGLE", single)
    close(*both(generator, monkeypatch, deltas=deltas(2)))


def test_kernels_for_all(generator, monkeypatch):
    close(*both(generator, monkeypatch, deltas=deltas(0)))


def test_windows_and_resolutions(generator, monkeypatch):
    close(*both(generator, monkeypatch, window=(5, 15, 0, 13)))
    close(*both(generator, monkeypatch, resolution=8))


@pytest.mark.parametrize("box", [(0, 16, 0, 16), (5, 15, 0, 13), (7, 8, 0, 3)])
def test_a_window_is_a_part_of_the_picture(generator, box):
    whole = drawn(exact(generator))
    part = drawn(exact(generator), window=box)
    wanted = whole[:, box[0] : box[1], box[2] : box[3]]
    np.testing.assert_allclose(part, wanted, rtol=1e-5, atol=1e-5)


def test_boxes_of_a_face():
    boxes = window.held(1024, (140, 892, 128, 880))
    assert boxes[512] == (68, 448, 60, 444)
    assert boxes[64] == (4, 60, 4, 60)
    assert boxes[32] == (0, 32, 0, 32)


def test_gradients_pass(generator, monkeypatch):
    def total(synthesis, w):
        return jnp.square(synthesis(w)).mean()

    wanted = jax.jit(jax.grad(total, 1))(exact(generator).synthesis, codes())
    monkeypatch.setattr(pallas, "mode", lambda: "cuda")
    found = jax.jit(jax.grad(total, 1))(generator.synthesis, codes())
    assert float(jnp.linalg.norm(found - wanted) / jnp.linalg.norm(wanted)) < 0.05


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
def test_what_a_gpu_runs_is_lowered_here(generator, monkeypatch):
    """Kernels, shards and samples one by one become a program for CUDA, without a GPU."""
    from emojax.runtime import devices

    monkeypatch.setattr(pallas, "mode", lambda: "cuda")
    monkeypatch.setattr(fused_synthesis, "SINGLE", 16)
    program = devices.over_samples(
        lambda made, w, changes: made.synthesis(w, deltas=changes),
        devices.local_mesh(2),
        split=(False, True, True),
    )
    traced = program.trace(generator, codes(), deltas(2))
    try:
        lowered = traced.lower(lowering_platforms=("cuda",))
    except RuntimeError as error:  # jax 0.11 asks a GPU what it is
        pytest.skip(str(error))
    assert "__gpu$xla.gpu.triton" in lowered.as_text()
