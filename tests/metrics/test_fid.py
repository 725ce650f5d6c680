"""Distances against clean-fid's recorded numbers and closed forms; folders, files and bad input."""

import functools
import io
import os
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emojax import fid as command
from emojax.metrics import distance_network, features, fid
from emojax.metrics.distance_network import DistanceNetwork
from emojax.runtime.cli import call
from emojax.runtime.errors import UserError
from emojax.store import bundle
from tests.support import oracles, score_world
from tests.support.pictures import claimed_png

CASES = ("full_rank_64", "rank_deficient_128", "equal_n_64", "dim_2048")


@functools.cache
def drawn(case: str) -> tuple[np.ndarray, np.ndarray]:
    """The recorded case's feature sets a and b, float64."""
    sets = []
    for side, (n, d, shift, scale) in oracles.manifest("fid_stats")["config"][
        "cases_n_d_shift_scale"
    ][case].items():
        rng = np.random.RandomState(zlib.crc32(f"11:{case}:{side}".encode()))
        mix = rng.standard_normal((d, d)) / np.sqrt(d)
        sets.append(np.maximum(rng.standard_normal((n, d)) @ mix * scale + shift, 0))
    return sets[0], sets[1]


@pytest.mark.parametrize("case", CASES)
def test_distances_are_clean_fids(case: str) -> None:
    a, b = drawn(case)
    golden = oracles.golden("fid_stats")
    left, right = (fid.Moments.of(x).gaussian() for x in (a, b))
    assert np.allclose(left.mean[:8], golden[f"{case}/mu_first8"][0], rtol=1e-12, atol=0)
    assert np.allclose(
        left.covariance[:4, :4], golden[f"{case}/sigma_corner"][0], rtol=1e-9, atol=0
    )
    distance = fid.frechet_distance(left, right)
    assert distance == pytest.approx(float(golden[f"{case}/fid_eig"]), rel=1e-6)
    assert distance == pytest.approx(float(golden[f"{case}/fid_cleanfid"]), rel=1e-6)
    assert fid.kernel_distance(a, b) == pytest.approx(float(golden[f"{case}/kid_seed0"]), rel=1e-6)


def test_kid_draws_the_same_subsets() -> None:
    expected = float(oracles.golden("fid_stats")["full_rank_64/kid_subset100_seed0"])
    a, b = drawn("full_rank_64")
    ours = fid.kernel_distance(a, b, subsets=20, subset_size=100)
    assert ours == pytest.approx(expected, rel=1e-9)
    assert fid.kernel_distance(b, a, subsets=20, subset_size=100) != pytest.approx(
        expected, rel=1e-3
    )


def test_few_pictures_carry_a_warning() -> None:
    sentence = fid.too_few(5000, 300)
    assert sentence is not None
    assert sentence.startswith("a Fréchet distance of 300 pictures is biased upwards")
    assert "give 2,048 or more" in sentence
    assert fid.too_few(2048, 70_000) is None
    assert fid.too_few(None, 70_000) is None  # a statistics file that does not say
    assert fid.too_few(None, 2047) is not None


def test_few_pictures_are_biased_upwards() -> None:
    """What the warning says: two samples of one distribution lie apart, further the fewer."""
    rows = np.random.RandomState(0).standard_normal((2, 1024, 64))
    distances = []
    for count in (64, 256, 1024):
        left, right = (fid.Moments.of(each[:count]).gaussian() for each in rows)
        distances.append(fid.frechet_distance(left, right))
    assert distances[0] > 2 * distances[1] > 4 * distances[2] > 0


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(0, 2**31 - 1))
def test_a_set_has_distance_zero_to_itself(count: int, width: int, seed: int) -> None:
    rows = np.random.RandomState(seed).standard_normal((count, width))
    gaussian = fid.Moments.of(rows).gaussian()
    assert abs(fid.frechet_distance(gaussian, gaussian)) < 1e-6


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**31 - 1))
def test_commuting_gaussians_have_the_closed_form(width: int, seed: int) -> None:
    rng = np.random.RandomState(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((width, width)))
    means, spreads = rng.standard_normal((2, width)), rng.uniform(0.0, 3.0, (2, width))
    a, b = (
        fid.Gaussian(mean, basis * spread**2 @ basis.T)
        for mean, spread in zip(means, spreads, strict=True)
    )
    truth = np.sum((means[0] - means[1]) ** 2) + np.sum((spreads[0] - spreads[1]) ** 2)
    assert fid.frechet_distance(a, b) == pytest.approx(truth, rel=1e-6, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.integers(0, 2**31 - 1), st.data())
