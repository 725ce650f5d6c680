"""The long commands, at sizes of seconds, and what of their results must be equal bit for bit."""

import dataclasses
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from emojax.demo import scene
from emojax.demo.training.schedule import LENGTHS
from emojax.faces import images
from emojax.film.reading import Video
from emojax.film.writing import chunk_writer, join
from emojax.runtime import compile_cache
from tests.support import small_world
from tests.support.pictures import noise

PHOTOS = 6
FRAMES = 80
"""Of the film: two chunks, of which an interrupted run loses one at most."""


@dataclasses.dataclass(frozen=True)
class World:
    """What the commands work on.

    Attributes:
        folder: of everything.
        bundle: of small random networks.
        photos: folder of aligned faces.
        film: a video of one face; None: there is none.
    """

    folder: Path
    bundle: Path
    photos: Path
    film: Path | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """One long command.

    Attributes:
        name: of it.
        arguments: its command line, by the world and the folder of the results.
        again: sentence with which it refuses a finished folder, if it does.
        single: whether its result is a file, for which it makes no folder.
        stages: folders of the result that are begun one after another; each gets kills of its own.
    """

    name: str
    arguments: Callable[[World, Path], list[str]]
    again: str | None = None
    single: bool = False
    stages: tuple[str, ...] = ()


def make_world(folder: Path, frames: int = FRAMES) -> World:
    """Write bundle, photographs and, where PyAV is installed, a film of some frames."""
    bundle = small_world.write_features(small_world.write_whole(folder / "bundle"))
    photos = folder / "photos"
    photos.mkdir()
    for number, picture in enumerate(noise("kills", PHOTOS, small_world.SIDE)):
        images.write(photos / f"face{number}.png", images.to_uint8(picture))
    film = _film(folder / "film.mp4", frames) if frames and importlib.util.find_spec("av") else None
    return World(folder, bundle, photos, film)


def _film(file: Path, frames: int) -> Path:
    """Write a film of one drawn face."""
    about, chunk = Video(file, 96, 72, Fraction(1, 25), Fraction(25), 0), file.with_suffix(".nut")
    face = list(scene.pictures(scene.Scene(person=13, width=96, height=72, zoom=0.85), 20))
    with chunk_writer(chunk, about) as put:
        for index in range(frames):
            put(index, face[index % len(face)])
    join([chunk], about, file)
    return file


def _score(world: World, out: Path) -> list[str]:
    sizes = ["--samples", "64", "--chunk", "8", "--batch", "8"]
    return ["-m", "emojax.score", "--bundle", str(world.bundle), "--out", str(out), *sizes]


def _directions(world: World, out: Path) -> list[str]:
    scored = str(world.folder / "whole" / "score")
    line = ["-m", "emojax.directions", scored, "--bundle", str(world.bundle), "--no-plots"]
    return [*line, "--no-range", "--out", str(out / "found.npz")]


def _invert(world: World, out: Path) -> list[str]:
    line = ["-m", "emojax.invert", str(world.photos), "--bundle", str(world.bundle)]
    return [*line, "--align", "never", "--batch", "1", "--out", str(out)]


def _evaluate(world: World, out: Path) -> list[str]:
    line = ["-m", "emojax.evaluate", "--bundle", str(world.bundle), "--sources", str(world.photos)]
    line += ["--samples", str(PHOTOS), "--block", "2", "--batch", "2", "--inverters", "psp"]
    return [*line, "--normalisers", "none", "--emotions", "anger", "fear", "--out", str(out)]


def _optimise(world: World, out: Path) -> list[str]:
    """An evaluation of inverters that optimise, the targets of which take as long as sources."""
    line = ["-m", "emojax.evaluate", "--bundle", str(world.bundle), "--sources", str(world.photos)]
    line += ["--samples", str(PHOTOS), "--block", "2", "--batch", "2", "--inversion-steps", "2"]
    line += ["--inverters", "projection", "pti", "--normalisers", "reinvert"]
    return [*line, "--emotions", "anger", "fear", "surprise", "--out", str(out)]


def _video(world: World, out: Path) -> list[str]:
    """To a GIF: x264 itself encodes the same frames in two ways, about once in fifty chunks."""
    line = ["-m", "emojax.video", str(world.film), "--bundle", str(world.bundle)]
    return [*line, "--emotion", "anger", "--k", "3", "--preview", "--out", str(out / "edited.gif")]


def _train(_: World, out: Path) -> list[str]:
    return ["-m", "tests.support.tiny_training", str(out)]


def _demo(_: World, out: Path) -> list[str]:
    """All eleven stages of two steps each, and the bundle."""
    return ["-m", "tests.support.tiny_demo", str(out)]


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job("score", _score),
        Job("directions", _directions, "is there already", single=True),
        Job("invert", _invert),
        Job("evaluate", _evaluate),
        Job("optimise", _optimise),
        Job("video", _video, single=True),
        Job("train", _train),
        Job("demo", _demo, stages=(*(f"work/{name}" for name in LENGTHS["cpu"]), "bundle")),
    )
}
"""By name; `score` comes first, whose whole result `directions` reads."""


def command(job: Job, world: World, out: Path) -> list[str]:
    """Return the command line of a job."""
    return [sys.executable, *job.arguments(world, out)]


def environment(world: World, **more: str) -> dict[str, str]:
    """Return the environment: one device, and compiled programs kept beside the world."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **compile_cache.variables(world.folder / "programs"),
        **more,
    }


def results(out: Path) -> dict[str, str]:
    """Return a hash of every result in a folder, by its name; what measures time is left out."""
    found: dict[str, str] = {}
    for file in sorted(out.rglob("*")):
        if file.is_dir() or file.name.startswith("."):
            continue
        lasting = _lasting(file)
        if lasting is not None:
            found[file.relative_to(out).as_posix()] = hashlib.sha256(lasting).hexdigest()
    return found


def leftovers(out: Path) -> list[str]:
    """Return the names of files and folders that were written aside and never put in place."""
    found = [file.name for file in out.rglob("*")]
    return [name for name in found if name == "writing" or name.startswith((".part", ".old"))]


def _lasting(file: Path) -> bytes | None:
    """Return the contents of a file without what differs between any two runs, such as seconds."""
    if file.suffix == ".npz":
        with np.load(file) as stored:
            kept = [(name, stored[name]) for name in stored if "seconds" not in name]
        return b"".join(name.encode() + array.tobytes() for name, array in kept)
    if file.name in ("table.md", "table.csv"):
        return b""  # the JSON has all of it
    if any(part in ("weights", "network") or part.startswith("step-") for part in file.parts):
        return _weights(file)
    if file.suffix == ".json":
        return json.dumps(_without_seconds(json.loads(file.read_text()))).encode()
    return file.read_bytes()


def _weights(file: Path) -> bytes | None:
    """Return the values of a checkpoint, in the place of its manifest; other names are random."""
    if file.name != "manifest.ocdbt" or file.parent.name.startswith("ocdbt"):
        return None
    from emojax.store import weights
    from emojax.store.fingerprint import fingerprint

    return fingerprint(weights.read(file.parent)).encode()


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seconds(each) for key, each in value.items() if "seconds" not in key}
    if isinstance(value, list):
        return [_without_seconds(each) for each in value]
    return value
