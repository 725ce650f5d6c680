"""Files that are neither checkpoints nor pictures, made to deceive: one sentence for each."""

import contextlib
import io
import json
import lzma
import os
import resource
import shutil
import time
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emojax.latents.codes import Inversion
from emojax.latents.directions import Directions
from emojax.metrics import fid
from emojax.runtime.errors import UserError
from emojax.store.reader.npz import write_npz
from tests.support.file_loaders import LOADERS

ARRAYS = [name for name, loader in LOADERS.items() if loader.name.endswith(".npz")]
TEXTS = [name for name in LOADERS if name not in ARRAYS]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Write an honest file of every kind; return the folders by kind."""
    found = {}
    for name, loader in LOADERS.items():
        found[name] = tmp_path_factory.mktemp("honest")
        loader.write(found[name])
        loader.load(found[name])
    return found


def refuse(kind, folder):
    """Load a file that must be refused in one printable line, soon and in little memory."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    with pytest.raises(UserError) as error:
        LOADERS[kind].load(folder)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert str(error.value).isprintable()
    assert len(str(error.value)) <= 300
    assert time.process_time() - start < 5
    assert (after.ru_maxrss - before.ru_maxrss) * 1024 < 2**28
    return str(error.value)


def replaced(honest, kind, tmp_path, data):
    """Copy the honest folder of a kind, with other contents of its file."""
    folder = shutil.copytree(honest[kind], tmp_path / "folder")
    (folder / LOADERS[kind].name).write_bytes(data)
    return folder


def npz(**arrays):
    stream = io.BytesIO()
    write_npz(stream, {name: np.asarray(array) for name, array in arrays.items()})
    return stream.getvalue()


