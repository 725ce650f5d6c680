"""FID of two folders of pictures, ours beside a clean-fid-like PyTorch pipeline.

    python -m benchmarks.judges --what fid --pictures 5000 --place fid5000
    python -m benchmarks.folders jax fid5000

The second line is what the first starts for each side: a process of its own, so that neither
framework's threads disturb the other's. A side leaves `jax.json` or `torch.json` beside the folders
and is not run again while that lies there. The partner decodes and resizes with Pillow in loader
processes, as clean-fid does. Weights are random, so the two distances differ.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from flax import nnx
from PIL import Image

from benchmarks.torch_models import inception as torch_inception
from emojax.files import replacing
from emojax.metrics import features, fid
from emojax.models.inception import Inception, InceptionConfig

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIDES = ("jax", "torch")


@dataclasses.dataclass(frozen=True)
class Options:
    """One side's time for the two folders of a place."""

    which: tyro.conf.Positional[Literal["jax", "torch"]]
    """The side."""
    place: tyro.conf.Positional[Path]
    """Where the folders a and b are."""


def compare(place: Path, pictures: int, side: int, *, together: bool) -> dict:
    """Return both sides' seconds; each side prints its own as soon as it is known.

    Args:
        place: where the folders are, or are to be.
        pictures: in each folder.
        side: of the pictures, in pixels.
        together: run both at the same time, each on one core; otherwise one after the other on all.
    """
    for seed, name in enumerate("ab"):
        draw(place / name, pictures, side, seed)
    setting = {"pictures": pictures, "cores": 1 if together else len(os.sched_getaffinity(0))}
    missing = [which for which in SIDES if not _result(place, which, setting)]
    if together and len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("--together wants two cores, this process may use one")
    if together:
        for process in [_start(which, place, core) for core, which in enumerate(missing)]:
            _succeeded(process)
    else:
        for which in missing:
            _succeeded(_start(which, place))
    found = {which: _result(place, which, setting) for which in SIDES}
    if not all(found.values()):
        raise SystemExit(f"{place} holds other pictures than {pictures}: name another place")
    seconds = {which: row["seconds"] for which, row in found.items()}
    ratio = seconds["torch"] / seconds["jax"]
    return {"what": "fid", **setting, "seconds": seconds, "ratio": ratio}


def draw(folder: Path, pictures: int, side: int, seed: int) -> None:
    """Write PNG pictures of smooth noise; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.RandomState(seed)
    for i in range(pictures):
        coarse = rng.randint(0, 256, (16, 16, 3), np.uint8)
        if (folder / f"{i}.png").is_file():
            continue
        with replacing(folder / f"{i}.png") as new:
            Image.fromarray(coarse).resize((side, side), Image.BICUBIC).save(new, "png")


def _result(place: Path, which: str, setting: dict[str, int]) -> dict | None:
    """What a side has left, if it is of the same pictures and cores."""
    file = place / f"{which}.json"
    row = json.loads(file.read_text()) if file.is_file() else {}
    return row if setting.items() <= row.items() else None


def ours(place: Path) -> tuple[float, float]:
    """Return seconds, after compilation, and the distance."""
    model = Inception(InceptionConfig(), rngs=nnx.Rngs(0))
    network = features.Network("benchmark", model, features.inception_features)
    first = features.folder(place / "a")
    features.measure(features.Source(first.names[:8], first.read), network)  # compile
    return _timed(lambda folder: features.measure(features.folder(folder), network).moments, place)


def theirs(place: Path) -> tuple[float, float]:
    """Return seconds and the distance; the start of the loader processes is part of it."""
    model = torch_inception.Inception().eval().to(DEVICE, memory_format=torch.channels_last)
    return _timed(lambda folder: fid.Moments.of(_torch_features(model, folder)), place)


def _timed(moments: Callable[[Path], fid.Moments], place: Path) -> tuple[float, float]:
    start = time.perf_counter()
    distance = fid.frechet_distance(*(moments(place / name).gaussian() for name in "ab"))
    return time.perf_counter() - start, distance


def _torch_features(model: torch.nn.Module, folder: Path) -> np.ndarray:
    loader = torch.utils.data.DataLoader(
        features.folder(folder).names,
        8 if DEVICE == "cpu" else 64,
        collate_fn=_collate,
        num_workers=2,
        multiprocessing_context="spawn",
    )
    rows = []
    with torch.inference_mode():
        for batch in loader:
            x = batch.to(DEVICE, memory_format=torch.channels_last)
            rows.append(model((x - 128) / 128).cpu().numpy())
    return np.concatenate(rows)


def _collate(names: list[str]) -> torch.Tensor:
    pictures = []
    for name in names:
        planes = [
            np.asarray(plane.convert("F").resize((299, 299), Image.BICUBIC))
            for plane in Image.open(name).convert("RGB").split()
        ]
        pictures.append(np.clip(np.stack(planes), 0, 255))
    return torch.from_numpy(np.stack(pictures))


def _start(which: str, place: Path, core: int | None = None) -> subprocess.Popen:
    """Start one side, on the core of that index or on all; it inherits what its parent may use."""
    command = [sys.executable, "-m", "benchmarks.folders", which, str(place)]
    cores = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {sorted(cores)[core]})
    try:
        return subprocess.Popen(command)
    finally:
        os.sched_setaffinity(0, cores)


def _succeeded(process: subprocess.Popen) -> None:
    if process.wait():
        raise SystemExit(f"{' '.join(process.args)} failed with status {process.returncode}")


def main(options: Options) -> None:
    """Time one side, print it and leave it beside the folders."""
    seconds, distance = {"jax": ours, "torch": theirs}[options.which](options.place)
    row = {
        "what": "fid",
        "side": options.which,
        "pictures": len(features.folder(options.place / "a").names),
        "cores": len(os.sched_getaffinity(0)),
        "seconds": round(seconds, 2),
        "distance": distance,
    }
    with replacing(options.place / f"{options.which}.json") as new:
        new.write_text(json.dumps(row))
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
