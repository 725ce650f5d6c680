"""Published directions: every shape and file kind, the sign by the classifier, clear sentences."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert import calibration
from convert import directions as convert
from emojax import score
from emojax.latents import directions, fit_directions
from emojax.latents.directions import Directions
from emojax.latents.fit_config import FitConfig
from emojax.runtime.errors import UserError
from emojax.scoring.sampling import draw_z
from emojax.store import bundle
from emojax.store.parts import GENERATOR
from emojax.store.score_table import ScoreTable
from tests.support import oracles, score_world

DATA = oracles.DATA / "directions"
WIDTH, LAYERS = 16, 6  # of tests/score_world.py
BASE = np.sin(np.arange(WIDTH, dtype=np.float32))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return score_world.write(tmp_path_factory.mktemp("checkpoints") / "tiny")


def run(world, *files, **changes):
    given = {"name": str(world), "calibrate": 0, **changes}
    convert.main(convert.Options(files=tuple(files), **given))


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("age", "age"),
        ("boundary_Smiling", "smiling"),
        ("boundary_5_o_Clock_Shadow", "5_o_clock_shadow"),
        ("stylegan_ffhq_age_w_boundary", "age"),
        ("stylegan2_ffhq_eyeglasses_boundary", "eyeglasses"),
        ("emotion_angry", "anger"),
        ("emotion_easy", "neutral"),
        ("emotion_happy", "happiness"),
        ("emotion_fear", "fear"),
        ("angle_horizontal", "angle_horizontal"),
    ],
)
def test_names_of_published_files(stem, name):
    assert convert.name_of(stem) == name


@pytest.mark.parametrize(
    "shape", [(WIDTH,), (1, WIDTH), (LAYERS, WIDTH), (1, LAYERS, WIDTH), (1, LAYERS * WIDTH)]
)
def test_every_published_shape(shape):
    config = score_world.GENERATOR
    count = int(np.prod(shape)) // WIDTH
    same = convert.shaped(np.tile(BASE, count).reshape(shape), "age", config)
    np.testing.assert_array_equal(same, BASE)
    if count > 1:
        rows = np.outer(np.arange(1, LAYERS + 1), BASE).astype(np.float32)
        np.testing.assert_array_equal(convert.shaped(rows.reshape(shape), "age", config), rows)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.ones(17), r"age is \[17\], wanted one of \[1, 6, 16\]"),
        (np.ones((5, 16)), r"age is \[5, 16\]"),
        (np.zeros(16), "age is 0, infinite or NaN"),
        (np.full(16, np.nan), "age is 0, infinite or NaN"),
    ],
)
def test_arrays_that_are_no_direction(array, sentence):
    with pytest.raises(UserError, match=sentence):
        convert.shaped(array, "age", score_world.GENERATOR)


def test_torch_files_and_numpy_files_become_one_file(world, tmp_path):
    np.save(tmp_path / "emotion_angry.npy", np.tile(2 * BASE[::-1], (LAYERS, 1)))
    out = tmp_path / "d.npz"
    run(world, DATA / "age.pt", tmp_path / "emotion_angry.npy", out=out)
    found = Directions.load(out)
    assert found.names == ("age", "anger")
    np.testing.assert_allclose(found.coefficients, [BASE, 2 * BASE[::-1]], rtol=1e-6)
    sha = hashlib.sha256((DATA / "age.pt").read_bytes()).hexdigest()
    assert found.metadata["sources"][0] == {"file": "age.pt", "sha256": sha}
    generator = bundle.find(world).sha256(GENERATOR)
    assert found.metadata["generator_sha256"] == generator
    codes = drawn_codes(world, 4000)
    # 10,000 and 4,000 samples: a standard deviation is known to 1 %, a mean to 2 % of one
    np.testing.assert_allclose(found.sigma, (codes @ found.units.T).std(0), rtol=0.05)
    np.testing.assert_allclose(found.mean, codes.mean(0), atol=0.1)
    scores = found.predict(codes).mean(0) / (found.sigma * np.linalg.norm([BASE, 2 * BASE], axis=1))
    assert np.abs(scores).max() < 0.1  # 0 at the mean code


def drawn_codes(world, count):
    """Return codes [count, D] of the bundle's generator, from ids that the converter leaves out."""
    generator = bundle.find(world).load(GENERATOR)
    ids = jnp.arange(count, dtype=jnp.uint32) + calibration.SAMPLES
    z = jax.jit(draw_z, static_argnums=2)(jax.random.key(0), ids, WIDTH)
    return np.asarray(jax.jit(lambda model, z: model.mapping(z))(generator, z), np.float64)


def test_layers_of_their_own_are_kept(world, tmp_path):
    rows = np.outer(np.arange(1, LAYERS + 1), BASE).astype(np.float32)
    np.save(tmp_path / "pose.npy", rows.reshape(1, -1))
    run(world, tmp_path / "pose.npy", DATA / "age.pt", out=tmp_path / "d.npz")
    found = Directions.load(tmp_path / "d.npz")
    tiled = found.tiled(LAYERS)
    np.testing.assert_allclose(tiled[0], rows / np.linalg.norm(rows), rtol=1e-6)
    age = np.tile(BASE, (LAYERS, 1))
    np.testing.assert_allclose(tiled[1], age / np.linalg.norm(age), rtol=1e-6)
    codes = drawn_codes(world, 4000)
    projected = np.einsum("nd,eld->ne", codes, tiled)
    np.testing.assert_allclose(found.sigma, projected.std(0), rtol=0.05)


