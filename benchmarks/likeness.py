"""ArcFace and LPIPS beside PyTorch: processor seconds, and memory in a process each.

    python -m benchmarks.likeness

Prints one JSON line for each network and framework. Weights are random; both frameworks get the
same and must agree. Processor seconds count on a machine that others use, too.
"""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
import tyro
from flax import nnx

from benchmarks.machine import describe, emit, peak_memory
from benchmarks.torch_models import likeness
from convert import arcface as convert_arcface
from convert import lpips as convert_lpips
from emojax.models.arcface import ArcFace
from emojax.models.lpips import Backbone, Linear, LinearConfig, Lpips
from emojax.runtime import xla_options
from emojax.store import weights
from emojax.store.parts import ALEXNET, VGG16

BACKBONES = {"alexnet": ALEXNET, "vgg16": VGG16}


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.likeness`."""

    networks: tuple[str, ...] = ("arcface", "alexnet", "vgg16")
    """Of these."""
    batch: int = 4
    """Pictures, or pairs of pictures, at a time."""
    rounds: int = 5
    """Timed runs, of which the cheapest counts."""
    only: str = ""
    """Used by the command itself: one framework in this process."""


def _torch(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = likeness.ArcFace() if name == "arcface" else likeness.Lpips(name)  # pyright: ignore[reportArgumentType]
    return model.eval()


def _state(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {key: array.numpy() for key, array in model.state_dict().items()}


def _call(name: str, framework: str, batch: int) -> Callable[[], Any]:
    """Return a call of one framework on fixed pictures."""
    rng, partner = np.random.RandomState(0), _torch(name)
    x, y = (rng.uniform(-1, 1, (batch, 256, 256, 3)).astype(np.float32) for _ in range(2))
    given = (x,) if name == "arcface" else (x, y)
    if framework == "torch":
        tensors = [torch.from_numpy(each.transpose(0, 3, 1, 2).copy()) for each in given]

        @torch.inference_mode()
        def call() -> torch.Tensor:
            return partner(*tensors)

        return call
    if name == "arcface":
        config, table, _ = convert_arcface.convert(_state(partner))
        model: Any = weights.load(weights.abstract(ArcFace, config), table)
    else:
        source = {key.removeprefix("backbone."): a for key, a in _state(partner).items()}
        config, table, _ = convert_lpips.convert(BACKBONES[name], source)
        backbone = weights.load(weights.abstract(Backbone, config), table)
        model = Lpips(backbone, Linear(LinearConfig(config.taps), rngs=nnx.Rngs(0)))
    run = jax.jit(lambda model, *x: model(*x), compiler_options=xla_options.options(dense=True))
    return lambda: jax.block_until_ready(run(model, *given))


def measure(name: str, framework: str, options: Options) -> dict[str, Any]:
    """Return processor seconds for one picture or pair, and the memory that a call adds in MB."""
    call = _call(name, framework, options.batch)
    first = np.asarray(call())
    best = float("inf")
    for _ in range(options.rounds):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return {
        "network": name,
        "framework": framework,
        "batch": options.batch,
        "processor_s": round(best / options.batch, 4),
        "added_mb": peak_memory(call),
        "checksum": float(np.abs(first).sum()),
    }


def main(options: Options) -> None:
    """Measure every network in each framework, in a process each."""
    if options.only:
        emit(**measure(options.networks[0], options.only, options))
        return
    emit(**describe())
    for name in options.networks:
        found = []
        for framework in ("jax", "torch"):
            flags = [name, "--only", framework, "--batch", str(options.batch)]
            command = [sys.executable, "-m", "benchmarks.likeness", "--networks", *flags]
            command += ["--rounds", str(options.rounds)]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found.append(json.loads(lines.splitlines()[-1]))
            emit(**found[-1])
        ours, theirs = (each["checksum"] for each in found)
        if abs(ours - theirs) > 1e-4 * abs(theirs):
            raise SystemExit(f"{name}: the frameworks disagree, {ours} and {theirs}")


if __name__ == "__main__":
    main(tyro.cli(Options))
