"""Emotion classifier, Inception and FID of two folders, beside PyTorch.

    python -m benchmarks.judges --what b0 b2 inception
    python -m benchmarks.judges --what fid --pictures 5000 --place fid5000 --together

Prints one JSON line for each comparison. Networks of both frameworks are timed in turns in one
process, at the best of a few batch sizes: PyTorch in the better of two memory layouts, emojax with
all CPU cores on every operation or with the batch split over them, as scoring does. Weights are
random. `benchmarks/folders.py` computes the FID, in one process for each framework.
"""

import dataclasses
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import torch
import tyro
from flax import nnx

from benchmarks import folders
from benchmarks.torch_models import channels_last
from benchmarks.torch_models import hsemotion as torch_hsemotion
from benchmarks.torch_models import inception as torch_inception
from convert import emotion as convert_emotion
from convert import inception as convert_inception
from emojax.models.efficientnet import EmotionNet
from emojax.models.inception import Inception
from emojax.runtime import devices as parallel
from emojax.runtime import xla_options

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.judges`."""

    what: tuple[Literal["b0", "b2", "inception", "fid"], ...] = ("b0", "b2", "inception", "fid")
    """Comparisons to run."""
    batches: tuple[int, ...] = (2, 4, 8)
    """Batch sizes to try; 64 256 suit a GPU."""
    rounds: int = 5
    """Timed runs of each candidate, of which the fastest counts."""
    pictures: int = 5000
    """Pictures in each folder of the FID comparison."""
    side: int = 256
    """Side of those pictures in pixels."""
    place: Path | None = None
    """Folder to keep them and each framework's result in; a second call resumes from there."""
    together: bool = False
    """Run both frameworks of the FID comparison at once, on one core each."""


NETWORKS = {  # emojax's network, its converter, PyTorch's, side, xla_options(dense=...)
    "b0": (EmotionNet, convert_emotion.convert, torch_hsemotion.EfficientNet, 224, False),
    "b2": (
        EmotionNet,
        convert_emotion.convert,
        lambda: torch_hsemotion.EfficientNet(1.1, 1.2),
        260,
        False,
    ),
    "inception": (Inception, convert_inception.convert, torch_inception.Inception, 299, True),
}


def compare_network(name: str, options: Options) -> dict[str, Any]:
    """Return the pictures per second of both frameworks."""
    ours, convert, theirs, side, dense = NETWORKS[name]
    cores = jax.local_device_count() if DEVICE == "cpu" else 1  # PyTorch uses one GPU
    runs: dict[str, tuple[int, Callable[[], object]]] = {}
    network = folders.same_network(ours, convert, theirs())
    for devices in sorted({1, cores}):
        for n in options.batches:
            if n % devices == 0:
                title = f"jax {devices} device{'s' * (devices > 1)} batch {n}"
                runs[title] = (n, _jax_run(network, side, n, dense, devices))
    for layout in (torch.contiguous_format, torch.channels_last):
        model = theirs().eval().to(DEVICE)
        if layout == torch.channels_last:
            model = channels_last(model)
        title = "channels_last" if layout == torch.channels_last else "nchw"
        for n in options.batches:
            runs[f"torch {title} batch {n}"] = (n, _torch_run(model, side, n, layout))
    rates = _rates(runs, options.rounds)
    best = {kind: max(rates[k] for k in rates if k.startswith(kind)) for kind in ("jax", "torch")}
    return {
        "what": name,
        "side": side,
        "pictures_per_s": rates,
        "ratio": best["jax"] / best["torch"],
    }


def compare_folders(options: Options) -> dict[str, Any]:
    """Return the seconds of both frameworks for the FID of two folders of PNG pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        place = options.place or Path(temporary)
        return folders.compare(place, options.pictures, options.side, together=options.together)


def _jax_run(
    model: nnx.Module, side: int, batch: int, dense: bool, devices: int
) -> Callable[[], object]:
    mesh = parallel.local_mesh(most=devices)
    model = parallel.everywhere(model, mesh)
    x = np.random.RandomState(0).rand(batch, side, side, 3).astype(np.float32)
    x = jax.device_put(x, jax.NamedSharding(mesh, jax.P(parallel.AXIS)))
    run = parallel.over_samples(
        lambda model, x: model(x),
        mesh,
        split=(False, True),
        compiler_options=xla_options.options(dense=dense),
    )
    return lambda: run(model, x).block_until_ready()


def _torch_run(
    model: torch.nn.Module, side: int, batch: int, layout: torch.memory_format
) -> Callable[[], object]:
    x = torch.rand(batch, 3, side, side).to(DEVICE, memory_format=layout)

    @torch.inference_mode()
    def run() -> None:
        model(x)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return run


def _rates(runs: dict[str, tuple[int, Callable[[], object]]], rounds: int) -> dict[str, float]:
    """Return the pictures per second of every candidate, timed in turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _, run in runs.values():
        run()
    for _ in range(rounds):
        for name, (_, run) in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: round(runs[name][0] / seconds, 2) for name, seconds in best.items()}


def main(options: Options) -> None:
    """Run the chosen comparisons."""
    parallel.use_cores()
    torch.backends.cudnn.benchmark = True  # all sizes are fixed
    machine = {
        "device": jax.devices()[0].device_kind,
        "cores": multiprocessing.cpu_count(),
        "jax": jax.__version__,
        "torch": torch.__version__,
    }
    for what in options.what:
        result = compare_folders(options) if what == "fid" else compare_network(what, options)
        sys.stdout.write(json.dumps({**machine, **result}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(tyro.cli(Options))
