"""`emojax fetch`: from a set's table to a bundle, and every way in which that can stop."""

import fcntl
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from convert import fetch, published
from convert.fetch import Options
from emojax.__main__ import dispatch
from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError
from emojax.store import bundle, weights
from emojax.store.fingerprint import fingerprint
from emojax.store.parts import EMOTION, GENERATOR, PARTS
from tests.support import file_server, oracles, published_set, torch_file
from tests.support.file_server import FileServer, cut, page, serve, status
from tests.support.published_set import table

FILES = {"generator.pt": oracles.DATA / "files/ros_tiny.pt"}
FILES["emotion.pt"] = oracles.DATA / "files/hsemotion_tiny.pt"
HOLDS = {"generator.pt": "generator", "emotion.pt": "emotion"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for name, file in FILES.items():
        shutil.copy(file, folder / name)
    with FileServer(folder) as server:
        yield server


@pytest.fixture
def server(served, here, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("EMOJAX_MIRROR", raising=False)
    served.plan.clear()
    served.asked.clear()
    Path("tiny.toml").write_text(table(served, HOLDS))
    return served


def run(*flags, name="tiny.toml"):
    """Run the command and return its exit code."""
    flags = ("--accept-licences", "--retry-wait", "0", *flags)
    return run_command(lambda: dispatch(["fetch", name, *flags]))


def downloads(here):
    return here.parent / "home/checkpoints/.downloads"


def test_one_command_leaves_one_bundle_in_the_home(server, here, capsys):
    assert run() == 0
    said = capsys.readouterr()
    assert "a licence to test\n  generator.pt, 195 kB: a network to test" in said.out
    assert "\nuse it  --bundle tiny\n" in said.out
    assert said.out.endswith("&& emojax directions scores/ --bundle tiny\n")
    assert "generator.pt: whole, 195 kB in" in said.err
    assert "converting generator.pt\nconverting emotion.pt\n" in said.err
    made = bundle.find("tiny")
    assert made.folders == (here.parent / "home/checkpoints/tiny",)
    assert made.load(GENERATOR).config.channels
    for part, name in ((GENERATOR, "generator.pt"), (EMOTION, "emotion.pt")):
        source = made.metadata(part).source
        assert source["file"] == name
        assert source["sha256"] == hashlib.sha256(FILES[name].read_bytes()).hexdigest()
    assert sorted(os.listdir(downloads(here))) == [".accepted.json", ".lock"]
    assert os.listdir(here) == ["tiny.toml"]


def test_what_is_there_is_not_fetched_again(server, here, capsys):
    assert run("--parts", "emotion", "--keep") == 0
    assert (downloads(here) / "emotion.pt").is_file()
    server.asked.clear()
    assert run() == 0
    assert [path for path, _ in server.asked] == ["/generator.pt"]
    assert "there already: emotion" in capsys.readouterr().out
    server.asked.clear()
    assert run() == 0
    assert server.asked == []


def test_licences_are_asked_for_once(server, here, capsys, monkeypatch):
    assert run_command(lambda: fetch.main(Options(set="tiny.toml"))) == 2
    said = capsys.readouterr()
    assert "the licences above have to be accepted" in said.err
    assert "'emojax fetch tiny.toml --accept-licences'" in said.err
    assert "a licence to test" in said.out
    assert server.asked == []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    with pytest.raises(UserError, match="are not accepted: nothing was downloaded"):
        fetch.main(Options(set="tiny.toml"))
    monkeypatch.setattr("builtins.input", lambda _: "y")
    fetch.main(Options(set="tiny.toml", parts=("emotion",)))
    monkeypatch.setattr("builtins.input", None)  # not asked a second time
    fetch.main(Options(set="tiny.toml"))


def test_a_failure_keeps_the_others_and_says_how_to_go_on(server, here, capsys, tmp_path):
    server.plan["generator.pt"] = [page(file_server.QUOTA)]
    assert run() == 2
    said = capsys.readouterr().err.splitlines()[-4:]
    assert said == [
        "error: generator could not be had; the bundle has emotion",
        "  generator.pt: Google Drive's quota for this file is used up for now",
        f"    open {server.url}generator.pt in a browser",
        "  save what you download by hand in a folder, and go on with 'emojax fetch tiny.toml "
        "--from FOLDER'",
    ]
    assert bundle.find("tiny").has(EMOTION)
    server.plan["generator.pt"] = [status(404)]
    assert run("--from", str(tmp_path), "--mirror", server.url) == 2
    said = capsys.readouterr().err
    assert "error: generator could not be had\n" in said
    words = f"--mirror {server.url} --from {tmp_path}"
    assert f"by hand in {tmp_path}, and go on with 'emojax fetch tiny.toml {words}'\n" in said
    shutil.copy(FILES["generator.pt"], tmp_path / "download(1)")
    server.asked.clear()
    assert run("--from", str(tmp_path)) == 0
    assert server.asked == []
    assert bundle.find("tiny").has(GENERATOR)


def test_other_contents_than_published_are_deleted(server, here, capsys):
    Path("swapped.toml").write_text(table(server, {"generator.pt": "emotion", "emotion.pt": "psp"}))
    assert run(name="swapped.toml") == 2
    said = capsys.readouterr().err
    assert "generator.pt: it holds a StyleGAN2 generator, wanted an emotion classifier" in said
    assert "it is deleted" in said
    assert sorted(os.listdir(downloads(here))) == [".accepted.json", ".lock"]
    assert not bundle.look_up("swapped").folders


def test_a_wrong_hash_is_noticed_before_conversion(server, here, capsys):
    server.plan["generator.pt"] = [serve(flip=1000)]
    assert run("--parts", "generator") == 2
    assert "was damaged or replaced on its way, and is deleted" in capsys.readouterr().err
    assert not bundle.look_up("tiny").folders
    assert run("--parts", "generator") == 0


def test_a_mirror_by_flag_and_by_variable(server, here, capsys):
    text = table(server, HOLDS).replace(server.url, "https://authors.invalid/")
    Path("far.toml").write_text(text)
    assert run("--mirror", server.url, "--parts", "emotion", name="far.toml") == 0
    line = [sys.executable, "-m", "emojax", "fetch", "far.toml", "--accept-licences"]
    environment = {**os.environ, "EMOJAX_MIRROR": server.url.rstrip("/")}
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path for path, _ in server.asked] == ["/emotion.pt", "/generator.pt"]


def test_files_on_the_disk_are_told_by_their_contents(server, here, tmp_path, capsys):
    shutil.copy(FILES["generator.pt"], tmp_path / "b.bin")
    shutil.copy(FILES["emotion.pt"], tmp_path / "a")
    (tmp_path / "holiday.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "psp_ffhq_encode.pt").write_text(file_server.QUOTA)
    (tmp_path / "folder.pt").mkdir()
    torch_file.write(tmp_path / "other.pt", {"weights": 1})
    torch_file.write(tmp_path / "\x1b[31m.pt", {"weights": 1})
    assert run("--from", str(tmp_path), "--offline") == 0
    assert server.asked == []
    said = capsys.readouterr().err
    assert f"not taken: {tmp_path}/psp_ffhq_encode.pt is a web page, not a published file" in said
    assert "(Google Drive's quota for this file is used up for now)" in said
    assert f"not taken: {tmp_path}/other.pt holds no network that is known" in said
    assert "\x1b" not in said
    assert "holiday" not in said
    assert {*os.listdir(tmp_path)} >= {"a", "b.bin"}  # the user's own files stay
    assert bundle.find("tiny").metadata(GENERATOR).source["file"] == "b.bin"


def test_two_files_for_one_part(server, here, tmp_path, capsys):
    shutil.copy(FILES["emotion.pt"], tmp_path / "a")
    shutil.copy(oracles.DATA / "files/hsemotion_tiny_timm067.pt", tmp_path / "b")
    flags = ("--from", str(tmp_path), "--offline", "--parts", "emotion")
    assert run(*flags) == 2
    assert "a and " in (said := capsys.readouterr().err)
    assert "both hold an emotion classifier" in said
    shutil.copy(tmp_path / "a", tmp_path / "emotion.pt")
    assert run(*flags) == 0


def test_a_hash_holds_for_files_on_the_disk_too(server, here, tmp_path, capsys):
    shutil.copy(oracles.DATA / "files/hsemotion_tiny_timm067.pt", tmp_path / "b")
    assert run("--from", str(tmp_path), "--parts", "emotion") == 2
    assert "but its SHA-256 begins with" in capsys.readouterr().err


def test_offline_says_what_is_not_there(server, here, capsys):
    assert run("--offline") == 2
    said = capsys.readouterr().err
    assert "--offline, and generator.pt, emotion.pt not found: give --from FOLDER" in said


def test_another_file_of_a_part_replaces_it(server, here):
    shutil.copy(oracles.DATA / "files/hsemotion_tiny_timm067.pt", server.folder / "other.pt")
    text = table(server, {**HOLDS, "other.pt": "emotion"})
    Path("three.toml").write_text(text)
    assert run("--parts", "emotion", name="three.toml") == 0
    assert bundle.find("three").metadata(EMOTION).source["file"] == "emotion.pt"
    assert run("--parts", "emotion", "--files", "other.pt", name="three.toml") == 0
    assert bundle.find("three").metadata(EMOTION).source["file"] == "other.pt"
    server.asked.clear()
    assert run("--parts", "emotion", "--files", "other.pt", name="three.toml") == 0
    assert server.asked == []


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--jobs", "0"], "--jobs is 0, wanted 1 or more"),
        (["--retries", "-1"], "--retries is -1, wanted 0 or more"),
        (["--retry-wait", "-1"], "--retry-wait is -1.0"),
        (["--mirror", "ftp://x"], "--mirror is 'ftp://x', wanted an http(s) address"),
        (["--from", "nowhere"], "no folder nowhere"),
        (["--parts", "gan"], "--parts has 'gan': wanted generator, emotion"),
        (["--files", "gan.pt"], "--files has 'gan.pt': wanted generator.pt, emotion.pt"),
        (["--name", "demo"], "demo is the embedded bundle"),
    ],
)
def test_flags_are_checked_first(server, here, capsys, flags, sentence):
    assert run(*flags) == 2
    assert sentence in capsys.readouterr().err
    assert server.asked == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("name = ", "nom = "), "KeyError('name')"),
        (('"generator.pt"', '"../generator.pt"'), "is not the name of a file"),
        (('"generator"', '"gan"'), "holds is 'gan', wanted generator, stylegan1, pggan"),
        (("http://", "file://"), "is not an address"),
        (('sha256 = "', 'sha256 = "x'), "sha256 is not hexadecimal"),
        (("[licences]", "[licences"), "TOMLDecodeError"),
        (('"mine"', "3"), "licence must be text"),
    ],
)
def test_a_table_of_another_form_is_refused(server, here, change, sentence):
    Path("bad.toml").write_text(table(server, HOLDS).replace(*change))
    with pytest.raises(UserError) as caught:
        published.read("bad.toml")
    assert sentence in str(caught.value)
    assert "wanted the form of" in str(caught.value)


