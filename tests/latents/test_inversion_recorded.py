"""HyperStyle's recorded 5-pass inversion at 1024², and pSp's full forward: the published sizes."""

import jax
import numpy as np
import pytest

from convert import hyperstyle as convert_hyperstyle
from convert import psp as convert_psp
from convert import stylegan
from emojax.latents import inversion, refinement
from emojax.latents.codes import Inversion
from emojax.latents.inversion import Inverter
from emojax.models.hyperstyle import Hypernet
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator
from emojax.nn.pooling import area_mean
from emojax.store import weights
from tests.data import recipe
from tests.support import encoder_cases as cases
from tests.support import oracles
from tests.support.pictures import noise

CASE = "hyperstyle_ffhq"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def generator():
    state = cases.part(oracles.manifest(CASE), "decoder.")
    # the recorded mean latent has a row a layer, which no generator has; nothing here reads it
    mean = np.zeros((1, 512), np.float32)
    found = stylegan.find({"state_dict": state, "latent_avg": mean}, "the recorded case")
    config, table, _, _ = stylegan.convert(found)
    return weights.load(weights.abstract(Generator, config), table)


@pytest.fixture(scope="module")
def inverter(generator):
    manifest = oracles.manifest(CASE)
    config, table, _ = convert_hyperstyle.convert(
        cases.part(manifest, "hypernet."),
        manifest["config"]["opts"]["layers_to_tune"],
        generator.config.channels,
    )
    hypernet = weights.load(weights.abstract(Hypernet, config), table)
    del table
    file = oracles.case_folder(CASE) / "manifest_w_encoder.json"
    state = cases.part(recipe.load_manifest(file), "encoder.")
    config, table, _ = convert_psp.convert(state, "w", 18, cases.latent_avg(manifest))
    encoder = weights.load(weights.abstract(Encoder, config), table)
    return Inverter(generator, encoder, hypernet, method="hyperstyle")


def test_first_call_of_the_hypernetwork(inverter):
    golden, x = oracles.golden(CASE), noise("input", 2, 256)
    config = inverter.hypernet.config
    vectors = jax.jit(lambda net, x, y: net(x, y))(inverter.hypernet, x, noise("y_hat", 2, 256))
    for layer in (0, 12):
        index = config.layers.index(layer)
        cases.check_probe(CASE, f"hypernet.refinement_blocks.{layer}.linear", vectors[:, index])
    _check_deltas("delta", refinement.expand(inverter.hypernet, vectors, 1), config.layers)
    codes = inversion.encode(inverter.encoder, x)
    w_out = codes[:, 0] - inverter.encoder.latent_avg[...][0]
    assert oracles.rel_err(w_out, golden["w_out"]) < cases.allowed(CASE, "w_out")


def test_five_passes_and_an_edit(inverter):
    x = noise("input", 2, 256)[:1]
    codes, vectors, shown = refinement.refine(inverter, x, passes=5)
    cases.check(CASE, "codes", codes)
    names = ["initial_y_hat_256", *(f"iter{i}_image_256" for i in range(4))]
    for name, picture in zip(names, shown, strict=True):
        cases.check_picture(CASE, name, picture)
    face = Inversion(codes, {"vectors": vectors}, 5, "hyperstyle")
    # one device and picture at a time: the networks of the published size are large
    drawn = inversion.synthesize(inverter, face, devices=1)
    cases.check_picture(CASE, "image_1024", drawn)
    for name in ("y_hat_256", "iter4_image_256"):
        cases.check_picture(CASE, name, area_mean(drawn, 256))
    deltas = refinement.expand(inverter.hypernet, vectors, 5)
    _check_deltas("final_delta", deltas, inverter.hypernet.config.layers)
    norms = [0.0 if d is None else _norm(d) for d in deltas]
    np.testing.assert_allclose(norms, oracles.golden(CASE)["delta_norms"][-1], rtol=5e-6, atol=0)
    edits = face.with_codes(oracles.golden(CASE)["edit_latents"])
    cases.check_picture(CASE, "edit_images_1024", inversion.synthesize(inverter, edits, batch=1))


def test_without_passes_the_picture_is_another(generator, inverter):
    golden = oracles.golden(CASE)
    picture = inversion.draw(generator, golden["codes"], None)
    cases.check_picture(CASE, "image_no_deltas_256", area_mean(picture, 256))


def test_psp_forward(generator):
    """Both files carry the same decoder: a tensor is drawn by its name."""
    codes = oracles.golden("psp_ffhq")["codes"]
    picture = inversion.draw(generator, codes, None)
    cases.check_picture("psp_ffhq", "image_1024", picture)
    cases.check_picture("psp_ffhq", "image_256", area_mean(picture, 256))


def _check_deltas(name, deltas, layers):
    for layer in layers:
        delta = np.asarray(deltas[layer])
        whole = np.broadcast_to(delta, (len(delta), 3, 3, *delta.shape[-2:]))
        cases.check_probe(CASE, f"{name}.{layer}", whole.transpose(0, 4, 3, 1, 2))


def _norm(delta):
    delta = np.asarray(delta, np.float64)
    taps = 9 / np.prod(delta.shape[1:3])  # one value stands for nine
    return np.sqrt(taps * np.square(delta).sum())
