"""`emojax directions`: what it writes and where, what it refuses, and that plots are optional."""

import logging
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from emojax import directions as command
from emojax.latents import directions, usable_range
from emojax.latents.directions import Directions
from emojax.latents.fit_config import FitConfig
from emojax.models.efficientnet import EIGHT
from emojax.report import plots
from emojax.runtime.cli import call
from emojax.runtime.errors import UserError
from emojax.scoring.sampling import sample_codes
from emojax.store import bundle
from emojax.store.parts import GENERATOR
from emojax.store.score_table import ScoreSettings, ScoreTable
from tests.support import score_world


def write_scores(folder, place, probabilities_of, count=1000):
    """Write scores of the bundle's own codes, with given probabilities; 100 rows are missing."""
    found = bundle.find(place)
    codes = np.asarray(sample_codes(found.load(GENERATOR), jnp.arange(count, dtype=jnp.uint32)))
    settings = ScoreSettings(found.sha256(GENERATOR), "b" * 64, EIGHT, 16, count + 100, chunk=count)
    ScoreTable.create(folder, settings).write(0, codes, probabilities_of(codes))
    return folder


def clear(codes):
    """Probabilities that follow eight directions of W."""
    truth = np.random.default_rng(0).standard_normal((8, codes.shape[1]))
    logits = (codes - codes.mean(0)) / codes.std(0) @ truth.T
    odds = np.exp(0.5 * logits)
    return (odds / odds.sum(1, keepdims=True)).astype(np.float32)


