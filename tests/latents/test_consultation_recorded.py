"""HFGI's recorded inversion and edits at 1024², stage by stage: the published sizes."""

import jax
import numpy as np
import pytest

from convert import hfgi as convert_hfgi
from convert import psp as convert_psp
from convert import stylegan
from emojax.latents import consultation, inversion
from emojax.latents.inversion import Inverter
from emojax.models.hfgi import HFGI
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator
from emojax.nn.pooling import centre_mean
from emojax.store import weights
from tests.support import encoder_cases as cases
from tests.support import oracles
from tests.support.pictures import noise

CASE = "hfgi_ffhq"

pytestmark = pytest.mark.slow


def nchw(x):
    return np.asarray(x).transpose(0, 3, 1, 2)


@pytest.fixture(scope="module")
def inverter():
    manifest = oracles.manifest(CASE)
    state = cases.part(manifest, "decoder.")
    mean = np.zeros((1, 512), np.float32)  # of the generator; nothing here reads it
    found = stylegan.find({"state_dict": state, "latent_avg": mean}, "the recorded case")
    config, table, _, _ = stylegan.convert(found)
    generator = weights.load(weights.abstract(Generator, config), table)
    state = cases.part(manifest, "encoder.")
    config, table, _ = convert_psp.convert(state, "e4e", 18, cases.latent_avg(manifest))
    encoder = weights.load(weights.abstract(Encoder, config), table)
    state = cases.part(manifest, "residue.") | cases.part(manifest, "grid_align.")
    config, table, left = convert_hfgi.convert(state, generator.config)
    assert set(left.values()) == {"counts training steps"}
    assert len(table) + len(left) == len(state)
    consultant = weights.load(weights.abstract(HFGI, config), table)
    return Inverter(generator, encoder, consultant=consultant, method="hfgi")


@jax.jit
def stages(network, distortion, shown):
    """Everything the case recorded of the aligner and the consultation encoder."""
    aligner, consultation_encoder = network.aligner, network.consultation
    found = dict(aligner.trace(distortion, shown))
    aligned = found["dconv_layer3"]
    scale, shift = consultation_encoder(aligned)
    return found, aligned, scale, shift


@jax.jit
def fused(inverter, codes, distortion, shown):
    """The layers of the generator around the fusion."""
    after = inverter.consultant(distortion, shown)
    kept = ("convs.0", "convs.6", "convs.7", "after.7", "convs.8", "to_rgbs.4")
    trace = inverter.generator.synthesis.trace(codes, after=after, resolution=64)
    return {name: x for name, x in trace if name in kept}


def test_the_inversion_and_its_stages(inverter):
    face = inversion.invert(inverter, noise("input", 2, 256, seed=41), batch=1, devices=1)
    cases.check(CASE, "codes", face.w_plus)
    distortion = face.changes["distortion"]
    cases.check_picture(CASE, "distortion_256", distortion)
    shown = jax.jit(consultation.shown)(inverter, face.w_plus)
    cases.check_picture(CASE, "low_256", shown)
    found, aligned, scale, shift = stages(inverter.consultant, distortion, shown)
    for name, x in found.items():
        if f"probe/grid_align.{name}/stats" in oracles.golden(CASE):
            cases.check_probe(CASE, f"grid_align.{name}", nchw(x))
    cases.check_picture(CASE, "aligned_256", aligned)
    cases.check_probe(CASE, "scale", nchw(scale))
    cases.check_probe(CASE, "shift", nchw(shift))
    layers = fused(inverter, face.w_plus, distortion, shown)
    names = {"convs.0": "conv1", "convs.6": "convs.5", "convs.7": "convs.6", "after.7": "fused"}
    names |= {"convs.8": "convs.7"}
    for ours, theirs in names.items():
        cases.check_probe(CASE, f"decoder.{theirs}", nchw(layers[ours]))
    drawn = inversion.synthesize(inverter, face, batch=1, devices=1)
    cases.check_picture(CASE, "inversion_1024", drawn)
    cases.check_picture(CASE, "inversion_256", centre_mean(drawn, 256))
    _check_edits(inverter, face)


def _check_edits(inverter, face):
    """Edits align the map of the original inversion to the edited picture."""
    golden = oracles.golden(CASE)
    for number, name in enumerate(("edit", "ganspace")):
        edited = face[number].with_codes(golden[f"{name}_latents"])
        shown = jax.jit(consultation.shown)(inverter, edited.w_plus)
        cases.check_picture(CASE, f"{name}_low_256", shown)
        _, aligned, scale, shift = stages(inverter.consultant, edited.changes["distortion"], shown)
        cases.check_picture(CASE, f"{name}_aligned_256", aligned)
        cases.check_probe(CASE, f"{name}.scale", nchw(scale))
        cases.check_probe(CASE, f"{name}.shift", nchw(shift))
        drawn = inversion.synthesize(inverter, edited, batch=1, devices=1)
        cases.check_picture(CASE, f"{name}_1024", drawn)
