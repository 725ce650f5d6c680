"""Directions: their file, and the three ways to fit them to scores whose truth is known."""

import dataclasses

import numpy as np
import pytest
from sklearn.svm import LinearSVR

from emojax.latents import directions, fit_directions
from emojax.latents.directions import Directions
from emojax.latents.fit_config import FitConfig
from emojax.models.efficientnet import EIGHT
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.score_table import Scored, ScoreSettings

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
    with pytest.raises(
        UserError, match=r"no directions: .*emojax score .*emojax directions scores"
    ):
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
    found = fit_directions.fit(known, FitConfig())
    assert found.names == NAMES
    x, y = known.codes[:900].astype(np.float64), known.probabilities[:900]
    weight = 1 / (2 * FitConfig().regularisation * x.var(0).mean() * len(x))
    assert found.metadata["C"] == pytest.approx(weight, rel=1e-5)
    theirs = LinearSVR(
        loss="squared_epsilon_insensitive", C=weight, dual=False, tol=1e-10, intercept_scaling=1e3
    ).fit(x, y[:, 3])  # at that scale its intercept is as good as free
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
    exact = fit_directions.fit(known, FitConfig(tol=1e-9)).metadata
    assert exact["neutral_residual"] < 1e-5  # exactly 0 but for the duality gap
    assert exact["neutral_cosine"] > 1 - 1e-9
    other = fit_directions.fit(known, FitConfig("extremes", extremes=100)).metadata
    assert other["neutral_residual"] > 0.1  # no regression, and not linear in its targets
    assert fit_directions.opposition(("age", "smile"), np.eye(2), ("age",)) == {}


def drawn(count, scale=1.0, width=48):
    """Scores of codes whose axes differ in variance 100-fold, seen through noise."""
    rng = np.random.default_rng(5)
    axes = np.linalg.qr(rng.standard_normal((width, width)))[0] * np.geomspace(2, 0.2, width)
    truth = rng.standard_normal((width, 2))
    codes = rng.standard_normal((count, width)) @ axes.T
    shown = 1 / (1 + np.exp(-0.5 * codes @ truth - 0.3 * rng.standard_normal((count, 2))))
    settings = ScoreSettings("a", "b", ("Anger", "Fear"), width, count)
    scaled = np.float32(scale * (codes + 3))
    return Scored(settings, np.arange(count), scaled, shown.astype(np.float32))


@pytest.mark.parametrize("loss", ["squared", "absolute"])
def test_directions_depend_neither_on_the_number_of_samples_nor_on_the_unit_of_w(loss):
    few, many, large = (
        fit_directions.fit(drawn(*each), FitConfig(loss=loss, tol=1e-8))
        for each in ((4_000,), (40_000,), (40_000, 30.0))
    )
    np.testing.assert_allclose(large.units, many.units, rtol=0, atol=1e-5)
    np.testing.assert_allclose(large.coefficients, many.coefficients / 30, rtol=0, atol=1e-6)
    cosines = (few.units * many.units).sum(1)
    noise = {"squared": 0.002, "absolute": 0.01}[loss]  # of 4,000 samples; it falls as 1/n
    assert cosines.min() > 1 - noise
    ratio = few.metadata["C"] / many.metadata["C"]
    assert ratio == pytest.approx(10, rel=0.02)
    # the same C for both, as scikit-learn has it, does change the direction
    other = FitConfig().regularisation * ratio
    fixed = fit_directions.fit(drawn(4_000), FitConfig(loss=loss, regularisation=other))
    assert fixed.metadata["C"] == pytest.approx(many.metadata["C"], rel=0.02)
    assert (fixed.units * many.units).sum(1).max() < 1 - 3 * noise


def test_the_penalty_is_a_share_of_the_mean_variance():
    scored = drawn(4_000)
    found = fit_directions.fit(scored, FitConfig(regularisation=0.5, tol=1e-10))
    x, y = scored.codes[:3600].astype(float), scored.probabilities[:3600].astype(float)
    covariance = np.cov(x.T, bias=True)
    ridge = covariance + 0.5 * np.trace(covariance) / 48 * np.eye(48)
    wanted = np.linalg.solve(ridge, (x - x.mean(0)).T @ (y - y.mean(0)) / 3600).T
    np.testing.assert_allclose(found.coefficients, wanted, rtol=1e-4, atol=1e-7)