def zipped(data, method=zipfile.ZIP_DEFLATED, name="w_plus.npy"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def claiming(shape, dtype="<f4"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".ljust(118) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


HOSTILE = {
    "nothing": b"",
    "a zip of nothing": b"PK\x05\x06" + bytes(18),
    "noise": bytes(range(256)) * 4,
    "text": b"\x1b[2J\n" * 100,
    "lzma": lzma.compress(b"{}"),
    "a zip by lzma": zipped(claiming("(1,)") + bytes(4), zipfile.ZIP_LZMA),
    "a claim of terabytes": zipped(claiming("(10000000000000,)")),
    "a claim of nothing a thousand million times": zipped(claiming("(1000000000,)", "|V0")),
    "objects": zipped(claiming("(1,)", "|O") + b"cos\nsystem\n(S'true'\ntR."),
    "no arrays": npz(),
    "a header of brackets": zipped(b"\x93NUMPY\x01\x00\x70\x17" + b"(" * 6000),
    "deep JSON": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "many lists": b"[" + b"[]," * 3_000_000 + b"[]]",
    "a number of a million digits": b"9" * 1_000_000,
    "null": b"null",
    "a list": b"[1]",
    "no UTF-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_contents_are_refused(honest, tmp_path, kind, name):
    refuse(kind, replaced(honest, kind, tmp_path, HOSTILE[name]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("kind", LOADERS)
def test_a_named_pipe_does_not_hang(honest, tmp_path, kind):
    folder = shutil.copytree(honest[kind], tmp_path / "folder")
    (folder / LOADERS[kind].name).unlink()
    os.mkfifo(folder / LOADERS[kind].name)
    refuse(kind, folder)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
@pytest.mark.parametrize("kind", LOADERS)
def test_any_change_of_some_bytes_is_refused_or_read(honest, tmp_path, kind, data):
    """JSON may change and stay valid; arrays carry checksums."""
    folder, whole = honest[kind], (honest[kind] / LOADERS[kind].name).read_bytes()
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(changed)) | st.just(len(changed)))
    target = folder / LOADERS[kind].name
    target.write_bytes(changed[:cut])
    with contextlib.suppress(UserError):  # of one printable line: tests/runtime/test_errors.py
        LOADERS[kind].load(folder)
    target.write_bytes(whole)


def stored(honest, kind):
    with np.load(honest[kind] / LOADERS[kind].name) as found:
        return {name: found[name] for name in found}


BAD_VALUES = {
    "NaN": lambda array: np.full(array.shape, np.nan, array.dtype),
    "complex": lambda array: array.astype(complex),
    "text": lambda array: array.astype(str),
    "truths": lambda array: array.astype(bool),
    "one more axis": lambda array: array[None],
    "one row less": lambda array: array[:-1],
}


@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("inversion", "w_plus"),
        ("inversion", "vectors"),
        ("directions", "coefficients"),
        ("directions", "intercepts"),
        ("directions", "sigma"),
        ("directions", "usable"),
        ("statistics", "mu"),
        ("statistics", "sigma"),
        ("scores", "codes"),
        ("scores", "probabilities"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(honest, tmp_path, kind, name, value):
    arrays = stored(honest, kind)
    arrays[name] = BAD_VALUES[value](arrays[name])
    if (kind, value) == ("scores", "one row less"):
        arrays.pop("about")
    if kind == "inversion" and name == "w_plus" and value == "one row less":
        arrays[name] = np.concatenate([arrays[name]] * 3)  # with one, the vectors are shared
    if (kind, name, value) == ("inversion", "vectors", "one row less"):
        arrays[name] = arrays[name][:0]
    refuse(kind, replaced(honest, kind, tmp_path, npz(**arrays)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda sigma: sigma + np.triu(np.ones((3, 3)), 1), "sigma is not symmetric"),
        (lambda sigma: sigma - 3 * np.eye(3), "sigma is no covariance: it has a negative"),
        (lambda sigma: -sigma, "sigma is no covariance"),
    ],
)
def test_matrices_that_are_no_covariance(honest, tmp_path, change, sentence):
    arrays = stored(honest, "statistics")
    arrays["sigma"] = change(arrays["sigma"])
    said = refuse("statistics", replaced(honest, "statistics", tmp_path, npz(**arrays)))
    assert sentence in said


def test_honest_covariances_are_accepted(tmp_path):
    """Of fewer pictures than features, in float32, and of equal pictures."""
    features = np.random.default_rng(0).standard_normal((9, 40))
    for number, some in enumerate((features, np.ones((5, 40)), features * 1e-9)):
        gaussian = fid.Moments.of(some).gaussian()
        fid.save(tmp_path / f"{number}.npz", gaussian)
        assert fid.load(tmp_path / f"{number}.npz").count == len(some)
        single = gaussian.covariance.astype(np.float32)
        (tmp_path / "single.npz").write_bytes(npz(mu=gaussian.mean, sigma=single))
        assert fid.load(tmp_path / "single.npz").count is None


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"passes": 5},
        {"passes": "5", "method": "hyperstyle", "made_with": "a"},
        {"passes": 5, "method": "psp", "made_with": "a"},
        {"passes": 10**9, "method": "hyperstyle", "made_with": "a"},
        {"passes": 5, "method": "magic", "made_with": "a"},
        {"passes": 5, "method": "hyperstyle", "made_with": ["a"]},
        {"passes": 5, "method": "hyperstyle", "made_with": "a", "more": 1},
        [[[[]]]],
    ],
)
def test_inversions_that_say_odd_things_of_themselves(honest, tmp_path, about):
    arrays = {**stored(honest, "inversion"), "about": json.dumps(about)}
    folder = replaced(honest, "inversion", tmp_path, npz(**arrays))
    with pytest.raises(UserError, match=r"face\.npz is not an inversion \(.*\): wanted a \.npz"):
        Inversion.load(folder / "face.npz")


def test_compressed_inversions_are_read(honest, tmp_path):
    """As `np.savez_compressed` writes them."""
    np.savez_compressed(tmp_path / "face.npz", **stored(honest, "inversion"))
    assert len(Inversion.load(tmp_path / "face.npz")) == 2


@pytest.mark.parametrize("name", ["", "a" * 61, "a\nb", "\x1b[31m", "Upper"])
def test_names_of_directions_that_a_terminal_would_act_on(honest, tmp_path, name):
    arrays = {**stored(honest, "directions"), "names": np.array(["anger", name])}
    (tmp_path / "d.npz").write_bytes(npz(**arrays))
    with pytest.raises(UserError, match=r"names are .*printable characters"):
        Directions.load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    "faces",
    [
        5,
        [5],
        [[5]],
        [[["1", "2"]] * 5],
        [[[True, False]] * 5],
        [[[1, 2, 3]] * 5],
        [[[1, 2]] * 4],
        [[[1e300, 1]] * 5],
        [[[[1, 2]]] * 5],
        {"a": [[1, 2]] * 5},
    ],
)
def test_points_that_are_no_landmarks(honest, tmp_path, faces):
    data = json.dumps({"a.jpg": faces}).encode()
    said = refuse("landmarks", replaced(honest, "landmarks", tmp_path, data))
    assert "is not a landmarks file" in said
