"""Every loader of a file that is neither a checkpoint nor a picture, with an honest file for each.

Used by the tests of hostile files and by the fuzz command.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emojax.evaluation import ground_truth, table
from emojax.faces.landmarks import read_landmarks
from emojax.latents.codes import Inversion
from emojax.latents.directions import Directions
from emojax.latents.emotion_means import EmotionMeans
from emojax.metrics import fid
from emojax.store import bundle, metadata, run_settings
from emojax.store.block_store import BlockStore
from emojax.store.score_table import ScoreSettings, ScoreTable

RNG = np.random.default_rng(0)


class Loader(NamedTuple):
    """How one kind of file is read.

    Attributes:
        name: of the file in a folder, where the loader finds it.
        write: puts an honest file into a folder.
        load: reads the file of a folder.
    """

    name: str
    write: Callable[[Path], Any]
    load: Callable[[Path], Any]


def _directions() -> Directions:
    return Directions(
        ("anger", "fear"),
        RNG.standard_normal((2, 4)),
        np.zeros(2),
        np.zeros(4),
        np.ones(2),
        {"method": "svr"},
        np.array([[-1.0, 1.0], [-2.0, 2.0]]),
        EmotionMeans(
            ("anger", "fear"), np.ones((2, 4)), np.ones(2) / 2, ("valence",), np.ones((1, 4))
        ),
    )


def _statistics() -> fid.Gaussian:
    return fid.Moments.of(RNG.standard_normal((20, 3))).gaussian("network")


_SETTINGS = ScoreSettings(
    "g", "e", ("Anger", "Fear"), width=3, samples=8, chunk=4, regressed=("Valence",)
)


def _scores(folder: Path) -> None:
    ScoreTable.create(folder, _SETTINGS).write(0, np.ones((4, 3)), np.ones((4, 3), np.float32))


def _blocks(folder: Path) -> None:
    BlockStore(folder, 4, 2).write("part", 0, {"x": np.ones((2, 3))})


def _inversion(folder: Path) -> None:
    arrays = np.ones((2, 3, 4), np.float32)
    Inversion(arrays, {"vectors": arrays}, 5, "hyperstyle", "ab").save(folder / "face.npz")  # pyright: ignore


def _table(folder: Path) -> None:
    row = table.Row("psp", "none", table.ALL, {"top1": 0.5})
    table.write(folder, table.ResultTable([row, row._replace(target="fear")], {}, ["a"]), {})


_METADATA = {"network": "Generator", "config": {}, "source": {}, "weights_sha256": "ab"}


def _json(name: str, value: Any) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(json.dumps(value))


LOADERS: dict[str, Loader] = {
    "inversion": Loader("face.npz", _inversion, lambda f: Inversion.load(f / "face.npz")),
    "directions": Loader(
        "directions.npz",
        lambda f: _directions().save(f / "directions.npz"),
        lambda f: Directions.load(f / "directions.npz"),
    ),
    "statistics": Loader(
        "statistics.npz",
        lambda f: fid.save(f / "statistics.npz", _statistics()),
        lambda f: fid.load(f / "statistics.npz"),
    ),
    "scores": Loader("rows/000000.npz", _scores, lambda f: ScoreTable.open(f).read()),
    "score settings": Loader("settings.json", _scores, ScoreTable.open),
    "block": Loader("part/00000.npz", _blocks, lambda f: BlockStore(f, 4, 2).read_block("part", 0)),
    "settings": Loader("settings.json", _json("settings.json", {"a": 1}), run_settings.read),
    "landmarks": Loader(
        "landmarks.json",
        _json("landmarks.json", {"a.jpg": [[[1, 2], [3, 2], [2, 3], [1, 4], [3.5, 4]]]}),
        lambda f: read_landmarks(f / "landmarks.json"),
    ),
    "metadata": Loader(
        "metadata.json",
        _json("metadata.json", _METADATA),
        lambda f: metadata.read(f / "metadata.json"),
    ),
    "world": Loader(
        "world.json",
        _json("world.json", {"sources": ground_truth.KNOWN[0]}),
        lambda f: ground_truth.look_up(bundle.look_up(f), "sources"),
    ),
    "table": Loader("table.json", _table, table.read),
}
"""By the name of the kind."""
