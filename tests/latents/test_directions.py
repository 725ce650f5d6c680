"""Directions: their file, and the three ways to fit them to scores whose truth is known."""

import dataclasses
import sys

import numpy as np
import pytest
from sklearn.svm import LinearSVR

from emojax import directions as directions_command
from emojax.latents import directions, fit_directions
from emojax.latents.directions import Directions
from emojax.models.efficientnet import EIGHT
from emojax.report import plots
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.parts import GENERATOR
from emojax.store.score_table import Scored, ScoreSettings, ScoreTable
from tests.support import score_world

NAMES = tuple(name.lower() for name in EIGHT)


def some(*layers, seed=0, **changes):
    rng = np.random.default_rng(seed)
    parts = {
        "names": ("anger", "neutral", "fear"),
        "coefficients": rng.standard_normal((3, *layers, 5)),
        "intercepts": rng.standard_normal(3),
        "mean": rng.standard_normal(5),
        "sigma": rng.uniform(0.5, 1.5, 3),
        "metadata": {"method": "svr", "generator_sha256": "a" * 64},
    }
    return Directions(**{**parts, **changes})


@pytest.mark.parametrize("layers", [(), (4,)])
def test_a_file_gives_back_what_was_saved(tmp_path, layers):
    wanted = some(*layers)
    wanted.save(tmp_path / "d.npz")
    found = Directions.load(tmp_path / "d.npz")
    for field in dataclasses.fields(Directions):
        a, b = getattr(found, field.name), getattr(wanted, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name
    with np.load(tmp_path / "d.npz") as stored:
        np.testing.assert_allclose(stored["units"], wanted.units)
    assert [file.name for file in tmp_path.iterdir()] == ["d.npz"]


def test_tiled_directions_have_unit_norm_over_all_layers():
    plain, per_layer = some().tiled(18), some(4).tiled(4)
    for tiled in (plain, per_layer):
        np.testing.assert_allclose(np.linalg.norm(tiled.reshape(3, -1), axis=1), 1, rtol=1e-12)
    assert (plain == plain[:, :1]).all()
    np.testing.assert_allclose(np.linalg.norm(20 * plain[:, 0], axis=1), 20 / np.sqrt(18))  # 4.71
    with pytest.raises(UserError, match="made for 4 layers, this generator has 18"):
        some(4).tiled(18)


def test_predictions_of_w_and_of_tiled_codes_agree():
    codes = np.random.default_rng(1).standard_normal((6, 5))
    tiled = np.repeat(codes[:, None], 4, 1)
    for found in (some(), some(4)):
        np.testing.assert_allclose(found.predict(tiled), found.predict(codes), rtol=1e-12)
    expected = codes @ some().coefficients.T + some().intercepts
    np.testing.assert_allclose(some().predict(codes), expected, rtol=1e-12)
    bent = tiled + np.arange(4)[:, None]  # layers that differ
    expected = np.tensordot(bent, some(4).coefficients, ((1, 2), (1, 2))) + some(4).intercepts
    np.testing.assert_allclose(some(4).predict(bent), expected, rtol=1e-12)


@pytest.mark.parametrize("layers", [(), (4,)])
def test_lengths_of_a_unit_of_k(layers):
    found = some(*layers)
    np.testing.assert_array_equal(found.unit_lengths(4, "norm"), [1, 1, 1])
    np.testing.assert_array_equal(found.unit_lengths(4, "layer"), [2, 2, 2])
    tiling = 1 if layers else 2  # a σ of W is that much in each of four layers
    np.testing.assert_allclose(found.unit_lengths(4, "sigma"), tiling * found.sigma, rtol=1e-12)
    with pytest.raises(UserError, match="unit is 'metre', wanted 'norm', 'layer' or 'sigma'"):
        found.unit_lengths(4, "metre")


def test_usable_ranges_are_kept_and_older_files_have_a_stated_one(tmp_path):
    ranges = np.array([[-3.5, 8], [-1, 2.25], [0, 0]])
    some(usable=ranges).save(tmp_path / "new.npz")
    found = Directions.load(tmp_path / "new.npz")
    np.testing.assert_array_equal(found.usable, ranges)
    assert found.usable_range("Anger") == (-3.5, 8.0)
    assert found.usable_range("fear") == directions.UNMEASURED  # nothing usable was found
    some().save(tmp_path / "old.npz")
    with np.load(tmp_path / "old.npz") as stored:
        assert "usable" not in stored  # as written by releases before ranges were measured
    assert Directions.load(tmp_path / "old.npz").usable_range("anger") == (-20.0, 20.0)
    with pytest.raises(UserError, match="no direction 'joy'"):
        found.usable_range("joy")


def test_names_are_found_whatever_their_case():
    assert some().index("Fear") == 2
    with pytest.raises(UserError, match=r"no direction 'joy'.*anger, neutral, fear"):
        some().index("joy")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"intercepts": np.zeros(2)}, r"intercepts is \[2\], wanted \[3\]"),
        ({"mean": np.zeros(4)}, r"mean is \[4\], wanted \[5\]"),
        ({"sigma": np.array([1, np.nan, 1])}, "sigma holds NaN"),
        ({"coefficients": np.eye(5)[:3] * [[1], [0], [1]]}, "no direction for neutral"),
        ({"coefficients": np.ones(5)}, "coefficients is"),
        ({"usable": np.zeros(3)}, r"usable is \[3\], wanted \[3, 2\]"),
        ({"usable": np.array([[-1, 1], [1, 2], [-1, 1]])}, "usable holds a range without 0"),
        ({"names": ("anger", "anger", "fear")}, "wanted different ones"),
        ({"names": ("Anger", "neutral", "fear")}, "in lower case"),
    ],
)
def test_arrays_that_do_not_belong_together(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        some(**change)


def test_damage_is_one_sentence(tmp_path):
    file = tmp_path / "d.npz"
    some().save(file)
    sound, refused = file.read_bytes(), 0
    for place in range(0, len(sound), 7):
        data = bytearray(sound)
        data[place] ^= 16
        file.write_bytes(data)
        try:
            found = Directions.load(file)
        except UserError as error:
            refused += "is not a sound directions file" in str(error)
        else:  # such as the time of writing in the archive
            assert np.array_equal(found.coefficients, some().coefficients)
    assert refused > len(sound) / 7 / 2
    for cut in (0, 10, len(sound) // 2, len(sound) - 1):
        file.write_bytes(sound[:cut])
        with pytest.raises(UserError, match="not a sound directions file"):
            Directions.load(file)
    np.savez(file, names=np.array(["a"]))
    with pytest.raises(UserError, match="not a sound directions file"):
        Directions.load(file)
    with pytest.raises(UserError, match="no file"):
        Directions.load(tmp_path / "none.npz")


def test_a_bundle_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"no directions: .*emojax\.score.*emojax\.directions"):
        directions.load(bundle.look_up(tmp_path))
    some().save(tmp_path / "directions.npz")
    assert directions.load(bundle.look_up(tmp_path), "a" * 64).names == some().names
    with pytest.raises(UserError, match="made for generator aaaaaaaaaaaa, the bundle's is bbb"):
        directions.load(bundle.look_up(tmp_path), "b" * 64)


# ---- fitting


@pytest.fixture(scope="module")
def known():
    """Scores of codes whose class probabilities follow eight known directions."""
    rng = np.random.default_rng(0)
    truth = np.linalg.qr(rng.standard_normal((24, 8)))[0].T
    spread = np.linspace(2, 0.5, 24)
    codes = (rng.standard_normal((1000, 24)) * spread + 0.3).astype(np.float32)
    logits = codes @ truth.T + np.linspace(0, 1, 8)
    odds = np.exp(logits)
    probabilities = (odds / odds.sum(1, keepdims=True)).astype(np.float32)
    settings = ScoreSettings("a" * 64, "b" * 64, EIGHT, 24, len(codes))
    return Scored(settings, np.arange(len(codes)), codes, probabilities)


def test_regression_is_scikit_learns_and_is_validated_on_what_it_did_not_see(known):
    found = fit_directions.fit(known, fit_directions.Config())
    assert found.names == NAMES
    x, y = known.codes[:900].astype(np.float64), known.probabilities[:900]
    theirs = LinearSVR(loss="squared_epsilon_insensitive", dual=False, tol=1e-10).fit(x, y[:, 3])
    np.testing.assert_allclose(found.coefficients[3], theirs.coef_, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found.intercepts[3], theirs.intercept_[0], rtol=1e-3)
    held, truth = known.codes[900:], known.probabilities[900:]
    expected = 1 - ((found.predict(held) - truth) ** 2).mean(0) / truth.var(0)
    np.testing.assert_allclose(list(found.metadata["r2"].values()), expected, rtol=1e-4)
    assert min(found.metadata["spearman"].values()) > 0.7
    assert (found.metadata["samples"], found.metadata["held_out"]) == (900, 100)
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.sigma, (x @ found.units.T).std(0), rtol=1e-4)


