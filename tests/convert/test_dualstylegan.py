"""DualStyleGAN's published files become parts of a bundle."""

import os

import numpy as np
import pytest

from convert import dualstylegan, file_set, stylegan, systems
from convert.reader import checkpoint_file
from emojax.latents import styles
from emojax.models.dualstylegan import DualStyleGAN, DualStyleGANConfig, SamplerConfig
from emojax.runtime.errors import UserError
from emojax.store import bundle, weights
from emojax.store.parts import DUALSTYLEGAN
from tests.convert.test_encoders import shaped
from tests.support import oracles, style_set, torch_file


def test_every_tensor_finds_its_place():
    state = shaped(oracles.manifest("dualstylegan_ffhq1024"), "")
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32)
    for name, array in state.items():
        if name.endswith(".kernel"):
            state[name] = np.broadcast_to(kernel, array.shape)
    config, table, ignored = dualstylegan.convert(state)
    assert config == DualStyleGANConfig(channels=(512, 512, 512, 512, 512, 256, 128, 64, 32))
    assert table.keys() == weights.flatten(weights.abstract(DualStyleGAN, config)).keys()
    assert len(table) + len(ignored) == len(state) == 253
    lean = {name: array for name, array in state.items() if name != "res.3.norm2.style.bias"}
    with pytest.raises(UserError, match=r"missing: res\.3\.norm2\.style\.bias"):
        dualstylegan.convert(lean)
    with pytest.raises(UserError, match=r"unknown: res\.20\.bias"):
        dualstylegan.convert({**state, "res.20.bias": np.zeros(3, np.float32)})
    plain = {name: array for name, array in state.items() if ".conv." not in name or "gen" in name}
    with pytest.raises(UserError, match="0 residual blocks and 2 layers"):
        dualstylegan.convert(plain)