def noise(codes):
    """Probabilities that have nothing to do with the codes."""
    return np.random.default_rng(1).dirichlet(np.ones(8), len(codes)).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return score_world.write(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture
def own(place, tmp_path):
    """A bundle of the test's own, without directions."""
    folder = tmp_path / "own"
    folder.mkdir()
    for part in ("generator", "emotion"):
        (folder / part).symlink_to(place / part)
    return folder


@pytest.fixture(scope="module")
def scores(place, tmp_path_factory):
    return write_scores(tmp_path_factory.mktemp("scores") / "scores", place, clear)


def run(scores, place, *, fit=None, **changes):
    given = {"bundle": str(place), "plots": False, "range": False, **changes}
    command.main(command.Options(scores, fit=FitConfig(**(fit or {})), **given))


def test_the_file_is_the_bundles_and_the_fit_is_reported(scores, own, capsys):
    run(scores, own)
    place = bundle.find(own)
    found = directions.load(place, place.sha256(GENERATOR))
    assert found.metadata["samples"] == 900  # of the 1000 that are there
    said = capsys.readouterr().out
    assert "svr on 900 samples, held out 100" in said
    assert f"fear       {found.metadata['r2']['fear']:7.3f}" in said
    assert f"cosine {found.metadata['neutral_cosine']:.5f}" in said
    assert f"written: {own / 'directions.npz'}" in said


def test_directions_that_are_there_are_kept_unless_replace_is_given(scores, own, tmp_path):
    run(scores, own)
    before = (own / "directions.npz").read_bytes()
    with pytest.raises(UserError, match=r"directions\.npz is there already: give --replace"):
        run(scores, own, fit={"method": "pca"})
    (tmp_path / "d.npz").touch()
    with pytest.raises(UserError, match=r"d\.npz is there already"):
        run(scores, own, out=tmp_path / "d.npz")
    assert (own / "directions.npz").read_bytes() == before
    run(scores, own, replace=True, fit={"method": "pca"})
    assert Directions.load(own / "directions.npz").metadata["method"] == "pca"


def test_missing_scores_are_refused_before_directions_that_are_there(tmp_path):
    with pytest.raises(UserError, match=r"no scores in .*none: make them with 'emojax score"):
        call(command.main, [str(tmp_path / "none")])  # the demo has directions


def test_the_default_bundles_directions_are_kept(scores):
    """With the flags that nobody gave, as in a first try of the command."""
    file = bundle.find(bundle.DEFAULT).file(directions.FILE)
    before = file.stat().st_mtime_ns
    with pytest.raises(UserError, match="is there already"):
        call(command.main, [str(scores)])
    assert file.stat().st_mtime_ns == before


def test_fits_that_predict_nothing_do_not_enter_a_bundle(own, tmp_path, caplog):
    scores = write_scores(tmp_path / "scores", own, noise)
    with pytest.raises(UserError, match="not written into the bundle: score more samples"):
        run(scores, own)
    assert not (own / "directions.npz").exists()
    assert "held-out samples the fit predicts" in caplog.text
    run(scores, own, out=tmp_path / "elsewhere.npz")
    run(scores, own, replace=True)
    assert (own / "directions.npz").exists()


def test_ranges_are_measured_by_default(scores, own, capsys, caplog, monkeypatch):
    monkeypatch.setattr(usable_range, "STEPS", 3)
    monkeypatch.setattr(usable_range, "OTHERS", 8)
    run(scores, own, range=True)
    found = Directions.load(own / "directions.npz")
    assert found.usable.shape == (8, 2)
    assert (found.usable[:, 0] <= 0).all()
    assert (found.usable[:, 1] >= 0).all()
    assert np.ptp(found.usable) > 0
    low, high = found.usable[3]
    assert f"{low:7.2f}..{high:7.2f}" in capsys.readouterr().out
    assert "neither Inception nor a feature network" in caplog.text


def test_options_reach_the_fit(scores, place, tmp_path):
    files = {}
    for name, change in {
        "squared": {},
        "absolute": {"loss": "absolute"},
        "regularisation": {"regularisation": 1.0},
        "epsilon": {"epsilon": 0.1},
        "intercept": {"intercept": "penalised"},
        "held_out": {"method": "pca", "held_out": 0.5},
        "extremes": {"method": "extremes", "extremes": 50},
        "pca": {"method": "pca"},
    }.items():
        run(scores, place, out=tmp_path / f"{name}.npz", fit=change)
        files[name] = Directions.load(tmp_path / f"{name}.npz").coefficients
    names = sorted(files)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert np.abs(files[a] - files[b]).max() > 1e-6, (a, b)


def test_plots_are_pictures_of_the_numbers(scores, place, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the extra 'plots'")
    run(scores, place, out=tmp_path / "d.npz", plots=True)
    made = sorted(file.name for file in scores.glob("*.png"))
    assert made == ["figure4_thresholds.png", "figure5_similarity_svr.png"]
    assert f"plots: {scores}/figure4_thresholds.png" in capsys.readouterr().out


def test_without_matplotlib_the_file_is_written_and_plots_are_left_out(
    scores, place, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    run(scores, place, out=tmp_path / "d.npz", plots=True)
    assert (tmp_path / "d.npz").exists()
    assert "no plots: matplotlib is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bundle": "nowhere"}, "no bundle 'nowhere'"),
        ({"scores": "nowhere"}, "no scores in nowhere"),
        ({"fit": {"regularisation": -1.0}}, "regularisation is -1.0"),
        ({"fit": {"held_out": 0.0}}, "held_out is 0.0"),
        ({"fit": {"extremes": 0}}, "extremes is 0"),
    ],
)
def test_bad_arguments(scores, own, change, sentence):
    given = type(scores)(change.pop("scores", scores))
    with pytest.raises(UserError, match=sentence):
        run(given, **{"place": own, **change}) if "bundle" not in change else run(
            given, change["bundle"]
        )


def test_scores_of_another_generator_are_refused(own, tmp_path):
    settings = ScoreSettings("a" * 64, "b" * 64, EIGHT, 16, 4)
    rows = np.zeros((4, 16), np.float32), np.full((4, 8), 0.125, np.float32)
    ScoreTable.create(tmp_path / "scores", settings).write(0, *rows)
    with pytest.raises(UserError, match=r"scored with generator aaaaaaaaaaaa, bundle .*--bundle"):
        run(tmp_path / "scores", own)


def test_help_needs_no_jax():
    told = "import sys; from emojax.runtime.cli import call; from emojax import directions as d\n"
    told += "try: call(d.main, ['--help'])\nexcept SystemExit: print('jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert "--regularisation FLOAT" in done.stdout
    assert "--no-range" in done.stdout


def test_bad_numbers_on_the_command_line_are_one_sentence(scores):
    with pytest.raises((UserError, SystemExit)):
        call(command.main, [str(scores), "--held-out", "0"])
    logging.getLogger(__name__).debug("either is an exit code of 2")


def test_method_tensor_says_what_it_needs(scores, own, tmp_path):
    with pytest.raises(UserError, match="has no psp"):
        run(scores, own, fit={"method": "tensor"})
    with pytest.raises(UserError, match="--faces is for --method tensor"):
        run(scores, own, faces=tmp_path)