def test_the_ffhq_set_has_a_file_for_every_published_part(capsys):
    found = published.read("ffhq")
    chosen = found.chosen((), ())
    named = published_set.NAMES | published_set.MEASURING
    assert {file.parts[0]: file.name for file in chosen} == named
    asked = [part.name for part in PARTS.values() if part.converter and part.fetched]
    every = found.chosen(asked, ())
    assert [file.name for file in every if file not in chosen] == ["ckpt.pt"]  # only if asked for
    assert found.chosen((), ("ckpt.pt",)) == every
    chosen = every
    assert [file.name for file in found.chosen((), ("e4e_ffhq_encode.pt",))][1] == (
        "e4e_ffhq_encode.pt"
    )
    assert [f.parts[0] for f in found.chosen(("w_encoder",), ())] == ["hyperstyle", "w_encoder"]
    with pytest.raises(UserError, match="are both for the part psp: wanted one of them"):
        found.chosen((), ("e4e_ffhq_encode.pt", "psp_ffhq_encode.pt"))
    fetch.main(Options(set="ffhq", list=True))
    said = capsys.readouterr().out
    for file in found.files:
        assert file.name in said
        assert file.address in said
    page = (Path(fetch.__file__).parents[1] / "docs/weights.md").read_text()
    for file in found.files:
        assert f"`{file.name}`" in page
    for file in chosen:
        assert f"({file.address})" in page


