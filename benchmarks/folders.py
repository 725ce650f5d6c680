"""FID of two folders of pictures, beside a PyTorch pipeline like clean-fid's.

    python -m benchmarks.judges --what fid --pictures 5000 --place fid5000
    python -m benchmarks.folders jax fid5000

The first command starts the second for each framework, in separate processes, so that their threads
do not interfere. Each writes its result to `jax.json` or `torch.json` beside the folders and is
not run again while that exists. The PyTorch side decodes and resizes with Pillow in worker
processes and computes the matrix square root with SciPy, as clean-fid does. Both have the same
random weights, so the distances agree up to the accuracy of `sqrtm` with few pictures.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import scipy.linalg
import torch
import tyro
from flax import nnx
from PIL import Image

from benchmarks.torch_models import channels_last
from benchmarks.torch_models import inception as torch_inception
from convert import inception as convert_inception
from emojax.metrics import features, fid
from emojax.models.inception import Inception
from emojax.runtime.files import replacing
from emojax.store import weights

Measured = TypeVar("Measured")
Model = TypeVar("Model", bound=nnx.Module)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIDES = ("jax", "torch")
BICUBIC = Image.Resampling.BICUBIC


@dataclasses.dataclass(frozen=True)
class Options:
    """Time one framework on two folders of pictures."""

    which: tyro.conf.Positional[Literal["jax", "torch"]]
    """Framework."""
    place: tyro.conf.Positional[Path]
    """Folder with the folders a and b."""


class Timed(NamedTuple):
    """The distance, the seconds to compute it, and the part of them spent on features."""

    seconds: float
    features: float
    distance: float


def compare(place: Path, pictures: int, side: int, *, together: bool) -> dict[str, Any]:
    """Return the seconds of both frameworks; each also prints its own when it ends.

    Args:
        place: folder of the two folders, which are made if they are missing.
        pictures: number of pictures in each folder.
        side: side of the pictures in pixels.
        together: run both at once on one core each, otherwise in sequence on all cores.
    """
    for seed, name in enumerate("ab"):
        draw(place / name, pictures, side, seed)
    setting = {"pictures": pictures, "cores": 1 if together else len(os.sched_getaffinity(0))}
    missing = [which for which in SIDES if _result(place, which, setting) is None]
    if together and len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("--together wants two cores, this process may use one")
    if together:
        for process in [_start(which, place, core) for core, which in enumerate(missing)]:
            _succeeded(process)
    else:
        for which in missing:
            _succeeded(_start(which, place))
    results = {which: _result(place, which, setting) for which in SIDES}
    found = {which: row for which, row in results.items() if row is not None}
    if len(found) < len(SIDES):
        raise SystemExit(f"{place} does not hold {pictures} pictures: name another place")
    rows = {
        name: {which: row[name] for which, row in found.items()}
        for name in ("seconds", "features_s")
    }
    ratio = rows["seconds"]["torch"] / rows["seconds"]["jax"]
    return {"what": "fid", **setting, **rows, "ratio": ratio}


def draw(folder: Path, pictures: int, side: int, seed: int) -> None:
    """Write PNG pictures of smooth noise, except those that exist."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.RandomState(seed)
    for i in range(pictures):
        coarse = rng.randint(0, 256, (16, 16, 3), np.uint8)
        if (folder / f"{i}.png").is_file():
            continue
        with replacing(folder / f"{i}.png") as new:
            Image.fromarray(coarse).resize((side, side), BICUBIC).save(new, "png")


def same_network(
    build: Callable[..., Model], convert: Callable[..., Any], partner: torch.nn.Module
) -> Model:
    """Return emojax's network with the weights of PyTorch's, by the project's converter."""
    state = {name: array.numpy() for name, array in partner.state_dict().items()}
    config, table, _ = convert(state)
    return weights.load(weights.abstract(build, config), table)


