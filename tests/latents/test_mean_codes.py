"""Mean faces of emotions, and the normaliser that steps between them."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from emojax.faces import images
from emojax.latents import emotion_means, inversion, mean_codes
from emojax.latents.directions import Directions
from emojax.latents.emotion_means import EXPLAINED, EmotionMeans
from emojax.latents.mean_codes import CORRECTIONS, EVENNESS
from emojax.latents.normalisers import Transferrer, available, combine
from emojax.models import dcgan, stylegan2
from emojax.runtime.errors import UserError
from emojax.scoring import classifier
from emojax.store import bundle
from emojax.store.parts import EMOTION
from emojax.store.score_table import Scored, ScoreSettings
from tests.support import small_world
from tests.support.pictures import noise
from tests.support.small_world import SIDE, rel_err

CLASSES = ("Anger", "Neutral", "Joy")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return bundle.find(small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "small"))


@pytest.fixture(scope="module")
def directions():
    return small_world.directions()


@pytest.fixture(scope="module")
def ready(place, directions):
    inverter, net = inversion.load(place, "psp"), place.load(EMOTION)
    return Transferrer(inverter, directions, "means", batch=2, classifier=net)


@pytest.fixture(scope="module")
def photographs():
    return images.to_uint8(noise("mean codes", 3, 128))


@pytest.fixture(scope="module")
def prepared(ready, photographs):
    seen = images.to_float(photographs[:, ::2, ::2])
    faces = inversion.invert(ready.inverter, seen, batch=2)
    return ready.prepare(faces, photographs)


def scored(codes, probabilities):
    settings = ScoreSettings("", "", CLASSES, codes.shape[1], len(codes))
    return Scored(settings, np.arange(len(codes)), np.float32(codes), np.float32(probabilities))


def test_steps_lead_from_one_mean_face_to_another():
    """Where every face shows one class, the steps are differences of the classes' mean codes.

    They are kept whole along codes that nothing but the class changes.
    """
    rng = np.random.default_rng(0)
    shown = rng.choice(3, 40_000, p=[0.1, 0.6, 0.3])  # more than a block
    codes = rng.standard_normal((3, 5))[shown] + 3
    found = emotion_means.fit(scored(codes, np.eye(3)[shown]))
    assert found.classes == ("anger", "neutral", "joy")
    np.testing.assert_allclose(found.shares, np.bincount(shown) / 40_000, rtol=1e-5)
    means = np.stack([codes[shown == each].mean(0) for each in range(3)])
    # the steps have no common part, as probabilities sum to 1
    wanted = (means - means.mean(0)) / (1 + EXPLAINED)
    np.testing.assert_allclose(found.steps, wanted, atol=2e-5)  # float32 codes


def test_steps_are_between_a_regression_and_the_means_of_certain_faces():
    rng = np.random.default_rng(1)
    p = rng.dirichlet([1, 2, 0.5], 3000)
    linear = rng.standard_normal((3, 4))
    codes = p @ linear + 3  # so that the regression is exact
    found = emotion_means.fit(scored(codes, p))
    means = np.stack([np.average(codes, 0, p[:, each] ** 2) for each in range(3)])
    wanted = (linear - linear.mean(0) + means - means.mean(0)) / 2 / (1 + EXPLAINED)
    np.testing.assert_allclose(found.steps, wanted, atol=1e-4)  # float32 codes


def test_steps_are_short_along_what_the_probabilities_hardly_explain():
    rng = np.random.default_rng(4)
    p = rng.dirichlet([1, 1, 1], 50_000)
    spread = np.array([0.02, 4.0, 0.0])  # beside what the classes do: hardly, mostly, not at all
    codes = p @ np.array([[1, 0.2, 0], [0, -0.2, 1], [0, 0, 0]]) + rng.standard_normal(3) * spread
    codes += rng.standard_normal((50_000, 3)) * spread
    plain = scored(codes, p)
    found = emotion_means.fit(plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emotion_means, "EXPLAINED", 0.0)
        whole = emotion_means.fit(plain)
    explained = np.corrcoef(codes[:, 1], p[:, 0] - p[:, 1])[0, 1] ** 2
    assert explained < 0.002
    kept = found.steps / whole.steps
    np.testing.assert_allclose(kept[:2, 1], explained / (explained + EXPLAINED), rtol=0.2)
    assert (kept[[0, 1], [0, 2]] > 0.98).all()


def test_a_reading_is_made_as_certain_as_a_posed_face():
    evidence = np.log([[0.5, 0.3, 0.2], [0.98, 0.01, 0.01], [0.4, 0.4, 0.2], [0.9, 0.08, 0.02]])
    found = mean_codes.posed(evidence)
    np.testing.assert_allclose(found.sum(1), 1)
    entropies = scipy.stats.entropy(found, axis=1)
    least, most = mean_codes.CERTAINTY
    np.testing.assert_allclose(found[1], scipy.special.softmax(least * evidence[1]), atol=1e-6)
    np.testing.assert_allclose(found[2], scipy.special.softmax(most * evidence[2]), atol=1e-6)
    assert entropies[0] == pytest.approx(mean_codes.ENTROPY, abs=1e-6)
    assert (found.argmax(1)[[0, 1, 3]] == 0).all()


def test_regressed_scores_have_slopes_and_leave_the_steps_alone():
    rng = np.random.default_rng(2)
    p, values = rng.dirichlet([1, 2, 0.5], 20_000), rng.uniform(-1, 1, (20_000, 2))
    values[:, 1] += 0.5 * values[:, 0]  # they come together, and are parted
    slopes = rng.standard_normal((2, 4))
    codes = p @ rng.standard_normal((3, 4)) + values @ slopes
    plain, scores = scored(codes, p), np.float32(np.hstack([p, values]))
    settings = dataclasses.replace(plain.settings, regressed=("Valence", "Arousal"))
    found, alone = (
        emotion_means.fit(Scored(settings, *plain[1:3], scores)),
        emotion_means.fit(plain),
    )
    assert (found.classes, found.regressed) == (alone.classes, ("valence", "arousal"))
    np.testing.assert_allclose(found.steps, alone.steps, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.slopes, slopes, atol=0.05)  # of 20,000 samples
    with pytest.raises(ValueError, match="a score of the mean codes appears twice"):
        dataclasses.replace(found, regressed=("joy", "arousal"))
    with pytest.raises(ValueError, match=r"slopes are \[2, 4\], wanted \[1, 4\]"):
        dataclasses.replace(found, regressed=("valence",))


def test_a_transfer_is_its_steps(ready, prepared, photographs, place):
    """Readings, the step, and the corrections, with the parts that are tested elsewhere."""
    net, means = place.load(EMOTION), ready.directions.means
    source, target = prepared[0], prepared[1:]

    def logs(pictures):
        logits = np.float64(classifier.classify(net, pictures, batch=2).logits)
        return scipy.special.log_softmax(logits, axis=1)

    def drawn(faces):
        return images.to_uint8(inversion.synthesize(ready.inverter, faces, batch=2))

    def moved(amounts):
        step = np.zeros((2, 12, 32))
        step[:, 2:8] = (amounts @ means.steps)[:, None]
        return source.face.with_codes(np.float32(source.face.w_plus + step))

    own, theirs = drawn(source.face), drawn(target.face)
    views = [photographs[1:], photographs[1:, :, ::-1], theirs, theirs[:, :, ::-1]]
    told = np.average([logs(x) for x in views], axis=0, weights=[2, 2, 1, 1])
    wanted = mean_codes.posed(told - EVENNESS * np.log(means.shares))
    np.testing.assert_allclose(target.readings.shown, wanted, atol=1e-4)  # 8-bit rounding
    amounts = wanted - np.exp(logs(own))
    for _ in range(CORRECTIONS):
        amounts = amounts + wanted - np.exp(logs(drawn(moved(amounts))))
    found = combine(source, target)
    # a picture's rounding to 8 bits, in the classifier, times steps of norm 5
    np.testing.assert_allclose(found.w_plus, moved(amounts).w_plus, atol=5e-3)
    assert rel_err(found.w_plus, moved(wanted - np.exp(logs(own))).w_plus) > 1e-2  # corrected


def test_equation_3_is_the_step_before_corrections(prepared):
    """A face less its base is the step from the mean neutral face to its own reading."""
    expected = prepared.face.w_plus - prepared.base.w_plus
    neutral = np.eye(8)[5]
    steps = (np.asarray(prepared.readings.own) - neutral) @ small_world.directions().means.steps
    np.testing.assert_allclose(expected[:, 2:8], np.repeat(steps[:, None], 6, 1), atol=1e-4)
    assert not np.any(np.asarray(expected[:, [0, 1, 8, 11]]))


def test_alpha_runs_along_one_line_with_one_faces_kernels(place, directions):
    inverter, net = inversion.load(place, "hyperstyle"), place.load(EMOTION)
    ready = Transferrer(inverter, directions, "means", batch=2, classifier=net)
    both = ready.prepare(inversion.invert(inverter, noise("line", 2, SIDE), passes=2, batch=2))
    path = combine(both[0], both[1], [0.0, 0.5, 1.0])
    assert path.is_shared
    np.testing.assert_array_equal(path.changes["vectors"], both[0].face.changes["vectors"])
    np.testing.assert_array_equal(path.w_plus[0], both[0].face.w_plus[0])
    middle = (path.w_plus[0] + path.w_plus[2]) / 2
    np.testing.assert_allclose(path.w_plus[1], middle, atol=1e-5)
    assert rel_err(path.w_plus[2], path.w_plus[0]) > 1e-2


def test_a_part_of_faces_keeps_its_readings(prepared):
    part = prepared[1:]
    np.testing.assert_array_equal(part.readings.shown, prepared.readings.shown[1:])
    assert jax.tree.structure(part) == jax.tree.structure(prepared)
    assert prepared[0].readings.own.shape == (1, 8)


def test_layers_follow_from_the_resolutions():
    def layers(channels):
        config = stylegan2.GeneratorConfig(channels=channels, style_dim=8, z_dim=8, n_mlp=1)
        return np.flatnonzero(mean_codes.expression_layers(config)).tolist()

    assert layers((8,) * 9) == layers((8,) * 5) == [2, 3, 4, 5, 6, 7]
    assert layers((8,) * 3) == [2, 3, 4, 5]
    whole = mean_codes.expression_layers(dcgan.DCGANConfig())
    assert whole.tolist() == [1.0] * len(whole)


def test_the_file_keeps_them_and_older_files_lack_them(directions, tmp_path):
    directions.save(tmp_path / "new.npz")
    found = Directions.load(tmp_path / "new.npz").means
    assert found.classes == directions.means.classes
    np.testing.assert_array_equal(found.steps, directions.means.steps)
    np.testing.assert_array_equal(found.shares, directions.means.shares)
    dataclasses.replace(directions, means=None).save(tmp_path / "old.npz")
    assert Directions.load(tmp_path / "old.npz").means is None


def test_bad_requests_are_one_sentence(ready, directions, prepared):
    old, net = dataclasses.replace(directions, means=None), ready.classifier
    with pytest.raises(UserError, match=r"no mean codes.*fit them again with 'emojax directions'"):
        Transferrer(ready.inverter, old, "means", classifier=net)
    assert "means" not in available(old)
    assert available(directions)[-1] == "means"
    others = EmotionMeans(("anger",), np.zeros((1, 32)), np.ones(1))
    changed = dataclasses.replace(directions, means=others)
    with pytest.raises(UserError, match="mean codes of anger, the classifier tells anger, con"):
        Transferrer(ready.inverter, changed, "means", classifier=net)
    with pytest.raises(ValueError, match="no classifier given"):
        Transferrer(ready.inverter, directions, "means")
    subspace = Transferrer(ready.inverter, directions, "subspace")
    with pytest.raises(ValueError, match="prepared by different normalisers"):
        combine(prepared, subspace.prepare(prepared.face))
    narrow = EmotionMeans(directions.means.classes, np.zeros((8, 3)), directions.means.shares)
    with pytest.raises(ValueError, match="mean codes are of 3 numbers, wanted 32"):
        dataclasses.replace(directions, means=narrow)
    for changes, message in (
        ({"shares": np.zeros(8)}, "no probabilities"),
        ({"shares": np.ones(7)}, "wanted"),
        ({"steps": np.full((8, 32), np.nan)}, "NaN"),
        ({"classes": ("anger",) * 8}, "twice"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(directions.means, **changes)