def test_batches_merge_in_any_order(sizes: list[int], seed: int, data: st.DataObject) -> None:
    rng = np.random.RandomState(seed)
    batches = [rng.standard_normal((size, 5)) + 3 for size in sizes]
    whole = np.concatenate(batches)
    order = data.draw(st.permutations(range(len(batches))))
    merged = functools.reduce(fid.Moments.merge, [fid.Moments.of(batches[i]) for i in order])
    assert merged.count == len(whole)
    assert np.allclose(merged.mean, whole.mean(0), rtol=1e-12, atol=1e-13)
    if len(whole) > 1:
        truth = np.cov(whole, rowvar=False)
        assert np.allclose(merged.gaussian().covariance, truth, rtol=1e-12, atol=1e-13)


class Colours(nnx.Module):
    """A feature network small enough for a test: means and deviations of the colours, mixed."""

    def __init__(self) -> None:
        self.mix = nnx.Param(
            jnp.asarray(np.random.RandomState(0).standard_normal((6, 6)), jnp.float32)
        )


def colours(model: Colours, pictures: jnp.ndarray) -> jnp.ndarray:
    pictures = pictures.astype(jnp.float32) / 255
    return jnp.concatenate([pictures.mean((1, 2)), pictures.std((1, 2))], -1) @ model.mix[...]


def network(name: str = "colours") -> features.FeatureExtractor:
    return features.FeatureExtractor(name, Colours(), colours)


