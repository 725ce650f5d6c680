"""Weights are compared with their metadata whenever they are loaded."""

import json
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest

from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.runtime.errors import UserError
from emojax.store import bundle, weights
from emojax.store.fingerprint import combined, inspect, line, scan
from emojax.store.parts import GENERATOR
from tests.support import small_world

CONFIG = GeneratorConfig(channels=(8, 8), style_dim=8, z_dim=8, n_mlp=1)
RNG = np.random.default_rng(0)


def table(seed: int = 0) -> dict[str, np.ndarray]:
    """Return a random generator's weights."""
    return small_world.table(Generator, CONFIG, seed)


@pytest.fixture
def part(tmp_path):
    """Write a generator; return the folder of the part."""
    bundle.save(tmp_path / "b", GENERATOR, CONFIG, table(), {})
    return tmp_path / "b" / "generator"


def load(part):
    return bundle.find(part.parent).load(GENERATOR)


def change(part, **fields):
    """Change fields of the metadata; None removes one."""
    file = part / "metadata.json"
    stored = {**json.loads(file.read_text()), **fields}
    file.write_text(json.dumps({key: each for key, each in stored.items() if each is not None}))


def rewrite(part, arrays):
    """Put other weights in the place of a part's."""
    shutil.rmtree(part / "weights")
    weights.write(part / "weights", arrays)


@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "earlier release"])
@pytest.mark.parametrize("damage", ["a bit", "another bundle", "swapped rows"])
def test_other_weights_of_the_same_shapes_are_refused(part, damage, checksum):
    arrays = table(1 if damage == "another bundle" else 0)
    if damage == "a bit":
        arrays["synthesis.const"].view(np.uint32)[2, 1, 3] ^= 1
    elif damage == "swapped rows":
        arrays["synthesis.const"][:] = arrays["synthesis.const"][::-1].copy()
    rewrite(part, arrays)
    if not checksum:
        change(part, weights_checksum=None)
    with pytest.raises(UserError, match=r"generator has other weights than its metadata\.json"):
        load(part)


@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "earlier release"])
def test_the_right_weights_are_loaded(part, checksum):
    if not checksum:
        change(part, weights_checksum=None)
    assert load(part).config == CONFIG


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(part, bad):
    """Also where the bundle's own metadata vouches for them."""
    arrays = table()
    arrays["mapping.layers.0.weight"][1, 2] = bad
    rewrite(part, arrays)
    found = inspect(arrays)
    assert found.not_finite == ["mapping.layers.0.weight"]
    change(part, weights_checksum=found.checksum, weights_sha256=found.sha256)
    with pytest.raises(
        UserError, match=r"generator cannot be used: its mapping\.layers\.0\.weight"
    ):
        load(part)
    with pytest.raises(UserError, match=r"generator not written: mapping\.layers\.0\.weight"):
        bundle.save(part.parent, GENERATOR, CONFIG, arrays, {})


def test_a_flipped_bit_on_disk_is_refused(part):
    """In the largest file, bit by bit; the decompressor sees some, and some lie in unused bytes."""
    file = max(part.rglob("d/*"), key=lambda each: each.stat().st_size)
    whole, refused, rng = file.read_bytes(), [], np.random.default_rng(1)
    for place in rng.integers(0, len(whole), 40):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(data)
        try:
            loaded = weights.flatten(load(part))
        except UserError as error:
            refused.append(str(error))
        else:
            for name, array in table().items():
                np.testing.assert_array_equal(loaded[name], array)
    # how many of the 40 is up to the files' layout, which differs by Orbax's release and by chance
    assert any("has other weights" in said for said in refused)
    file.write_bytes(whole)
    load(part)