def test_neutral_is_minus_the_sum_of_the_others(known):
    free = dataclasses.replace(fit_directions.SQUARED, intercept="free", tol=1e-9)
    exact = fit_directions.fit(known, fit_directions.Config(regression=free)).metadata
    assert exact["neutral_residual"] < 1e-5  # exactly 0 but for the duality gap
    assert exact["neutral_cosine"] > 1 - 1e-9
    other = fit_directions.fit(known, fit_directions.Config("extremes", extremes=100)).metadata
    assert other["neutral_residual"] > 0.1  # no regression, and not linear in its targets
    assert fit_directions.opposition(("age", "smile"), np.eye(2)) == {}


def test_extremes_part_the_highest_from_the_lowest(known):
    found = fit_directions.fit(known, fit_directions.Config("extremes", extremes=100))
    regression = fit_directions.fit(known, fit_directions.Config())
    cosines = (found.units * regression.units).sum(1)
    assert cosines.min() > 0.85  # 100 samples at either end leave the boundary a little uncertain
    order = np.argsort(known.probabilities[:900, 4])
    assert (found.predict(known.codes[order[-100:]])[:, 4] > 0).mean() > 0.95
    assert (found.predict(known.codes[order[:100]])[:, 4] < 0).mean() > 0.95
    assert found.metadata["extremes"] == 100
    assert min(found.metadata["r2"].values()) > 0.3  # on a line: the raw scores would be below 0
    assert min(found.metadata["spearman"].values()) > 0.7