def test_a_set_that_does_not_exist(capsys):
    assert run(name="afhq") == 2
    assert "no published set 'afhq': wanted ffhq, or a .toml file" in capsys.readouterr().err


def test_two_runs_do_not_write_to_one_file(server, here, capsys):
    folder = downloads(here)
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run() == 2
    assert "another process is downloading in" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(server, here, capsys):
    (downloads(here) / ".lock").mkdir(parents=True)
    assert run() == 2
    assert "cannot write into" in capsys.readouterr().err


def test_a_small_disk_is_noticed_at_once(server, here, capsys):
    huge = {"emotion": {"about_bytes": 10**16}}
    Path("huge.toml").write_text(table(server, HOLDS, **huge))
    assert run(name="huge.toml") == 2
    assert "GB free, wanted 21000000.0: make room, or set EMOJAX_HOME" in capsys.readouterr().err


def _started(server, *more):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    line = [sys.executable, "-m", "emojax", "fetch", "tiny.toml", "--accept-licences", *more]
    return subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)


def _slow(handler, file):
    """Send a part of a file, and then nothing for a long time."""
    handler.head(200, file.stat().st_size, ETag='"one"')
    handler.wfile.write(file.read_bytes()[:131_072])
    handler.wfile.flush()
    time.sleep(20)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on(server, here, how):
    server.plan["generator.pt"] = [_slow]
    process = _started(server)
    part = downloads(here) / "generator.pt.part"
    while process.poll() is None and not (part.is_file() and part.stat().st_size == 131_072):
        time.sleep(0.02)
    process.send_signal(how)
    said = process.communicate(timeout=20)[1]
    if how == signal.SIGINT:
        assert said.endswith(
            "what has arrived is kept: 'emojax fetch tiny.toml' goes on\nstopped\n"
        )
        assert process.returncode == 130
    server.asked.clear()
    assert run() == 0
    assert ("/generator.pt", "bytes=131072-") in server.asked
    assert bundle.find("tiny").has(GENERATOR)


@pytest.mark.slow
def test_the_six_files_cut_ten_times_at_random_end_in_a_verified_bundle(
    tmp_path, here, monkeypatch
):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    files = published_set.small(tmp_path / "served")
    holds = {path.name: part for part, path in files.items()} | {files["psp"].name: "psp_w"}
    drawn = random.Random(0)
    with FileServer(tmp_path / "served") as server:
        for _ in range(10):
            path = drawn.choice([*files.values()])
            server.plan.setdefault(path.name, []).append(
                cut(drawn.randrange(path.stat().st_size // 4))
            )
        server.plan.setdefault(files["psp"].name, []).append(status(503))
        server.plan.setdefault(files["w_encoder"].name, []).append(file_server.confirmation)
        Path("six.toml").write_text(table(server, holds))
        assert run("--name", "ffhq", name="six.toml") == 0
    made = bundle.find("ffhq")
    for part, path in files.items():
        stored = made.metadata(PARTS[part])
        assert stored.source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        held = weights.read(made.folder(PARTS[part]) / "weights")
        assert fingerprint(held) == stored.weights_sha256