def _partner() -> torch.nn.Module:
    """Return PyTorch's Inception with random weights, the same in every process."""
    torch.manual_seed(0)
    model = torch_inception.Inception().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return model


def _result(place: Path, which: str, setting: dict[str, int]) -> dict[str, Any] | None:
    """Return the stored result of a framework, if its number of pictures and cores is the same."""
    file = place / f"{which}.json"
    row = json.loads(file.read_text()) if file.is_file() else {}
    return row if setting.items() <= row.items() and "features_s" in row else None


def ours(place: Path) -> Timed:
    """Time emojax, after compilation."""
    model = same_network(Inception, convert_inception.convert, _partner())
    network = features.FeatureExtractor("benchmark", model, features.inception_features)
    first = features.folder(place / "a")
    features.measure(features.Source(first.names[:8], first.read), network)  # compile

    def moments(folder: Path) -> fid.Moments:
        found = features.measure(features.folder(folder), network).moments
        assert found is not None  # pictures were drawn
        return found

    def distance(*moments: fid.Moments) -> float:
        return fid.frechet_distance(*(each.gaussian() for each in moments))

    return _timed(moments, distance, place)


def theirs(place: Path) -> Timed:
    """Time PyTorch, with the distance computed as clean-fid does."""
    torch.backends.cudnn.benchmark = True
    model = channels_last(_partner()).to(DEVICE)
    return _timed(lambda folder: _torch_features(model, folder), _by_square_root, place)


def _by_square_root(one: np.ndarray, other: np.ndarray) -> float:
    """Return clean-fid's `frechet_distance` of features [N, 2048] and [M, 2048]."""
    means = [features.mean(0, np.float64) for features in (one, other)]
    a, b = (np.cov(features, rowvar=False) for features in (one, other))
    root = np.trace(scipy.linalg.sqrtm(a @ b)).real
    return float(np.sum((means[0] - means[1]) ** 2) + np.trace(a) + np.trace(b) - 2 * root)


def _timed(
    measure: Callable[[Path], Measured], distance: Callable[..., float], place: Path
) -> Timed:
    start = time.perf_counter()
    found = [measure(place / name) for name in "ab"]
    measured = time.perf_counter()
    value = distance(*found)
    return Timed(time.perf_counter() - start, measured - start, value)


def _torch_features(model: torch.nn.Module, folder: Path) -> np.ndarray:
    loader = torch.utils.data.DataLoader(
        list(features.folder(folder).names),  # pyright: ignore[reportArgumentType] a list will do
        8 if DEVICE == "cpu" else 64,
        collate_fn=_collate,
        num_workers=max(2, len(os.sched_getaffinity(0))),
        multiprocessing_context="fork",
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
            np.asarray(plane.convert("F").resize((299, 299), BICUBIC))
            for plane in Image.open(name).convert("RGB").split()
        ]
        pictures.append(np.clip(np.stack(planes), 0, 255))
    return torch.from_numpy(np.stack(pictures))


def _start(which: str, place: Path, core: int | None = None) -> subprocess.Popen[bytes]:
    """Start one framework's process, on one core by its index, or on all."""
    command = [sys.executable, "-m", "benchmarks.folders", which, str(place)]
    cores = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {sorted(cores)[core]})
    try:
        return subprocess.Popen(command)
    finally:
        os.sched_setaffinity(0, cores)


def _succeeded(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise SystemExit(f"{process.args} failed with status {process.returncode}")


def main(options: Options) -> None:
    """Time one framework, print the result and store it beside the folders."""
    timed = {"jax": ours, "torch": theirs}[options.which](options.place)
    row = {
        "what": "fid",
        "side": options.which,
        "pictures": len(features.folder(options.place / "a").names),
        "cores": len(os.sched_getaffinity(0)),
        "seconds": round(timed.seconds, 2),
        "features_s": round(timed.features, 2),
        "distance": timed.distance,
    }
    with replacing(options.place / f"{options.which}.json") as new:
        new.write_text(json.dumps(row))
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