def test_few_samples_give_as_many_extremes_as_there_are(known):
    few = Scored(known.settings, *(part[:400] for part in known[1:]))
    found = fit_directions.fit(few, fit_directions.Config("extremes"))
    assert found.metadata["extremes"] == 180


def test_components_are_principal_and_follow_their_emotion():
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    coordinates = rng.standard_normal((4000, 6)) * [6, 5, 4, 3, 2, 1]
    codes = (coordinates @ basis.T + 1).astype(np.float32)
    chosen = [2, 0, 5]
    slopes = np.array([-0.01, 0.02, 0.1])
    noise = 0.01 * rng.standard_normal((4000, 3))
    probabilities = (0.3 + slopes * coordinates[:, chosen] + noise).astype(np.float32)
    settings = ScoreSettings("a", "b", ("Anger", "Neutral", "Fear"), 6, 4000)
    scored = Scored(settings, np.arange(4000), codes, probabilities)
    found = fit_directions.fit(scored, fit_directions.Config("pca"))
    assert found.metadata["component"] == chosen
    # 3600 samples leave the components' own directions uncertain by about 1/60
    np.testing.assert_allclose(
        found.coefficients, slopes[:, None] * basis.T[chosen], atol=2e-3, rtol=0
    )
    assert min(found.metadata["r2"].values()) > 0.9
    shares = np.array([16, 36, 1]) / 91
    np.testing.assert_allclose(found.metadata["variance_share"], shares, rtol=0.1)


