"""`emojax figures`: every figure from small networks, and a page that stands alone."""

import base64
import dataclasses
import html.parser
import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from emojax import evaluate, figures, pipeline
from emojax.evaluation import table as evaluation_table
from emojax.evaluation.table import ResultTable, Row
from emojax.faces import images
from emojax.latents import directions
from emojax.models.efficientnet import EIGHT
from emojax.report import html_page, paper_figures, plots
from emojax.runtime.cli import cli, run_command
from emojax.runtime.errors import UserError
from emojax.runtime.flags import PipelineFlags
from emojax.store import bundle
from emojax.store.parts import GENERATOR
from emojax.store.score_table import ScoreSettings, ScoreTable
from tests.support import small_world
from tests.support.pictures import noise

pytest.importorskip("matplotlib", reason="the extra 'plots'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_world.write_whole(tmp_path_factory.mktemp("checkpoints") / "small")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The folder of an evaluation."""
    rows = [
        Row("psp", "original", "all", {"emotion_score": 0.9, "top1": 0.8, "frechet": 12.345}),
        Row("psp", "none", "all", {"emotion_score": 0.5, "top1": 0.25, "frechet": 30.0}),
        Row("psp", "none", "fear", {"emotion_score": 0.5, "top1": 0.25, "frechet": 30.0}),
    ]
    titles = evaluation_table.titles("inception")
    folder = tmp_path_factory.mktemp("evaluated")
    evaluation_table.write(folder, ResultTable(rows, titles, ["Measured on <nothing>."]), {})
    return folder


def write_scores(out, folder):
    """Write a table of drawn numbers, as if the bundle's generator had been scored."""
    settings = ScoreSettings(
        generator_sha256=bundle.find(folder).sha256(GENERATOR),
        emotion_sha256="",
        classes=EIGHT,
        width=32,
        samples=16,
        chunk=16,
    )
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((16, 32)), rng.dirichlet(np.ones(8), 16).astype(np.float32)
    ScoreTable.create(out, settings).write(0, *rows)
    return out


def options(folder, out, *, common=None, **changes):
    shared = PipelineFlags(bundle=str(folder), passes=2, **(common or {}))
    return figures.Options(out=out, common=shared, **changes)


@pytest.mark.slow
def test_all_figures_of_given_faces(folder, evaluated, tmp_path, capsys):
    scores = write_scores(tmp_path / "scores", folder)
    for place, names in {"faces": ("a", "b"), "eight": ("anger", "neutral")}.items():
        (tmp_path / place).mkdir()
        for name, picture in zip(names, noise(place, 2, small_world.SIDE), strict=True):
            images.write(tmp_path / place / f"{name}.png", images.to_uint8(picture))
    figures.main(
        options(
            folder,
            tmp_path / "out",
            common={"align": "never"},
            scores=scores,
            evaluation=evaluated,
            sources=tmp_path / "faces",
            targets=tmp_path / "eight",
            pdf=True,
        )
    )
    numbers = range(3, 11)
    wanted = {f"figure{n}.{kind}" for n in numbers for kind in ("png", "pdf")} | {"report.html"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == wanted
    assert "8 figures" in capsys.readouterr().out
    sizes = {n: images.read(tmp_path / "out" / f"figure{n}.png").shape for n in numbers}
    assert sizes[6][0] > 8 * 150  # a row an emotion
    assert sizes[7][0] > 3 * 200  # the targets, and two sources
    seven, eight = (images.read(tmp_path / "out" / f"figure{n}.png") for n in (7, 8))
    assert (seven != eight).mean() > 0.1  # of other inverters
    assert (tmp_path / "out" / "figure6.pdf").read_bytes().startswith(b"%PDF")
    assert_stands_alone((tmp_path / "out" / "report.html").read_text(), pictures=8)


class Page(html.parser.HTMLParser):
    """Collects what a browser would load, and checks that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.loaded, self.cells = [], [], []

    def handle_starttag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def assert_stands_alone(text, *, pictures):
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.loaded) == pictures
    for source in page.loaded:
        kind, data = source.split(",")
        assert kind == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert picture.width > 600
    assert not re.search(r"https?:|@import|url\(", text)
    if page.cells:
        start = page.cells.index("original")
        assert page.cells[start + 1 : start + 4] == ["0.900", "0.800", "12.35"]
        assert "FID" in page.cells
        assert "Measured on &lt;nothing&gt;." in text
    return page


def test_what_is_missing_is_said(folder, tmp_path):
    (folder / "hyperstyle").rename(tmp_path / "away")
    try:
        figures.main(options(folder, tmp_path / "out"))
    finally:
        (tmp_path / "away").rename(folder / "hyperstyle")
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {f"figure{n}.png" for n in (3, 5, 6, 7, 9, 10)} | {"report.html"}
    text = (tmp_path / "out" / "report.html").read_text()
    page = assert_stands_alone(text, pictures=6)
    assert not page.cells
    assert "it needs --scores, a folder that emojax score filled" in text
    assert "the bundle has no HyperStyle" in text
    assert "the bundle&#x27;s samples" in text


def test_without_matplotlib_its_plots_are_left_out(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(figures, "TITLES", {n: figures.TITLES[n] for n in (4, 5, 6)})
    scores = write_scores(tmp_path / "scores", folder)
    figures.main(options(folder, tmp_path / "out", scores=scores))
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"figure6.png", "report.html"}
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("Left out: matplotlib is not installed") == 2
    assert "Left out: matplotlib is not installed" in capsys.readouterr().out


def test_edits_go_over_the_usable_range_by_default(folder):
    pipe = pipeline.Pipeline(PipelineFlags(bundle=str(folder)))
    ranges = np.array([[-2.0 - e, 1.0 + e] for e in range(8)])
    pipe.directions = dataclasses.replace(pipe.directions, usable=ranges)
    faces = paper_figures.ShownFaces(
        [pipe.read(pipe.sample_photo("source"))],
        {"fear": pipe.read(pipe.sample_photo("target"))},
        "",
    )
    rows = paper_figures.PaperFigures(pipe, faces, None).edits().rows
    assert rows[3][0].label == "fear -5"
    assert rows[3][-1].label == "fear +4"
    rows = paper_figures.PaperFigures(pipe, faces, 3.0).edits().rows
    assert [row[-1].label for row in rows] == [f"{name} +3" for name in pipe.directions.names]


def test_directions_of_several_sources_side_by_side(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "TITLES", {5: figures.TITLES[5]})
    known = bundle.find(folder)
    first = directions.load(known)
    turned = dataclasses.replace(first, coefficients=first.coefficients[:, ::-1].copy())
    few = {name: getattr(turned, name)[:2] for name in ("names", "coefficients", "intercepts")}
    few |= {name: getattr(turned, name)[:2] for name in ("sigma",)}
    second = dataclasses.replace(turned, **few, usable=np.array([[-1.0, 2.0]] * 2))
    files = tuple(tmp_path / f"{name}.npz" for name in ("svr", "turned"))
    for file, each in zip(files, (first, second), strict=True):
        each.save(file)
    figures.main(options(folder, tmp_path / "out", compare_directions=files))
    text = (tmp_path / "out/report.html").read_text()
    assert_stands_alone(text, pictures=2)
    assert "The cosine (cos) is that with the direction of svr" in text
    pipe = pipeline.Pipeline(PipelineFlags(bundle=str(folder)))
    shown = paper_figures.ShownFaces([pipe.read(pipe.sample_photo("source"))], {}, "")
    drawer = paper_figures.PaperFigures(pipe, shown, None, {"svr": first, "turned": second})
    rows = drawer.comparison().rows
    assert [len(row) for row in rows] == [3, 3, 2, 2, 2, 2, 2, 2]
    cosine = np.vdot(first.units[0], second.units[0])
    assert f"turned +2.0, cos {cosine:.2f}: " in rows[0][2].label


def test_a_page_escapes_what_it_is_given(tmp_path):
    left_out = html_page.Figure("<b>", "a & b", None)
    html_page.write(tmp_path / "page.html", "<script>", "&", [left_out], None)
    text = (tmp_path / "page.html").read_text()
    assert "<script>" not in text
    assert "&lt;b&gt;" in text
    assert "a &amp; b" in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"faces": 0}, "--faces is 0, wanted 1 or more"),
        ({"k": float("nan")}, "--k is nan, wanted a number above 0"),
        ({"evaluation": "none"}, "no file none/table.json: make it with 'emojax evaluate"),
        ({"scores": "none"}, "no scores in none: make them with"),
        ({"sources": "none"}, "no file none: give pictures"),
        (
            {"compare_directions": (figures.Path("none.npz"),)},
            "no file none.npz: give a directions file",
        ),
    ],
)
def test_bad_options_end_in_one_sentence(folder, tmp_path, capsys, changes, sentence):
    paths = {"evaluation", "scores", "sources"}
    changes = {k: figures.Path(v) if k in paths else v for k, v in changes.items()}
    chosen = options(folder, tmp_path / "out", **changes)
    assert run_command(lambda: figures.main(chosen)) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [evaluate, figures])
def test_help_has_examples(command, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["-m", "--help"])
    with pytest.raises(SystemExit) as end:
        cli(command.main)
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert re.search(rf"emojax.{command.__name__.rpartition('.')[2]} --bundle ffhq", said)
    assert re.search(r"--out (PATH|STR)", said)


def test_a_damaged_table_is_one_sentence(tmp_path):
    (tmp_path / evaluation_table.JSON).write_text(json.dumps({"rows": [{"odd": 1}]}))
    with pytest.raises(
        UserError,
        match=r"table\.json is not a table of 'emojax evaluate' .*: make it with 'emojax evaluate'",
    ):
        evaluation_table.read(tmp_path)


def test_a_table_is_read_as_it_was_written(evaluated):
    table = evaluation_table.read(evaluated)
    assert table.columns == ["emotion_score", "top1", "frechet"]
    assert [row.values["top1"] for row in table.overall] == [0.8, 0.25]
    text = evaluation_table.markdown(table)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[-1].split() == ["|", "psp", "|", "none", "|", "0.250", "|"]
    assert np.all([note in text for note in table.notes])
