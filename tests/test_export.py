"""`emojax export`: stages that run in a process which has jax and cannot import emojax."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import emojax
from emojax import export
from emojax.faces import images
from emojax.latents import arithmetic
from emojax.runtime.errors import UserError
from emojax.store import bundle, parts
from tests.support import score_world, small_world

ALONE = """
import sys
sys.modules["emojax"] = None  # importing it now raises ImportError
import jax, numpy as np
given = np.load("inputs.npz")
for stage, names in (("draw", ["codes"]), ("edit", ["photos", "k"])):
    program = jax.export.deserialize(open(stage + ".jaxexport", "rb").read())
    assert program.platforms == ("cpu", "cuda"), program.platforms
    np.save(stage + ".npy", program.call(*(given[name] for name in names)))
    np.save(stage + "1.npy", program.call(*(given[name][:1] for name in names)))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "small")


def test_stages_draw_the_same_without_emojax(place, tmp_path, capsys):
    for stage in ("draw", "edit"):
        out = tmp_path / f"{stage}.jaxexport"
        export.main(export.Options(stage, bundle=str(place), out=out))
    assert "takes float32 [N, 12, 32]" in capsys.readouterr().out
    pipe = emojax.load(place)
    side = pipe.inverter.resolution
    photos = np.random.default_rng(0).uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    encoder = pipe.inverter.encoder
    assert encoder is not None
    codes = np.asarray(jax.jit(lambda e, x: e(x))(encoder, photos))
    k = np.zeros((2, 8), np.float32)
    k[1, pipe.directions.index("happiness")] = 3
    np.savez(tmp_path / "inputs.npz", codes=codes, photos=photos, k=k)
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    generator = pipe.inverter.generator
    drawn = jax.jit(lambda g, w: g.synthesis(w))(generator, codes)
    moved = arithmetic.edit(codes, pipe.directions, {"happiness": [0.0, 3.0]})
    edited = jax.jit(lambda g, w: g.synthesis(w))(generator, moved)
    found = {name: np.load(tmp_path / f"{name}.npy") for name in ("draw", "draw1", "edit", "edit1")}
    close = {"rtol": 1e-4, "atol": 1e-4}  # float32 in another order of summation
    np.testing.assert_allclose(found["draw"], drawn, **close)
    np.testing.assert_allclose(found["draw1"], drawn[:1], **close)
    np.testing.assert_allclose(found["edit"], edited, **close)
    np.testing.assert_allclose(found["edit1"], found["edit"][:1], **close)
    assert np.abs(found["edit"][1] - drawn[1]).max() > 1e-3


def test_codes_and_probabilities_come_out(place, tmp_path, capsys):
    programs = {}
    for stage in ("classify", "encode"):
        out = tmp_path / f"{stage}.jaxexport"
        export.main(export.Options(stage, bundle=str(place), out=out))
        programs[stage] = jax.export.deserialize(bytearray(out.read_bytes()))
    assert "gives anger, contempt, disgust" in capsys.readouterr().out
    pipe = emojax.load(place)
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (2, pipe.size, pipe.size, 3), np.uint8)
    wanted = np.asarray(pipe.classify(pictures).probabilities)
    found = programs["classify"].call(images.to_float(pictures))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert np.ptp(wanted, axis=0).max() > 1e-3  # the two are told apart
    faces = rng.integers(0, 256, (2, small_world.SIDE, small_world.SIDE, 3), np.uint8)
    codes = pipe.encode(faces)
    found = programs["encode"].call(images.to_float(faces))
    np.testing.assert_allclose(found, codes, rtol=1e-4, atol=1e-4)


def test_a_bundle_without_the_part_names_the_command(place, tmp_path):
    folder = tmp_path / "lean"
    config = score_world.GENERATOR
    arrays = small_world.table(export.GENERATOR.network_class(), config, 0)
    bundle.save(folder, parts.GENERATOR, config, arrays, {})
    out = tmp_path / "new" / "a.jaxexport"
    with pytest.raises(UserError, match="emojax convert emotion FILE"):
        export.main(export.Options("classify", bundle=str(folder), out=out))
    with pytest.raises(UserError, match="is the folder"):
        export.main(export.Options("draw", bundle=str(folder), out=tmp_path))
    assert not out.parent.exists()
