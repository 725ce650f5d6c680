"""Files of StyleGAN, ProgressiveGAN and DCGAN to bundles, recognised, and refused where wrong."""

import re
from pathlib import Path

import numpy as np
import pytest

from convert import dcgan, file_set, pggan, stylegan, stylegan1, systems
from convert.options import Options
from emojax.runtime.errors import UserError
from emojax.store import bundle
from emojax.store.parts import GENERATOR, PSP, STYLEGAN2
from tests.support import older_generators, torch_file
from tests.support.older_generators import CASES

CONVERTERS = {"stylegan1": stylegan1, "pggan": pggan, "dcgan": dcgan}
ROUND = 3
"""Resolutions of the small networks: 16²."""


def write(folder: Path, case: str, **changes: np.ndarray | None) -> Path:
    """Write a small file in a case's layout."""
    state = older_generators.small_state(case, resolutions=ROUND)
    for key, array in changes.items():
        state.pop(key, None)
        if array is not None:
            state[key] = array
    contents = older_generators.saved(case, {k: np.asarray(v) for k, v in state.items()})
    return torch_file.write(folder / f"{case}.pth", contents)


@pytest.mark.parametrize("case", CASES)
def test_a_file_of_any_name_becomes_a_bundle(case, tmp_path, capsys):
    file = write(tmp_path, case)
    options = file_set.Options((file,), name="small", checkpoints=tmp_path / "out")
    file_set.main(options)
    place = bundle.find(tmp_path / "out" / "small")
    about = place.metadata(GENERATOR)
    model = place.load(GENERATOR)
    assert type(model).__name__ == about.network
    assert about.source["pictures"] == "photographs"
    side = 64 if case == "dcgan64" else 16
    assert f"{side}²" in capsys.readouterr().out
    assert model.config.size == side
    assert (model.config.n_latent == 1) is (not case.startswith("stylegan1"))
    with pytest.raises(
        UserError, match=f"another generator: {re.escape(place.network_of(GENERATOR).about)}"
    ):
        place.load(STYLEGAN2)
    assert "this bundle has a" in place.lack(PSP)
    with pytest.raises(UserError, match="no setting bfloat16_from"):
        place.load(GENERATOR, bfloat16_from=8)


@pytest.mark.parametrize("case", ["stylegan1_rosinality1024", "pggan_ganzoo256", "dcgan64"])
def test_a_file_of_one_system_is_refused_by_the_others(case, tmp_path):
    file = write(tmp_path, case)
    found = systems.system_in(file)
    for name, converter in {**CONVERTERS, "stylegan": stylegan}.items():
        if name != found.converter:
            sentence = f"{found.about}, wanted {systems.WANTED[name]}"
            with pytest.raises(UserError, match=re.escape(sentence)):
                converter.main(Options(file, name="x", checkpoints=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_everything_wrong_is_reported_at_once(tmp_path):
    changes = {"synthesis.layer3.bias": None, "extra": np.ones(2, np.float32)}
    file = write(tmp_path, "stylegan1_ffhq1024", **changes)
    with pytest.raises(UserError, match="2 tensors differ") as caught:
        stylegan1.main(Options(file, name="x", checkpoints=tmp_path / "out"))
    text = "\n".join(caught.value.notes)
    assert "missing: synthesis.layer3.bias" in text
    assert "unknown: extra [2]" in text


def test_another_filter_is_refused(tmp_path):
    key = "synthesis.layer2.blur.kernel"
    file = write(tmp_path, "stylegan1_ffhq1024", **{key: np.ones((8, 1, 3, 3), np.float32)})
    with pytest.raises(UserError, match=rf"{key} is not the \[1, 2, 1\] filter"):
        stylegan1.main(Options(file, name="x", checkpoints=tmp_path / "out"))


@pytest.mark.parametrize(
    ("converter", "state", "sentence"),
    [
        (stylegan1, {"a": np.ones(2)}, "holds no StyleGAN generator"),
        (stylegan1, {"synthesis.layer0.const": np.ones(2)}, "its first layers are missing"),
        (pggan, {"a": np.ones(2)}, "holds no ProgressiveGAN generator"),
        (pggan, {"layer0.weight": np.ones((2, 2))}, "it has too few layers"),
    ],
)
def test_foreign_contents_are_named(converter, state, sentence):
    with pytest.raises(UserError, match=sentence):
        converter.convert(converter.find(state, "f.pth"))


def test_a_dcgan_with_other_sizes_is_refused():
    with pytest.raises(UserError, match="is not a DCGAN generator of 64²"):
        dcgan.convert({"main.0.weight": np.ones((2, 2, 4, 4))})


def test_noise_that_a_file_lacks_is_drawn_the_same_every_time(tmp_path, capsys):
    made = []
    for name in "ab":
        file = write(tmp_path, "stylegan1_lernapparat1024")
        stylegan1.main(Options(file, name=name, checkpoints=tmp_path / "out"))
        made.append(bundle.find(tmp_path / "out" / name).sha256(GENERATOR))
    assert made[0] == made[1]
    printed = capsys.readouterr().out
    assert "drawn, seed 0" in printed
    assert "from 100000 mapped samples, seed 0" in printed