def test_shares_above_thresholds():
    probabilities = np.array([[0.1, 0.9], [0.5, 0.5], [0.6, 0.4], [0.9, 0.1]])
    shares = fit_directions.shares_above(probabilities, np.array([0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(shares, [[1, 1], [0.5, 0.25], [0, 0]])


def test_scores_that_cannot_be_fitted(known):
    three = Scored(known.settings, *(part[:3] for part in known[1:]))
    with pytest.raises(UserError, match=r"3 scored samples of which 0\.1 are held out"):
        fit_directions.fit(three, fit_directions.Config())
    flat = known.probabilities.copy()
    flat[:, 1] = 0.1
    with pytest.raises(UserError, match="the probability of contempt is the same"):
        fit_directions.fit(known._replace(probabilities=flat), fit_directions.Config())
    with pytest.raises(UserError, match="held_out is 1"):
        fit_directions.Config(held_out=1)


# ---- the command


@pytest.fixture(scope="module")
def written(known, tmp_path_factory):
    """A bundle, and scores that say they are its generator's."""
    folder = tmp_path_factory.mktemp("world")
    place = score_world.write(folder / "tiny")
    sha = bundle.find(place).sha256(GENERATOR)
    settings = dataclasses.replace(known.settings, generator_sha256=sha, samples=1100, chunk=500)
    table = ScoreTable.create(folder / "scores", settings)
    for chunk in (0, 1):  # the third is missing
        rows = slice(chunk * 500, chunk * 500 + 500)
        table.write(chunk, known.codes[rows], known.probabilities[rows])
    return folder / "scores", place


def command(written, **changes):
    scores, place = written
    directions_command.main(
        directions_command.Options(scores, **{"bundle": str(place), "plots": False, **changes})
    )


def test_command_writes_into_the_bundle_and_reports(written, capsys):
    command(written)
    sha = bundle.find(written[1]).sha256(GENERATOR)
    found = directions.load(bundle.find(written[1]), sha)
    assert found.metadata["samples"] == 900  # of the 1000 that are there
    said = capsys.readouterr().out
    assert "svr on 900 samples, held out 100" in said
    assert f"fear       {found.metadata['r2']['fear']:7.3f}" in said
    assert f"cosine {found.metadata['neutral_cosine']:.5f}" in said


def test_options_reach_the_fit(written, tmp_path):
    files = {}
    for name, change in {
        "squared": {},
        "absolute": {"loss": "absolute"},
        "C": {"C": 1.0},
        "epsilon": {"epsilon": 0.1},
        "intercept": {"intercept": "penalised"},
        "held_out": {"method": "pca", "held_out": 0.5},
        "extremes": {"method": "extremes", "extremes": 50},
        "pca": {"method": "pca"},
    }.items():
        command(written, out=tmp_path / f"{name}.npz", **change)
        files[name] = Directions.load(tmp_path / f"{name}.npz").coefficients
    names = sorted(files)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert np.abs(files[a] - files[b]).max() > 1e-6, (a, b)


def test_plots_are_pictures_of_the_numbers(written, tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    del figure
    command(written, out=tmp_path / "d.npz", plots=True)
    made = sorted(file.name for file in written[0].glob("*.png"))
    assert made == ["figure4_thresholds.png", "figure5_similarity_svr.png"]


def test_missing_matplotlib_is_said_before_anything_is_done(written, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install \"emojax\[plots\]\".*--no-plots"):
        command(written, out=tmp_path / "d.npz", plots=True)
    assert not (tmp_path / "d.npz").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bundle": "nowhere"}, "no bundle 'nowhere'"),
        ({"scores": "nowhere"}, "no scores in nowhere"),
        ({"C": -1.0}, "C is -1.0"),
        ({"held_out": 0.0}, "held_out is 0.0"),
        ({"extremes": 0}, "extremes is 0"),
    ],
)
def test_bad_arguments(written, change, sentence):
    scores = change.pop("scores", None)
    given = (type(written[0])(scores), written[1]) if scores else written
    with pytest.raises(UserError, match=sentence):
        command(given, **change)


def test_scores_of_another_generator_are_refused(known, written, tmp_path):
    table = ScoreTable.create(tmp_path / "scores", dataclasses.replace(known.settings, samples=4))
    table.write(0, known.codes[:4], known.probabilities[:4])
    with pytest.raises(UserError, match=r"scored with generator aaaaaaaaaaaa, bundle .*--bundle"):
        command((tmp_path / "scores", written[1]))