def paint(folder: Path, count: int, *, seed: int = 0, sides: tuple[int, ...] = (16,)) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.RandomState(seed)
    for i in range(count):
        side = sides[i % len(sides)]
        picture = rng.randint(0, 256, (side, side + 2, 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{i:04d}.png")
    return folder


def options(tmp_path: Path, a: str = "", b: str = "", **changes: object) -> command.Options:
    return command.Options(a, b, cache=tmp_path / "cache", **changes)


@pytest.mark.parametrize("batch", [1, 3])
def test_folder_statistics_do_not_depend_on_batches(tmp_path: Path, batch: int) -> None:
    place = paint(tmp_path / "a", 21, sides=(16, 24))
    measured = features.measure(features.folder(place), network(), keep=True, batch=batch)
    pictures = [features.read_picture(name) for name in features.folder(place).names]
    truth = np.concatenate([colours(Colours(), p[None]) for p in pictures])
    assert measured.moments.count == 21
    assert np.allclose(measured.moments.mean, truth.mean(0, np.float64), rtol=1e-5, atol=1e-6)
    order = np.lexsort(truth.T), np.lexsort(measured.features.T)
    assert np.allclose(truth[order[0]], measured.features[order[1]], rtol=1e-4, atol=1e-5)


def test_many_sizes_fall_back_to_pillow(tmp_path: Path) -> None:
    place = paint(tmp_path / "a", 12, sides=tuple(range(8, 20)))
    seen: list[tuple] = []

    def note(model: Colours, pictures: jnp.ndarray) -> jnp.ndarray:
        seen.append(pictures.shape[1:])
        return colours(model, pictures)

    wanted = features.FeatureExtractor("noted", Colours(), note, size=10)
    assert features.measure(features.folder(place), wanted, batch=1).moments.count == 12
    assert len(set(seen)) == features.PROGRAMS + 1
    assert (10, 10, 3) in seen


def test_a_corrupt_picture_and_two_bombs_among_a_thousand(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = paint(tmp_path / "a", 1000, sides=(8,))
    (place / "0500.png").write_bytes((place / "0500.png").read_bytes()[:60])
    (place / "0501.png").write_bytes(claimed_png(30_000, 30_000))
    (place / "0502.png").write_bytes(claimed_png(9_500, 9_500))
    os.mkfifo(place / "1000.png")
    side = command.measure(str(place), network(), options(tmp_path))
    assert (side.gaussian.count, side.skipped) == (997, 3)
    for sentence in (
        "0500.png cannot be decoded",
        "0501.png is too large: wanted at most 89 million pixels",
        "0502.png is too large: wanted at most 89 million pixels",
    ):
        assert sentence in caplog.text
    assert not list((tmp_path / "cache").glob("*"))  # an incomplete set is not remembered


def test_statistics_are_remembered_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = paint(tmp_path / "a", 5)
    first = command.measure(str(place), network(), options(tmp_path)).gaussian
    place.rename(tmp_path / "renamed")
    monkeypatch.setattr(features, "measure", None)  # a second computation would fail
    again = command.measure(str(tmp_path / "renamed"), network(), options(tmp_path)).gaussian
    assert np.array_equal(first.covariance, again.covariance)
    assert again.count == 5
    with pytest.raises(TypeError):
        command.measure(str(tmp_path / "renamed"), network("another"), options(tmp_path))


def test_files_of_clean_fid_load(tmp_path: Path) -> None:
    mean, covariance = np.arange(6.0), np.eye(6)
    np.savez(tmp_path / "theirs.npz", mu=mean, sigma=covariance)
    loaded = fid.load(tmp_path / "theirs.npz")
    assert (loaded.network, loaded.count) == (None, None)
    assert np.array_equal(loaded.covariance, covariance)
    fid.save(tmp_path / "ours.npz", fid.Gaussian(mean, covariance, "net", 9))
    with np.load(tmp_path / "ours.npz") as file:
        assert np.array_equal(file["mu"], mean)
        assert np.array_equal(file["sigma"], covariance)


def test_command_prints_both_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    found = DistanceNetwork("inception", network())
    monkeypatch.setattr(distance_network, "load", lambda place: found)
    a, b = paint(tmp_path / "a", 9), paint(tmp_path / "b", 8, seed=1)
    command.main(options(tmp_path, str(a), str(b), kid=True, save=tmp_path / "a.npz"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("FID ")
    assert lines[1].startswith("KID ")
    assert lines[2] == "measured with the Inception of bundle demo"
    assert lines[3:5] == [f"9 pictures in {a}", f"8 pictures in {b}"]
    assert lines[5].startswith("warning: a Fréchet distance of 8 pictures is biased")
    command.main(options(tmp_path, str(a), str(tmp_path / "a.npz")))
    printed = capsys.readouterr().out
    assert abs(float(printed.split()[1])) < 1e-6  # the set against its own file


def test_two_folders_are_measured_by_default(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """With the embedded bundle, which has no Inception, from another folder."""
    a, b = paint(tmp_path / "a", 5, sides=(64, 80)), paint(tmp_path / "b", 4, seed=1)
    call(command.main, [str(a), str(b), "--cache", str(tmp_path / "cache"), "--kid"])
    lines = capsys.readouterr().out.splitlines()
    assert float(lines[0].removeprefix("Fréchet distance ")) > 0
    assert lines[1].startswith("kernel distance ")
    assert "feature network of bundle demo, which has no Inception: no FID" in lines[2]
    assert lines[3:5] == [f"5 pictures in {a}", f"4 pictures in {b}"]
    assert "warning: a Fréchet distance of 4 pictures" in lines[5]
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2


def test_a_bundle_without_any_network_for_it_says_so(tmp_path: Path) -> None:
    place = bundle.find(score_world.write(tmp_path / "tiny"))
    with pytest.raises(UserError, match="no network to measure distances with: make it with"):
        distance_network.load(place)
    assert distance_network.part_of(place) is None


def test_features_resize_as_inception_does() -> None:
    """A picture that is resized on the host, as those of many sizes are, has the same features."""
    found = distance_network.load(bundle.find(bundle.DEFAULT))
    assert (found.part, found.is_inception) == ("features", False)
    extract, size = found.extractor.extract, found.extractor.size
    picture = np.random.RandomState(0).randint(0, 256, (90, 70, 3), np.uint8)
    here = features._resized_on_host(picture, size)
    ours, theirs = (extract(found.extractor.model, p[None]) for p in (picture, here))
    assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_help_has_an_example_a_line_and_needs_no_jax() -> None:
    told = "import sys; from emojax.runtime.cli import call; from emojax import fid\n"
    told += "try: call(fid.main, ['--help'])\nexcept SystemExit: print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == "False", done.stderr
    examples = [line.strip() for line in lines if line.strip().startswith("emojax fid ")]
    assert len(examples) == 3
    assert examples[0] == "emojax fid results/ originals/"


class Painted(tfds.core.GeneratorBasedBuilder):
    """Seven pictures, written without TensorFlow."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = tfds.core.Path(__file__)  # finding it needs importlib_resources

    def _info(self) -> tfds.core.DatasetInfo:
        picture = tfds.features.Image(shape=(None, None, 3))
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"image": picture})
        )

    def _split_generators(self, dl_manager: object) -> dict:
        return {"test": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict]]:
        rng = np.random.RandomState(3)
        for i in range(7):
            file = io.BytesIO()
            Image.fromarray(rng.randint(0, 256, (16, 18, 3), np.uint8)).save(file, "png")
            file.seek(0)
            yield i, {"image": file}


def test_a_tfds_data_set_and_its_folder_agree(tmp_path: Path) -> None:
    Painted(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    place = paint(tmp_path / "a", 7, seed=3)
    chosen = options(tmp_path, data_dir=tmp_path)
    ours, theirs = (
        command.measure(where, network(), chosen).gaussian
        for where in (str(place), "tfds:painted:test")
    )
    assert theirs.count == 7
    assert np.allclose(ours.covariance, theirs.covariance, rtol=1e-9, atol=1e-12)
    with pytest.raises(UserError, match="tfds:absent:test cannot be opened"):
        command.measure("tfds:absent:test", network(), chosen)


HOST = """
import sys, jax, numpy as np
jax.distributed.initialize(f"localhost:{sys.argv[1]}", 2, int(sys.argv[2]))
from emojax.metrics import fid
rows = np.random.RandomState(0).standard_normal((31, 6)) + 5
for parts in ((rows[::2], rows[1::2]), (None, rows)):
    part = parts[jax.process_index()]
    merged = fid.merge_hosts(None if part is None else fid.Moments.of(part))
    assert merged.count == 31
    assert np.allclose(merged.mean, rows.mean(0), rtol=1e-12, atol=0)
    covariance = merged.gaussian().covariance
    assert np.allclose(covariance, np.cov(rows, rowvar=False), rtol=1e-12, atol=1e-14)
"""


def test_hosts_merge_in_float64() -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", HOST, str(port), str(host)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XLA_FLAGS": ""},
        )
        for host in range(2)
    ]
    errors = [host.communicate(timeout=300)[1] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], errors


def test_bad_input_is_told_in_a_sentence(tmp_path: Path) -> None:
    one = paint(tmp_path / "one", 1)
    (tmp_path / "none").mkdir()
    fid.save(tmp_path / "other.npz", fid.Gaussian(np.zeros(6), np.eye(6), "another", 3))
    np.savez(tmp_path / "odd.npz", x=np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not really")
    for place, sentence in [
        (one, "has 1 readable pictures of 1: a distance needs at least 2"),
        (tmp_path / "none", "holds no pictures"),
        (tmp_path / "other.npz", "statistics of network another, this one is colours"),
        (tmp_path / "odd.npz", "it has no 'mu', it holds x"),
        (tmp_path / "broken.npz", "broken.npz is not a readable statistics file"),
        (tmp_path / "missing.npz", "no file .*missing.npz"),
    ]:
        with pytest.raises(UserError, match=sentence):
            command.measure(str(place), network(), options(tmp_path))
    for place, change, sentence in [
        (tmp_path / "absent", {}, "no folder .*absent: wanted a folder"),
        ("tfds:celeb_a", {}, "is not tfds:NAME:SPLIT"),
        (tmp_path / "other.npz", {"kid": True}, "--kid needs pictures on both sides"),
        (one, {"batch": 0}, "--batch is 0, wanted 1 or more"),
        (one, {"bundle": "nowhere"}, "no bundle 'nowhere'"),
    ]:
        with pytest.raises(UserError, match=sentence):  # before any network is loaded
            command.main(options(tmp_path, str(one), str(place), **change))
    with pytest.raises(UserError, match="64 and 6 features: they come from different networks"):
        fid.frechet_distance(
            fid.Gaussian(np.zeros(64), np.eye(64)), fid.Gaussian(np.zeros(6), np.eye(6))
        )
    with pytest.raises(UserError, match="different networks"):
        fid.frechet_distance(
            fid.Gaussian(np.zeros(6), np.eye(6), "one"), fid.Gaussian(np.zeros(6), np.eye(6), "two")
        )
