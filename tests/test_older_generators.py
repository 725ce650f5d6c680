"""Sampling, scoring, directions and edits with generators other than StyleGAN2."""

import json

import numpy as np
import pytest
from PIL import Image

import emojax
from emojax import directions, edit, sample, score
from emojax.models.dcgan import DCGAN, DCGANConfig
from emojax.models.pggan import ProgressiveGAN, ProgressiveGANConfig
from emojax.models.stylegan1 import StyleGAN1, StyleGAN1Config
from emojax.runtime.errors import UserError
from emojax.runtime.flags import PipelineFlags
from emojax.store import bundle, parts
from tests.support import score_world
from tests.support.small_world import table

WIDTHS = (8, 8, 8)
NETWORKS = {
    "stylegan1": (
        parts.STYLEGAN1,
        StyleGAN1,
        StyleGAN1Config(WIDTHS, style_dim=16, z_dim=16, n_mlp=2),
    ),
    "pggan": (parts.PGGAN, ProgressiveGAN, ProgressiveGANConfig(WIDTHS, z_dim=16)),
    "dcgan": (parts.DCGAN, DCGAN, DCGANConfig((8, 8), z_dim=16)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def world(request, tmp_path_factory):
    """A bundle of a small generator and a classifier, scored, with directions."""
    folder = tmp_path_factory.mktemp("checkpoints") / request.param
    part, network, config = NETWORKS[request.param]
    arrays = table(network, config, 0)
    if request.param == "dcgan":  # variances
        arrays = {name: np.abs(each) if ".var" in name else each for name, each in arrays.items()}
    bundle.save(folder, part, config, arrays, {})
    bundle.save(folder, parts.EMOTION, score_world.EMOTION, score_world.emotion_table(), {})
    scores = str(folder / "scores")
    score.main(score.Options(bundle=str(folder), samples=256, out=scores, chunk=128))
    ranges = request.param == "dcgan"  # a minute for each
    options = directions.Options(scores, str(folder), range=ranges, replace=True, plots=False)
    directions.main(options)
    return folder


def test_pictures_are_the_same_by_command_and_in_python(world, tmp_path, capsys):
    sample.main(sample.Options(bundle=str(world), seeds="3,5", out=tmp_path / "faces"))
    pipe = emojax.load(world)
    assert pipe.settings.inverter == "none"
    faces = pipe.sample([3, 5])
    drawn = np.asarray(Image.open(tmp_path / "faces" / "seed5.png"))
    assert np.abs(faces.pictures[1].astype(int) - drawn).max() <= 1
    assert drawn.std() > 1
    np.testing.assert_allclose(faces.probabilities.sum(1), 1, rtol=1e-5)
    moved = pipe.edit(faces[0], {"happiness": [0.0, 4.0]})
    assert np.abs(moved.pictures[0].astype(int) - faces.pictures[0]).max() <= 1
    assert (moved.pictures[1] != moved.pictures[0]).any()
    with pytest.raises(UserError, match="opened without an inverter: take faces of sample"):
        pipe.invert(np.zeros((16, 16, 3), np.uint8))


def test_a_truncation_is_kept_or_refused(world, tmp_path):
    pipe = emojax.load(world)
    truncates = pipe.inverter.generator.config.truncates
    assert truncates is (world.name == "stylegan1")
    if truncates:
        mean = pipe.sample(1, truncation=0.0).w_plus
        np.testing.assert_allclose(mean[0, 0], pipe.inverter.generator.latent_avg[...], atol=1e-6)
        return
    pipe.sample(1, truncation=1.0)
    with pytest.raises(UserError, match=r"truncation 0.5 is asked for, but this generator has no"):
        pipe.sample(1, truncation=0.5)
    for changes in ({"truncation": 0.7}, {"cutoff": 1}):
        with pytest.raises(UserError, match="has no mean face"):
            sample.main(sample.Options(bundle=str(world), out=tmp_path / "a.png", **changes))
    with pytest.raises(UserError, match="takes no noise"):
        sample.main(sample.Options(bundle=str(world), out=tmp_path / "a.png", noise="random"))
    assert not (tmp_path / "a.png").exists()


def test_a_generated_face_is_edited_by_command(world, tmp_path, capsys):
    common = PipelineFlags(bundle=str(world))
    options = edit.Options(seed=7, k="0..4", steps=2, out=tmp_path / "out", common=common)
    edit.main(options)
    report = json.loads((tmp_path / "out" / "edit.json").read_text())
    assert report["seed"] == 7
    assert report["inverter"] == "none"
    assert (tmp_path / "out" / "sheet.png").is_file()
    with pytest.raises(UserError, match="neither a photograph nor --paste"):
        edit.main(edit.Options(seed=7, paste=True, common=common))
    with pytest.raises(UserError, match="it is made for a StyleGAN2 generator, and this bundle"):
        edit.main(edit.Options(common=common, out=tmp_path / "none"))
    capsys.readouterr()


def test_sizes_that_the_generator_does_not_draw_are_refused(world, tmp_path):
    options = score.Options(bundle=str(world), resolution=8, out=str(tmp_path / "scores"))
    with pytest.raises(UserError, match=r"--resolution is 8, this generator draws \[16\]"):
        score.main(options)
