"""`emojax evaluate`: resumed runs, and a table whose values are computed again step by step."""

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from emojax import evaluate
from emojax.demo import truth
from emojax.evaluation import aggregate, ground_truth, inputs
from emojax.evaluation import setup as evaluation
from emojax.evaluation import table as evaluation_table
from emojax.evaluation.ground_truth import LabelledFaces
from emojax.faces import images
from emojax.latents import directions as direction_files
from emojax.latents import inversion, normalisers
from emojax.metrics import comparison, distance_network, fid
from emojax.metrics.emotion_score import emotion_score
from emojax.models.efficientnet import EmotionNet
from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError
from emojax.scoring import classifier
from emojax.store import bundle
from emojax.store.block_store import BlockStore
from emojax.store.parts import EMOTION, FEATURES, PARTS
from tests.support import small_world
from tests.support.pictures import noise

SIDE = 128  # of the small generator
EMOTIONS = ("fear", "happiness")
ATTRIBUTES = ("chin", "hair", "nose", "smile")
SAMPLES = 3


class NoisePeople:
    """People of noise, and the same ones overlaid with an expression."""

    attributes = ATTRIBUTES
    identity = ATTRIBUTES[:3]
    fingerprint = "noise"

    def people(self, ids):
        pictures = np.concatenate([noise(f"person {i}", 1, SIDE) for i in ids])
        values = np.stack([np.random.default_rng(i).uniform(-1, 1, 4) for i in map(int, ids)])
        return LabelledFaces(images.to_uint8(pictures), values.astype(np.float32))

    def targets(self, emotion, count=1):
        names = [f"target {emotion}", *(f"target {emotion} {i}" for i in range(1, count))]
        return images.to_uint8(np.concatenate([noise(name, 1, SIDE) for name in names]))

    def transferred(self, ids, emotion):
        pictures, values = self.people(ids)
        mixed = (pictures.astype(int) + self.targets(emotion)[0]) // 2
        return LabelledFaces(mixed.astype(np.uint8), values * np.array([1, 1, 1, -1], np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The small bundle with networks for distances and attributes."""
    folder = small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "small")
    small_world.write_features(folder)
    config = dataclasses.replace(small_world.EMOTION, classes=ATTRIBUTES)
    bundle.save(folder, PARTS["attributes"], config, small_world.table(EmotionNet, config, 7), {})
    small_world.write_comparing(folder)
    named = {ground_truth.SOURCES: "emojax.demo.truth:sources"}
    (folder / ground_truth.FILE).write_text(json.dumps(named))
    return folder


def noise_people(bundle, side, *, name, seed):
    return NoisePeople()


@pytest.fixture(autouse=True)
def _people(monkeypatch):
    """Let the bundle's people be those of noise."""
    monkeypatch.setattr(ground_truth, "load", noise_people)


def options(folder, out, **changes):
    common = {"samples": SAMPLES, "block": 2, "batch": 2, "passes": 2, "emotions": EMOTIONS}
    return evaluate.Options(bundle=str(folder), out=out, **{**common, **changes})


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A whole evaluation, and what it printed is left aside."""
    out = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ground_truth, "load", noise_people)
        evaluate.main(options(folder, out))
    return out


def rows_of(out):
    table = evaluation_table.read(out)
    return {row[:3]: row.values for row in table.rows}


def test_every_row_is_there_with_its_files(run):
    rows = rows_of(run)
    results = ("reinvert", "none", "subspace", "means")
    wanted = {("", "truth", each) for each in ("all", *EMOTIONS)}
    for inverter in ("psp", "hyperstyle"):
        wanted.add((inverter, "original", "all"))
        wanted |= {(inverter, name, each) for name in results for each in ("all", *EMOTIONS)}
    assert set(rows) == wanted
    for (_, result, target), values in rows.items():
        assert {"emotion_score", "emotion_score_log", "top1", "frechet", "kernel"} <= set(values)
        alike = {"l2", "psnr", "lpips", "identity"}  # no MS-SSIM: 128 pixels are too few
        assert alike & set(values) == (alike if result != "truth" else set())
        assert ("seconds" in values) == (result != "truth")
        assert values["attribute_error"] > 0
        assert all(np.isfinite(list(values.values()))), (result, target)
    with open(run / "table.csv", newline="") as stream:
        written = list(csv.DictReader(stream))
    assert len(written) == len(wanted)
    first = next(row for row in written if row["result"] == "none")
    assert float(first["psnr"]) == rows[first["inverter"], "none", "all"]["psnr"]
    text = (run / "table.md").read_text()
    assert "| psp        | subspace" in text
    assert "Fréchet distance (features)" in text
    assert "no FID" in text
    assert "| L2 " in text
    assert "| LPIPS | identity similarity |" in text
    assert "the true picture" in text
    shown = {f"target_{e}_0{i}.png" for e in EMOTIONS for i in (1, 2, 3)}  # a person a source
    assert {file.name for file in run.glob("*.png")} == shown
    assert "3 target people for each" in text
    assert "Paired differences" in text


def test_a_row_is_what_the_parts_make_of_it(run, folder):
    """The same arithmetic step by step, in batches of other sizes: a grey level may round apart."""
    inverter, known = inversion.load(bundle.find(folder), "psp"), NoisePeople()
    judge, measurer = (bundle.find(folder).load(part) for part in (EMOTION, FEATURES))
    people, targets = known.people(range(SAMPLES)), known.targets("fear", SAMPLES)
    seen = np.stack([images.resize(each, 64) for each in (*people.pictures, *targets)])
    found = inversion.invert(inverter, images.to_float(seen), batch=2)
    done = normalisers.transfer(
        inverter, small_world.directions(), found[:SAMPLES], found[SAMPLES:], normaliser="none"
    )
    results = images.to_uint8(inversion.synthesize(inverter, done.result, batch=2))
    values = rows_of(run)["psp", "none", "fear"]
    logits = classifier.classify(judge, np.concatenate([results, targets])).logits
    score = emotion_score(logits[:SAMPLES], logits[SAMPLES:])
    assert values["emotion_score"] == pytest.approx(score.softmax.mean(), abs=2e-3)
    assert values["emotion_score_log"] == pytest.approx(score.log.mean(), abs=2e-3)
    right = logits[:SAMPLES].argmax(1) == classifier.index(judge, "fear")
    assert values["top1"] == pytest.approx(right.mean())
    true = known.transferred(range(SAMPLES), "fear").pictures
    square = np.square((results.astype(float) - true) / 255).mean((1, 2, 3))
    assert values["psnr"] == pytest.approx(np.mean(-10 * np.log10(square)), abs=1e-2)
    alike = comparison.compare(comparison.load(bundle.find(folder)), results, true, batch=1)
    for name in ("l2", "lpips", "identity"):
        assert values[name] == pytest.approx(alike[name].mean(), rel=2e-2), name

    def gaussian(pictures):
        said = distance_network.pooled_features(measurer, pictures)
        return fid.Moments.of(said).gaussian()

    distance = fid.frechet_distance(gaussian(results), gaussian(people.pictures))
    assert distance > 0
    assert values["frechet"] == pytest.approx(distance, rel=2e-2)
    both = [rows_of(run)["psp", "none", name]["top1"] for name in EMOTIONS]
    assert rows_of(run)["psp", "none", "all"]["top1"] == pytest.approx(np.mean(both))


def test_a_run_goes_on_where_it_stopped(run, folder, tmp_path, capsys):
    out = shutil.copytree(run, tmp_path / "out")
    (lost,) = out.glob("psp-*/none/00001.npz")
    lost.unlink()
    kept = {file: file.stat().st_mtime_ns for file in out.rglob("*.npz")}
    evaluate.main(options(folder, out, inverters=("psp",), normalisers=("none",)))
    assert lost.is_file()
    assert kept == {file: file.stat().st_mtime_ns for file in kept}
    before, after = rows_of(run), rows_of(out)
    assert len(after) == 3 + 1 + 3  # truth, original, none
    for name, values in after.items():
        for key in set(values) - {"seconds"}:
            assert values[key] == pytest.approx(before[name][key], rel=1e-6, abs=1e-9), name
    assert "| psp      | none" in capsys.readouterr().out


def test_targets_survive_an_interruption_as_sources_do(run, folder, tmp_path):
    out = shutil.copytree(run, tmp_path / "out")
    lost = ["targets/original/00001.npz", "targets/reinvert/00000.npz", "reinvert/00001.npz"]
    lost = [next(out.glob(f"hyperstyle-*/{name}")) for name in lost]
    for file in lost:
        file.unlink()
    kept = {file: file.stat().st_mtime_ns for file in out.rglob("*.npz")}
    assert sum("targets" in file.parts for file in kept) > 10
    chosen = {"inverters": ("hyperstyle",), "normalisers": ("reinvert", "means")}
    evaluate.main(options(folder, out, **chosen))
    assert kept == {file: file.stat().st_mtime_ns for file in kept}
    for file in lost:
        with np.load(file) as found, np.load(run / file.relative_to(out)) as before:
            assert found.files == before.files
            for name in found.files:
                if "seconds" not in name:
                    np.testing.assert_array_equal(found[name], before[name], err_msg=str(file))


def test_a_complete_run_needs_no_targets(run, folder, tmp_path):
    """As one of an earlier release, which kept none."""
    out = shutil.copytree(run, tmp_path / "out")
    for targets in out.glob("*/targets"):
        shutil.rmtree(targets)
    evaluate.main(options(folder, out))
    assert not list(out.glob("*/targets"))
    assert rows_of(out) == rows_of(run)


def test_another_runs_folder_is_refused(run, folder):
    sentence = r"results of another run \(samples 3, now 2, targets .*\): give"
    with pytest.raises(UserError, match=sentence):
        evaluate.main(options(folder, run, samples=2))


def test_a_damaged_block_is_named_and_made_again(run, folder, tmp_path):
    out = shutil.copytree(run, tmp_path / "out")
    (file,) = out.glob("psp-*/none/00001.npz")
    with np.load(file) as stored:
        whole = dict(stored)
    file.write_bytes(file.read_bytes()[:-100])
    store = BlockStore(out, SAMPLES, 2)
    part = file.parent.relative_to(out).as_posix()
    with pytest.raises(UserError, match=r"00001\.npz is not a sound block .*: give the same comm"):
        store.read_block(part, 1)
    evaluate.main(options(folder, out, inverters=("psp",), normalisers=("none",)))
    for name, array in store.read_block(part, 1).items():
        if "seconds" not in name:
            np.testing.assert_array_equal(array, whole[name])
    other = file.with_name("00000.npz")
    other.write_bytes(file.read_bytes())
    with pytest.raises(UserError, match=r"00000\.npz .*it is the file of another block"):
        store.read_block(part, 0)


def test_a_folder_has_its_own_targets_and_no_truth(folder, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    pictures = NoisePeople().people(range(SAMPLES)).pictures
    for index, picture in enumerate(pictures):
        images.write(faces / f"{index}.png", picture)
    chosen = options(
        folder, tmp_path / "out", sources=faces, inverters=("psp",), normalisers=("none",)
    )
    evaluate.main(chosen)
    rows = rows_of(tmp_path / "out")
    assert set(rows) == {("psp", "original", "all")} | {
        ("psp", "none", each) for each in ("all", *EMOTIONS)
    }
    assert "attribute_error" not in rows["psp", "none", "all"]
    judge = bundle.find(folder).load(EMOTION)
    said = classifier.classify(judge, pictures).probabilities
    for name in EMOTIONS:
        best = said[:, classifier.index(judge, name)].argmax()
        shown = images.read(tmp_path / "out" / f"target_{name}.png")
        np.testing.assert_array_equal(shown, pictures[best])


def test_only_attributes_that_the_regressor_predicts_count():
    rng = np.random.default_rng(0)
    true = rng.uniform(-1, 1, (500, 2, 4))
    predicted = true + rng.normal(0, 0.1, true.shape)
    predicted[..., 1] = 0  # the same for every face
    found = aggregate.criteria(predicted, true, np.array([True, True, True, False]))
    assert found.identity.tolist() == [True, False, True, False]
    assert found.expression.tolist() == [False, False, False, True]
    np.testing.assert_allclose(found.tolerance[[0, 2, 3]], 0.2, rtol=0.1)


def test_inceptions_distance_is_called_fid():
    assert evaluation_table.titles("inception")["frechet"] == "FID"
    assert "FID" not in evaluation_table.titles("features").values()


def painted(faces, resolution):
    """Paint faces as two areas: above who it is, below what is felt. Drawing them takes long."""
    felt = jnp.arange(resolution)[:, None] >= 20
    who, shown = faces.identity.skin_tone, faces.action_units.mean((1, 2))
    areas = jnp.where(felt, shown[:, None, None], who[:, None, None])
    return jnp.repeat(jnp.broadcast_to(areas, (len(who), resolution, resolution))[..., None], 3, -1)


def test_the_demos_ground_truth_differs_by_the_expression_alone(monkeypatch):
    monkeypatch.setattr(truth.batches, "draw", painted)
    people = truth.sources(32, 3)
    assert isinstance(people, ground_truth.GroundTruth)
    ids = [0, 5, 17]
    plain, changed = people.people(ids), people.transferred(ids, "surprise")
    assert plain.pictures.shape == (3, 32, 32, 3)
    identity = np.isin(people.attributes, people.identity)
    np.testing.assert_array_equal(plain.attributes[:, identity], changed.attributes[:, identity])
    assert (plain.attributes != changed.attributes)[:, ~identity].any(1).all()
    above, below = slice(0, 15), slice(24, 32)  # JPEG's unit is 16 rows, colours reach one beyond
    np.testing.assert_array_equal(plain.pictures[:, above], changed.pictures[:, above])
    assert (plain.pictures[:, below] != changed.pictures[:, below]).any((1, 2, 3)).all()
    assert plain.pictures[0, above].std() > 0  # grain
    again = people.people([17])  # whoever else is drawn
    np.testing.assert_array_equal(again.pictures[0], plain.pictures[2])
    drawn = truth.drawings(32, 3).people(ids).pictures
    assert (drawn[:, above].std((1, 2)) == 0).all()
    units = people.transferred(ids, "neutral").attributes[:, ~identity]
    assert (np.abs(units) < 0.5).all()  # habits alone
    sides = [people.attributes.index(f"au26_{side}") for side in ("left", "right")]
    jaw = people.transferred(ids, "surprise").attributes[:, sides]
    np.testing.assert_allclose(jaw.mean(1), 1.0, atol=1e-5)  # targets show all they can
    with pytest.raises(UserError, match="no emotion 'joy' among the demo's faces"):
        people.targets("joy")


def test_older_directions_are_compared_without_means(folder, tmp_path):
    kept = direction_files.load(bundle.find(folder))
    dataclasses.replace(kept, means=None).save(tmp_path / "older.npz")
    chosen = options(folder, tmp_path, inverters=("psp",))
    older = dataclasses.replace(chosen, directions=tmp_path / "older.npz")
    assert evaluation.open_setup(chosen).options.normalisers[-1] == "means"
    assert evaluation.open_setup(older).options.normalisers == ("reinvert", "none", "subspace")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"samples": 1}, "--samples is 1, wanted 2 or more"),
        ({"inverters": ()}, "--inverters is '', wanted one or more"),
        ({"normalisers": ("none", "none")}, "--normalisers is 'none none', wanted one or more"),
        ({"sources": "a", "tfds": "b"}, "both --sources and --tfds are given"),
        ({"sources": "nowhere"}, "no file nowhere"),
        ({"emotions": ("joy",)}, "no emotion 'joy'"),
        ({"bundle": "none"}, "no bundle 'none'"),
    ],
)
def test_bad_options_end_in_one_sentence(folder, tmp_path, capsys, changes, sentence):
    changes = {k: Path(v) if k == "sources" else v for k, v in changes.items()}
    chosen = dataclasses.replace(options(folder, tmp_path / "out"), **changes)
    assert run_command(lambda: evaluate.main(chosen)) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--emotions", "joy"], "no emotion 'joy': the bundle's classifier knows anger, contempt"),
        (["--sources", "nowhere"], "no file nowhere"),
        (["--targets", "nowhere"], "no file nowhere"),
        (["--directions", "no.npz"], "no file no.npz"),
        (["--ground-truth", "painted"], "has no 'painted': it names drawings, sources"),
    ],
)
def test_what_needs_no_network_is_refused_before_jax_is_imported(tmp_path, flags, sentence):
    """With the default bundle, as a user would."""
    run = (
        "import sys\n"
        "from emojax import evaluate\n"
        "from emojax.runtime.cli import call, run_command\n"
        "code = run_command(lambda: call(evaluate.main, sys.argv[1:]))\n"
        "late = {'jax', 'flax', 'sklearn', 'tensorflow_datasets'} & set(sys.modules)\n"
        "raise SystemExit(f'{code} {sorted(late)}')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", run, *flags, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
    )
    assert sentence in ended.stderr
    assert ended.stderr.splitlines()[-1] == "2 []"
    assert not (tmp_path / "out").exists()


def test_targets_are_named_after_emotions(folder, tmp_path):
    for name in ("anger.png", "joy.png"):
        images.write(tmp_path / name, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"holds joy\.png: wanted pictures named after emotions"):
        evaluate.main(options(folder, tmp_path / "out", targets=tmp_path))
    (tmp_path / "joy.png").unlink()
    with pytest.raises(UserError, match="holds no picture of fear, happiness: add it"):
        evaluate.main(options(folder, tmp_path / "out", targets=tmp_path))


LOAD = ground_truth.load


@pytest.mark.parametrize(
    "named",
    [
        "os:getcwd",
        "emojax.demo.truth:np.load",
        "emojax.demo.truth:express",
        "emojax.demo.truth:DrawnPeople",
        "emojax.runtime.files:make_folder",
        "emojax.nowhere:sources",
        "x\n\x1b[31m" * 1000,
        ["emojax.demo.truth:sources"],
        None,
    ],
)
def test_a_bundle_names_what_is_listed_and_no_other_code(tmp_path, named):
    """`emojax.runtime.files:make_folder` was called."""
    (tmp_path / ground_truth.FILE).write_text(json.dumps({"sources": named}))
    sentence = "are untrusted and may name emojax.demo.truth:sources or emojax.demo.truth:drawings"
    with pytest.raises(UserError, match=sentence):
        LOAD(bundle.look_up(tmp_path), 32)


def test_a_bundles_own_ground_truth_is_found(tmp_path):
    with pytest.raises(UserError, match=r"has no faces with ground truth .* give pictures with"):
        LOAD(bundle.look_up(tmp_path), 32)
    named = {"sources": "emojax.demo.truth:sources", "drawings": "emojax.demo.truth:drawings"}
    (tmp_path / ground_truth.FILE).write_text(json.dumps(named))
    assert LOAD(bundle.look_up(tmp_path), 32).photographed
    assert not LOAD(bundle.look_up(tmp_path), 32, name="drawings").photographed
    with pytest.raises(UserError, match="has no 'painted': it names drawings, sources"):
        LOAD(bundle.look_up(tmp_path), 32, name="painted")


def test_a_store_keeps_to_its_settings(tmp_path):
    store = BlockStore.create(tmp_path / "s", {"samples": 5, "block": 2})
    for block in range(store.blocks):
        store.write("part", block, {"x": np.arange(2) + 2 * block, "y": np.zeros((2, 3))})
    whole = store.read("part", ("x",))
    assert list(whole) == ["x"]
    np.testing.assert_array_equal(whole["x"], np.arange(5))  # what filled the last block is gone
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UserError, match="holds something else than results"):
        BlockStore.create(tmp_path / "other", {"samples": 5, "block": 2})


def test_one_target_an_emotion_as_the_paper_has(folder, tmp_path):
    """Person 1 of each is the same face whatever their number is."""
    chosen = {"inverters": ("psp",), "normalisers": ("none", "subspace"), "protocol": "paper"}
    evaluate.main(options(folder, tmp_path / "out", **chosen))
    shown = {file.name for file in (tmp_path / "out").glob("*.png")}
    assert shown == {f"target_{name}.png" for name in EMOTIONS}
    picture = images.read(tmp_path / "out" / "target_fear.png")
    np.testing.assert_array_equal(picture, NoisePeople().targets("fear", 3)[0])
    table = evaluation_table.read(tmp_path / "out")
    first, second = (
        next(row.values for row in table.overall if row.result == name)
        for name in ("none", "subspace")
    )
    assert "top1 se sources" in first
    assert "top1 se targets" not in first  # one person says nothing of others
    (difference,) = table.differences
    assert difference[:3] == ("psp", "subspace - none", "all")
    for name in ("emotion_score", "psnr", "attribute_error"):
        assert difference.values[name] == pytest.approx(second[name] - first[name], abs=1e-9)
    with pytest.raises(UserError, match="--protocol paper has one target an emotion"):
        options(folder, tmp_path, targets_per_emotion=4, protocol="paper").check()
    with pytest.raises(UserError, match="--targets-per-emotion is 0, wanted 1 or more"):
        options(folder, tmp_path, targets_per_emotion=0).check()


def test_several_targets_of_a_folder(tmp_path):
    for name in ("fear-1.png", "fear-2.png", "happiness_01.png", "happiness_02.png"):
        images.write(tmp_path / name, NoisePeople().targets(name)[0])
    found = inputs.target_files(tmp_path, EMOTIONS, (), 2)
    assert [file.name for file in found["happiness"]] == ["happiness_01.png", "happiness_02.png"]
    with pytest.raises(UserError, match="holds 2 pictures of fear: wanted 1, see --targets-per-"):
        inputs.target_files(tmp_path, EMOTIONS)


def test_several_directions_stand_side_by_side(folder, tmp_path):
    files = tmp_path / "svr.npz", tmp_path / "tensor.npz"
    small_world.directions(4).save(files[0])
    small_world.directions(5).save(files[1])
    chosen = {"inverters": ("psp",), "normalisers": ("none",), "compare_directions": files}
    evaluate.main(options(folder, tmp_path / "out", **chosen))
    rows = rows_of(tmp_path / "out")
    one, other = (rows["psp", f"none-{name}", "all"] for name in ("svr", "tensor"))
    assert one["psnr"] != other["psnr"]
    (tmp_path / "b").mkdir()
    files[0].rename(tmp_path / "b" / "tensor.npz")
    assert set(rows) == {("", "truth", each) for each in ("all", *EMOTIONS)} | {
        ("psp", name, each) for name in ("none-svr", "none-tensor") for each in ("all", *EMOTIONS)
    } | {("psp", "original", "all")}
    twice = (tmp_path / "b/tensor.npz", files[1])
    with pytest.raises(UserError, match="two files of one name"):
        options(folder, tmp_path / "o", compare_directions=twice).check()