def test_claims_of_absurd_size_are_refused(part):
    """An array of zeros takes no room on disk, whatever its shape."""
    rewrite(part, {**table(), "zeros": np.zeros((1, 2), np.float32)})
    big = np.broadcast_to(np.float32(0), (70_000_000,))
    rewrite(part, {**table(), "zeros": big})
    with pytest.raises(UserError, match=r"claims 28[0-9],[0-9,]* bytes of arrays"):
        load(part)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_mlp": 100_000}, "n_mlp is 100000, wanted a whole number within bounds"),
        ({"n_mlp": "2"}, "n_mlp is '2', wanted a whole number"),
        ({"channels": 8}, "channels is 8"),
        ({"channels": [8] * 20_000}, "channels is a list of 20000"),
        ({"channels": []}, "describes no network that can be built"),
        ({"channels": [-8, 8]}, "describes no network that can be built"),
        ({"style_dim": 1e308}, "style_dim is 1e.308, wanted a whole number"),
        ({"lr_mlp": None}, "lr_mlp is None, wanted a number"),
        ({"lr_mlp": True}, "lr_mlp is True"),
        ({"colour": 1}, "unknown field 'colour'"),
    ],
)
def test_configs_of_wrong_types_and_absurd_sizes(part, fields, sentence):
    """A mapping network of 100,000 layers was built for a minute."""
    stored = json.loads((part / "metadata.json").read_text())
    change(part, config={**stored["config"], **fields})
    with pytest.raises(UserError, match=sentence) as error:
        load(part)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"config": []},
        {"config": None},
        {"source": "a file"},
        {"weights_sha256": 5},
        {"weights_sha256": None},
        {"parameters": "many"},
        {"network": ["Generator"]},
        {"surprise": 1},
    ],
)
def test_metadata_of_wrong_types(part, fields):
    change(part, **fields)
    for use in (load, lambda part: bundle.find(part.parent).sha256(GENERATOR)):
        with pytest.raises(
            UserError, match=r"metadata\.json is not metadata of a part \(.*\): con"
        ):
            use(part)


def test_long_names_are_one_short_line(tmp_path):
    for name in ("n" * 300, "n\x1b[31m\n" * 50, str(tmp_path / ("n" * 300))):
        with pytest.raises(UserError, match=r"no bundle 'n|no bundle '/") as error:
            bundle.find(name)
        assert len(str(error.value)) <= 300
        assert str(error.value).isprintable()


# ---- the checksum itself


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64, np.int32, np.uint8, bool]
)
@pytest.mark.parametrize("size", [0, 1, 7, 70_001, 300_000])
def test_every_changed_value_changes_the_checksum(dtype, size):
    array = (RNG.standard_normal(size) * 100).astype(dtype)
    first = scan(array)
    assert first.finite
    assert scan(array.copy()) == first
    for place in {0, size // 2, size - 1} - {-1}:
        if size:
            other = array.copy()
            other.view(np.uint8)[place * array.itemsize] ^= 1
            assert scan(other).checksum != first.checksum


def test_order_counts():
    array = RNG.standard_normal(200_000).astype(np.float32)
    for other in (array[::-1].copy(), np.roll(array, 2), np.roll(array, 2**16)):
        assert scan(other).checksum != scan(array).checksum
    swapped = array.reshape(2, -1)[::-1].copy()
    assert scan(swapped).checksum != scan(array).checksum


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [1, 3, 300_001])
def test_every_value_that_is_no_number_is_seen(dtype, bad, size):
    array = np.full(size, np.finfo(np.float16).max if dtype == np.float16 else 1e30).astype(dtype)
    assert scan(array).finite
    array[-1] = bad
    assert not scan(array).finite


def test_names_shapes_and_types_count():
    base = np.arange(6, dtype=np.float32)
    lines = {
        combined({name: line(name, array, scan(array).checksum)})
        for name, array in (
            ("a", base),
            ("b", base),
            ("a", base.reshape(2, 3)),
            ("a", base.view(np.int32)),
        )
    }
    assert len(lines) == 4


def test_the_embedded_bundle_has_checksums():
    embedded = bundle.find(bundle.DEFAULT)
    about = embedded.metadata(GENERATOR)
    stored = weights.read(embedded.folder(GENERATOR) / "weights")
    assert inspect(stored).checksum == about.weights_checksum


def test_a_network_of_jax_arrays_needs_no_checksum():
    model = weights.abstract(Generator, CONFIG)
    assert weights.load(model, jax.tree.map(jax.numpy.asarray, table()))
