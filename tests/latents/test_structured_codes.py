"""Codes of people with several emotions: read from folders, decomposed, used as directions."""

import numpy as np
import pytest

from emojax.faces import images
from emojax.latents import fit_directions, inversion, structured_codes
from emojax.latents.fit_config import FitConfig
from emojax.latents.structured_codes import StructuredCodes
from emojax.models.efficientnet import EIGHT
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.score_table import Scored, ScoreSettings
from tests.support import small_world
from tests.support.pictures import noise


@pytest.fixture(scope="module")
def psp(tmp_path_factory):
    folder = small_world.write(tmp_path_factory.mktemp("checkpoints") / "small")
    return inversion.load(bundle.find(folder), "psp")


def write(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = noise(f"face {number}", 1, small_world.SIDE)[0]
        images.write(folder / name, images.to_uint8(picture))
    return folder


def test_a_folder_becomes_codes_by_person_and_emotion(psp, tmp_path):
    files = [f"{person}/{emotion}.png" for person in "ba" for emotion in ("Fear", "anger")]
    found = structured_codes.of_folder(write(tmp_path / "faces", *files), psp)
    assert found.codes.shape == (12, 32, 2, 2)
    assert found.emotions == ("anger", "fear")
    picture = images.read(tmp_path / "faces/a/Fear.png")
    one = inversion.invert(psp, np.stack([picture] * 4), batch=4).w_plus[0]
    np.testing.assert_allclose(found.codes[:, :, 0, 1], one, rtol=0, atol=1e-4)  # another batch


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["a/anger.png", "b/anger.png", "b/fear.png"], "has no a/fear, and lacks 1 of 4 pictures"),
        (["a.png"], "holds 1 pictures in another layout: wanted PERSON/EMOTION"),
        (["a/anger.png", "b/anger/1.png"], "holds 2 pictures in another layout"),
        ([], "holds 0 pictures in another layout"),
    ],
)
def test_other_folders_are_refused(psp, tmp_path, files, sentence):
    (tmp_path / "faces").mkdir()
    with pytest.raises(UserError, match=sentence):
        structured_codes.of_folder(write(tmp_path / "faces", *files), psp)


NAMES = tuple(name.lower() for name in EIGHT)


def structured(seed=0):
    """Four layers of five numbers: people, emotions along axes of their own, two intensities."""
    rng = np.random.default_rng(seed)
    person = rng.standard_normal((4, 5, 6, 1, 1))
    axes = np.zeros((4, 5, 1, 3, 1))
    for emotion in range(3):
        axes[:, emotion, 0, emotion] = 1
    codes = person + axes * np.array([1.0, 2.0])
    return StructuredCodes(codes, ("anger", "neutral", "fear"), "6 people of a test")


def scored(count=400):
    rng = np.random.default_rng(1)
    codes = rng.standard_normal((count, 5)).astype(np.float32)
    odds = np.exp(np.pad(codes[:, :3], ((0, 0), (0, 5))))
    odds = odds[:, [0, 3, 4, 2, 5, 1, 6, 7]]  # anger by the first number, neutral by the second
    settings = ScoreSettings("a" * 64, "b" * 64, EIGHT, 5, count)
    return Scored(settings, np.arange(count), codes, odds / odds.sum(1, keepdims=True))


def test_directions_of_known_emotions_are_found():
    found = fit_directions.fit(scored(), FitConfig(method="tensor"), structured())
    assert found.names == ("anger", "neutral", "fear")
    assert found.coefficients.shape == (3, 4, 5)
    wanted = 1.5 * (np.eye(3, 5) - np.eye(3, 5).mean(0))  # the mean intensity, less the mean code
    np.testing.assert_allclose(found.coefficients, np.repeat(wanted[:, None], 4, 1), atol=1e-12)
    facts = found.metadata
    assert (facts["method"], facts["modes"], facts["ranks"]) == ("tensor", [6, 3, 2], [20, 6, 3, 2])
    assert min(facts["spearman"].values()) > 0.5
    in_w = found.units.sum(1)
    spread = (scored().codes[:360] @ in_w.T).std(0)
    np.testing.assert_allclose(found.sigma, spread, rtol=1e-3)  # about the mean


def test_truncation_and_wrong_settings():
    cut = FitConfig(method="tensor", ranks=(4, 2, 2, 1))
    found = fit_directions.fit(scored(), cut, structured())
    assert found.metadata["ranks"] == [4, 2, 2, 1]
    with pytest.raises(UserError, match=r"cannot be decomposed: ranks are \[3\], wanted 4 numbers"):
        fit_directions.fit(scored(), FitConfig(method="tensor", ranks=(3,)), structured())
    other = StructuredCodes(structured().codes, ("anger", "neutral", "joy"), "")
    with pytest.raises(UserError, match="the faces show 'joy', which was not scored: wanted anger"):
        fit_directions.fit(scored(), FitConfig(method="tensor"), other)
    wide = StructuredCodes(np.ones((4, 6, 2, 3)), structured().emotions, "")
    with pytest.raises(UserError, match="codes of 6 numbers, the scored ones 5"):
        fit_directions.fit(scored(), FitConfig(method="tensor"), wide)