def test_ganspace_components(world, tmp_path):
    run(world, DATA / "ffhq_pca.pt", out=tmp_path / "torch.npz")
    np.savez(
        tmp_path / "stylegan2_ffhq.npz",
        lat_comp=np.stack([BASE, BASE[::-1]])[:, None],
        lat_mean=np.zeros((1, WIDTH)),
        lat_stdev=np.ones(2),
    )
    run(world, tmp_path / "stylegan2_ffhq.npz", out=tmp_path / "numpy.npz")
    for file in ("torch.npz", "numpy.npz"):
        found = Directions.load(tmp_path / file)
        assert found.names == ("component0", "component1")
        np.testing.assert_allclose(found.coefficients, [BASE, BASE[::-1]], rtol=1e-6)


def test_the_classifier_turns_a_sign_that_is_wrong(world, tmp_path, monkeypatch, capsys):
    def judged(codes, generator, emotion):
        """Anger rises with the code's share of BASE, all else falls alike."""
        odds = np.exp((codes.mean(1) @ BASE)[:, None] * (np.arange(8) == 0))
        return odds / odds.sum(1, keepdims=True)

    monkeypatch.setattr(calibration, "_classified", judged)
    np.save(tmp_path / "emotion_angry.npy", -BASE)
    np.save(tmp_path / "emotion_sad.npy", -BASE)  # where anger rises, sadness falls
    run(
        world,
        *(tmp_path / f"emotion_{name}.npy" for name in ("angry", "sad")),
        DATA / "age.pt",
        out=tmp_path / "d.npz",
        calibrate=8,
    )
    found = Directions.load(tmp_path / "d.npz")
    np.testing.assert_allclose(found.coefficients, [BASE, -BASE, BASE], rtol=1e-6)
    np.testing.assert_allclose(found.intercepts, -found.coefficients @ found.mean)
    seen = found.metadata["calibration"]
    assert {name: entry["sign"] for name, entry in seen.items()} == {
        "anger": "turned",
        "sadness": "confirmed",
    }
    assert seen["anger"]["change"] < -0.1
    assert "age          sigma" in capsys.readouterr().out


def test_faces_moved_along_a_direction_confirm_or_turn_it(world, tmp_path):
    """The direction that scored samples give comes out the same way round, however it goes in."""
    score.main(score.Options(bundle=str(world), samples=1024, out=tmp_path / "scores"))
    fitted = fit_directions.fit(ScoreTable.open(tmp_path / "scores").read(), FitConfig("extremes"))
    direction = fitted.coefficients[fitted.index("anger")]
    for way, sign in ((1, "confirmed"), (-1, "turned")):
        np.save(tmp_path / "emotion_angry.npy", way * direction)
        run(world, tmp_path / "emotion_angry.npy", out=tmp_path / f"{sign}.npz", calibrate=16)
    confirmed, turned = (
        Directions.load(tmp_path / f"{sign}.npz") for sign in ("confirmed", "turned")
    )
    for found, sign, way in ((confirmed, "confirmed", 1), (turned, "turned", -1)):
        seen = found.metadata["calibration"]["anger"]
        assert seen["sign"] == sign
        assert way * seen["change"] > 0.1
        np.testing.assert_allclose(found.coefficients, [direction])


def test_a_file_that_is_there_is_not_lost_unasked(world):
    run(world, DATA / "age.pt")
    assert directions.load(bundle.find(world)).names == ("age",)
    with pytest.raises(UserError, match="is there already: give --replace"):
        run(world, DATA / "age.pt", names=("older",))
    run(world, DATA / "age.pt", names=("Older",), replace=True)
    assert directions.load(bundle.find(world)).names == ("older",)


def test_bad_arguments(world, tmp_path):
    (tmp_path / "list.npy").write_bytes(b"\x93NUMPY nothing")
    np.save(tmp_path / "object.npy", np.array([{}, 1], object))
    cases = [
        ((), {}, "no file given"),
        ((tmp_path / "none.npy",), {}, r"no file .*none\.npy"),
        ((tmp_path / "list.npy",), {}, "not a published direction .it holds an array in version"),
        ((tmp_path / "object.npy",), {}, "an array of type 'object'"),
        ((DATA / "README.md",), {}, r"README\.md cannot be read: it begins like no checkpoint"),
        (
            (oracles.DATA / "files" / "ros_tiny.pt",),
            {},
            r"ros_tiny\.pt holds a StyleGAN2 generator, wanted directions",
        ),
        ((DATA / "age.pt", DATA / "age.pt"), {}, "age is given twice"),
        ((DATA / "age.pt",), {"names": ("\x1b[31m",)}, r"a direction is named '\\x1b\[31m': give"),
        ((DATA / "age.pt",), {"names": ("a", "b")}, "--names gives 2 names for 1 directions"),
        ((DATA / "age.pt",), {"calibrate": 1}, "--calibrate is 1, wanted 0, or 2 or more"),
        ((DATA / "age.pt",), {"name": "nowhere"}, "no bundle 'nowhere'"),
    ]
    for files, change, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            run(world, *files, out=tmp_path / "out.npz", **change)
    assert not (tmp_path / "out.npz").exists()
