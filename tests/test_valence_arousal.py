"""Valence and arousal, from the score table to the edit, by a classifier that tells both."""

import dataclasses
import json

import numpy as np
import pytest

import emojax
from emojax import directions, edit, score, video
from emojax.film import loops
from emojax.film.changes import Changer, VideoEdit
from emojax.latents import directions as bundle_directions
from emojax.latents import usable_range
from emojax.latents.directions import Directions
from emojax.runtime.cli import call
from emojax.runtime.errors import UserError
from emojax.runtime.flags import PipelineFlags
from emojax.store import bundle
from emojax.store.score_table import ScoreTable
from tests.support import score_world

EMOTION = dataclasses.replace(score_world.EMOTION, valence_arousal=True)
DIMENSIONS = ("valence", "arousal")
SAMPLES = 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle with such a classifier, and no directions."""
    return score_world.write(tmp_path_factory.mktemp("checkpoints") / "tiny", EMOTION)


@pytest.fixture(scope="module")
def scores(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("scores") / "scores"
    flags = ["--samples", str(SAMPLES), "--chunk", str(SAMPLES // 2)]
    call(score.main, ["--bundle", str(folder), "--out", str(out), *flags])
    return out


@pytest.fixture(scope="module")
def fitted(folder, scores, tmp_path_factory):
    """The file of directions fitted to the scores, with ranges of few and short steps."""
    file = tmp_path_factory.mktemp("directions") / "directions.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usable_range, "STEPS", 1)
        patch.setattr(usable_range, "OTHERS", 8)
        flags = ["--bundle", str(folder), "--out", str(file), "--no-plots", "--method", "extremes"]
        call(directions.main, [str(scores), *flags])
    return file


@pytest.fixture(scope="module")
def pipe(folder, fitted):
    return emojax.load(folder, inverter="none", directions_file=fitted, batch=2)  # as commands


def test_the_table_keeps_what_the_classifier_tells_of_each_face(scores, pipe):
    found = ScoreTable.open(scores).read()
    assert found.settings.scores == pipe.score_names == (*pipe.classes, *DIMENSIONS)
    faces = pipe.sample([0, 7], truncation=1.0)
    told = np.asarray(faces.prediction.scores)
    np.testing.assert_allclose(found.scores[[0, 7]], told, atol=2e-2)  # pixels on the edge
    assert found.scores[:, 8:].std(0).min() > 1e-3


def test_directions_are_fitted_for_both(fitted, scores):
    found = Directions.load(fitted)
    assert found.names[8:] == found.means.regressed == DIMENSIONS
    assert found.usable.shape == (10, 2)
    assert found.metadata["scores"]["regressed"] == ["Valence", "Arousal"]
    predicted = found.predict(ScoreTable.open(scores).read().codes)
    told = ScoreTable.open(scores).read().scores
    for column in (8, 9):
        assert np.corrcoef(predicted[:, column], told[:, column])[0, 1] > 0.3
    assert found.metadata["method"] == "extremes"  # the regression: tests/latents/test_directions


def test_edits_move_along_both_by_name(pipe):
    face = pipe.sample(3)
    moved = pipe.edit(face, valence=3, arousal=[-2, 2])
    tiled = pipe.directions.tiled(6)
    step = 3 * tiled[8] + np.array([-2, 2])[:, None, None] * tiled[9]
    np.testing.assert_allclose(moved.w_plus - face.w_plus, step, atol=1e-5)
    scores = moved[0].scores
    assert [*scores] == [*pipe.classes, *DIMENSIONS]
    assert [*moved[0].emotions] == [*pipe.classes]
    assert sum(moved[0].emotions.values()) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(
        [scores[name] for name in DIMENSIONS], moved[0].prediction.valence_arousal[0], atol=1e-5
    )
    picture = np.asarray(moved[0].image)
    assert pipe.scores(picture) == pytest.approx(scores, abs=1e-5)
    assert pipe.emotions(picture) == pytest.approx(moved[0].emotions, abs=1e-5)


def test_the_command_edits_valence_and_says_what_came_of_it(folder, fitted, pipe, tmp_path):
    common = ["--bundle", str(folder), "--directions", str(fitted), "--seed", "3"]
    out = tmp_path / "edited"
    call(
        edit.main, ["--emotion", "valence", "--k=-2..2", "--steps", "3", "--out", str(out), *common]
    )
    report = json.loads((out / "edit.json").read_text())
    assert [each["k"] for each in report["edits"]] == [{"valence": k} for k in (-2.0, 0.0, 2.0)]
    assert [*report["edits"][0]["predictions"]][8:] == [*DIMENSIONS]
    every = edit._moves(pipe, edit.Options(emotion="all"))
    assert [name for move in every for name in move.amounts] == [*Directions.load(fitted).names]


def test_directions_without_them_say_so(folder, fitted, tmp_path):
    """As they are in a file of an earlier release."""
    every = Directions.load(fitted)
    means = dataclasses.replace(every.means, regressed=())
    rows = {
        name: getattr(every, name)[:8] for name in ("names", "coefficients", "intercepts", "sigma")
    }
    old = dataclasses.replace(every, usable=None, means=means, **rows)
    old.save(tmp_path / "old.npz")
    common = ["--bundle", str(folder), "--directions", str(tmp_path / "old.npz"), "--seed", "3"]
    with pytest.raises(UserError, match="no direction 'valence': these are known: anger, contempt"):
        call(edit.main, ["--emotion", "valence", "--out", str(tmp_path / "edited"), *common])


def test_films_and_the_page_take_them(pipe, tmp_path):
    from emojax.page.scale import Scale

    assert Scale(pipe).names == pipe.score_names
    assert Scale(pipe).k("valence", 100) == pipe.directions.usable_range("valence")[1]
    film = tmp_path / "film.gif"
    loops.write(film, [np.full((72, 96, 3), 40 * index, np.uint8) for index in range(3)])
    some = bundle_directions.load(bundle.find(bundle.DEFAULT))
    rows = {
        name: np.concatenate([getattr(some, name), getattr(some, name)[:2]])
        for name in ("coefficients", "intercepts", "sigma")
    }
    both = dataclasses.replace(some, names=(*some.names, *DIMENSIONS), usable=None, **rows)
    both.save(tmp_path / "both.npz")
    common = PipelineFlags(directions=tmp_path / "both.npz")
    assert video.check(video.Options(film, emotion="valence", common=common)) == 9
    with pytest.raises(UserError, match=r"no direction 'joy': these are known: .*, arousal"):
        video.check(video.Options(film, emotion="arousal,joy", common=common))
    face = pipe.sample(3)
    changer = Changer(pipe, VideoEdit({"valence": 2.0}), None, None)
    moved = changer(face.codes, np.zeros(1)) - face.w_plus
    np.testing.assert_allclose(moved[0], 2 * pipe.directions.tiled(6)[8], atol=1e-5)