def sampler():
    state = shaped(oracles.manifest("dualstylegan_sampler"), "")
    return {
        part: {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
        for part in ("color", "structure")
    }


def test_the_sampler_and_its_twin():
    config, table, ignored = dualstylegan.convert_sampler(sampler())
    assert config == SamplerConfig()
    assert (len(table), set(ignored.values())) == (22, {"counts training steps"})
    swapped = sampler()
    swapped["color"], swapped["structure"] = swapped["structure"], swapped["color"]
    assert dualstylegan.convert_sampler(swapped)[0].structure == 11
    del swapped["color"]["lin_out.weight"]
    with pytest.raises(UserError, match="no layers lin_out of 512"):
        dualstylegan.convert_sampler(swapped)


@pytest.mark.parametrize("again", [False, True])
def test_style_codes_as_numpy_1_and_this_one_write_them(again, tmp_path):
    file = oracles.case_folder("dualstylegan_transfer") / "refined_exstyle_code.npy"
    if again:
        file = style_set.write_styles(tmp_path / "codes.npy", np.load(file, allow_pickle=True)[()])
    saved = checkpoint_file.load(file)
    assert systems.system_of(saved) is systems.STYLES
    found = dualstylegan.styles_of(saved.state, file)
    assert found.names == style_set.NAMES
    assert found.codes.shape == (3, 18, 512)
    whole = np.load(file, allow_pickle=True)[()]
    np.testing.assert_array_equal(found.codes, np.concatenate([*whole.values()]))
    assert [found.index(each) for each in ("1", "style_a.jpg", "style_b")] == [1, 1, 2]
    for wrong in ("3", "style", "-1"):
        with pytest.raises(UserError, match=f"no style '{wrong}': wanted a number from 0 to 2, or"):
            found.index(wrong)


@pytest.fixture
def files(tmp_path):
    """A small generator's file and style codes for it."""
    generator = torch_file.write(tmp_path / "a.pt", {"g_ema": style_set.generator()})
    codes = style_set.write_styles(tmp_path / "b.npy", style_set.styles(10, 32))
    return generator, codes


def test_any_command_takes_them(files, here, capsys):
    file_set.main(file_set.Options(files, name="cartoon"))
    place = bundle.find("cartoon")
    assert place.config(DUALSTYLEGAN).structure == style_set.STRUCTURE
    found = styles.load(place)
    assert found.names == style_set.NAMES
    assert found.metadata["source"]["file"] == "b.npy"
    assert "to come    encoder.pt, as files of this command" in capsys.readouterr().out
    stored = weights.read(place.folder(DUALSTYLEGAN) / "weights")
    wanted = style_set.generator()["res.1.conv2.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(stored["blocks.1.conv2.weight"], wanted)


def test_files_in_the_wrong_place_name_both_systems(files, tmp_path):
    generator, codes = files
    plain = oracles.DATA / "files/ros_tiny.pt"
    options = {"name": "new", "checkpoints": tmp_path / "checkpoints"}
    wanted = "wanted DualStyleGAN's generator, its encoder, style codes or sampler"
    with pytest.raises(UserError, match=f"holds a StyleGAN2 generator, {wanted}"):
        dualstylegan.main(dualstylegan.Options((generator, plain), **options))
    for file, about in ((generator, "a DualStyleGAN generator"), (codes, "style codes")):
        with pytest.raises(UserError, match=f"holds {about}.*, wanted a StyleGAN2 generator"):
            stylegan.main(stylegan.Options(file, **options))
    with pytest.raises(UserError, match="are both a DualStyleGAN generator: give one"):
        dualstylegan.main(dualstylegan.Options((generator, generator), **options))
    assert not (tmp_path / "checkpoints").exists()


class Evil:
    """What a pickle would run."""

    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        ({"a": Evil()}, r"asks to run code|would call"),
        ([1, 2], r"a list, wanted a state dict"),
        ({"a": np.zeros((2, 4, 3), np.float32)}, r"of shape \[2, 4, 3\]: wanted at most"),
        ({"a": np.zeros((1, 3), np.float32)}, r"shapes \[1, 3\]|\[\[1, 3\]\]: wanted style codes"),
        ({"a": np.zeros((1, 4, 3), np.float32), "b": 1}, "2 entries"),
        ({"a": np.full((1, 4, 3), np.nan, np.float32)}, "codes hold NaN or infinity"),
        ({"a": np.zeros((1, 4, 3), np.int32)}, "no real numbers"),
        ({"a\n": np.zeros((1, 4, 3), np.float32)}, "names are"),
        ({}, "0 entries"),
    ],
)
def test_bad_style_files_are_one_sentence(tmp_path, held, sentence):
    file = tmp_path / "codes.npy"
    np.save(file, np.array(held, dtype=object) if isinstance(held, dict) else held)
    if not isinstance(held, dict):
        array = np.empty((), object)
        array[()] = held
        np.save(file, array)
    options = dualstylegan.Options((file,), name="new", checkpoints=tmp_path)
    with pytest.raises(UserError, match=sentence) as caught:
        dualstylegan.main(options)
    assert len(str(caught.value).splitlines()) == 1


def test_arrays_of_several_objects_are_no_style_codes(tmp_path):
    array = np.empty(2, object)
    array[:] = [{"a": 1}, {"b": 2}]
    np.save(tmp_path / "codes.npy", array)
    with pytest.raises(UserError, match="holds a NumPy array of objects"):
        checkpoint_file.load(tmp_path / "codes.npy")
    np.save(tmp_path / "numbers.npy", np.arange(3))
    np.testing.assert_array_equal(checkpoint_file.load(tmp_path / "numbers.npy"), np.arange(3))
    cut = (tmp_path / "numbers.npy").read_bytes()[:-1]
    (tmp_path / "cut.npy").write_bytes(cut)
    with pytest.raises(UserError, match="damaged"):
        checkpoint_file.load(tmp_path / "cut.npy")