def test_fits_that_predict_nothing_are_doubted(known):
    assert fit_directions.doubts(fit_directions.fit(known, FitConfig())) == []
    noise = np.random.default_rng(1).dirichlet(np.ones(8), 1000).astype(np.float32)
    said = fit_directions.doubts(fit_directions.fit(known._replace(scores=noise), FitConfig()))
    assert len(said) == 1
    assert "on 100 held-out samples the fit predicts" in said[0]
    few = Scored(known.settings, *(part[:14] for part in known[1:]))
    said = fit_directions.doubts(fit_directions.fit(few, FitConfig(held_out=0.2)))
    assert "11 samples are fewer than a code's 24 numbers" in said[-1]


def test_extremes_part_the_highest_from_the_lowest(known):
    found = fit_directions.fit(known, FitConfig("extremes", extremes=100))
    regression = fit_directions.fit(known, FitConfig())
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
    found = fit_directions.fit(few, FitConfig("extremes"))
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
    found = fit_directions.fit(scored, FitConfig("pca"))
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
        fit_directions.fit(three, FitConfig())
    flat = known.probabilities.copy()
    flat[:, 1] = 0.1
    with pytest.raises(UserError, match="the score of contempt is the same"):
        fit_directions.fit(known._replace(scores=flat), FitConfig())
    alike = np.ones_like(known.codes)
    with pytest.raises(UserError, match="all 900 codes are the same"):
        fit_directions.fit(known._replace(codes=alike), FitConfig())
    with pytest.raises(UserError, match="held_out is 1"):
        FitConfig(held_out=1)
    with pytest.raises(UserError, match="regularisation is 0"):
        FitConfig(regularisation=0)


@pytest.fixture(scope="module")
def with_valence(known):
    """The same scores, with a valence and an arousal that are linear in the codes."""
    rng = np.random.default_rng(3)
    slopes = rng.standard_normal((2, 24)) / 20
    values = (known.codes @ slopes.T).astype(np.float32)
    settings = dataclasses.replace(known.settings, regressed=("Valence", "Arousal"))
    return Scored(settings, known.ids, known.codes, np.hstack([known.scores, values])), slopes


def test_valence_and_arousal_get_directions_by_the_regression(with_valence):
    scored, slopes = with_valence
    found = fit_directions.fit(scored, FitConfig(regularisation=1e-6))
    wanted = slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
    assert (found.units[8:] * wanted).sum(1).min() > 0.999
    assert found.metadata["neutral_residual"] < 1e-3  # of the emotions alone
    assert found.metadata["r2"]["arousal"] > 0.999


@pytest.mark.parametrize("method", ["extremes", "pca"])
def test_valence_and_arousal_leave_the_emotions_alone(known, with_valence, method, tmp_path):
    config = FitConfig(method, extremes=100)
    found = fit_directions.fit(with_valence[0], config)
    before = fit_directions.fit(known, config)
    assert found.names == (*before.names, "valence", "arousal")
    np.testing.assert_allclose(found.coefficients[:8], before.coefficients, rtol=1e-6)
    assert found.metadata["neutral_cosine"] == pytest.approx(before.metadata["neutral_cosine"])
    found.save(tmp_path / "d.npz")
    stored = Directions.load(tmp_path / "d.npz")
    assert stored.metadata["scores"]["regressed"] == ["Valence", "Arousal"]
    assert stored.means.regressed == ("valence", "arousal")
    np.testing.assert_array_equal(stored.means.slopes, found.means.slopes)
    before.save(tmp_path / "before.npz")
    with np.load(tmp_path / "before.npz") as file:  # as the release before wrote it
        assert not {"mean_regressed", "mean_slopes"} & set(file.files)
        assert "regressed" not in str(file["metadata"])
