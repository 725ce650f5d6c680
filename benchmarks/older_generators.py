"""StyleGAN, ProgressiveGAN and DCGAN beside PyTorch with the same weights in one process.

    python -m benchmarks.older_generators RECORDINGS
    python -m benchmarks.older_generators RECORDINGS --cases dcgan64 --batches 64

RECORDINGS is a folder of recorded cases, whose manifests draw the weights (CONTRIBUTING.md).
PyTorch runs the original's operations, eagerly. Prints one JSON line a case: seconds and processor
seconds a call, the memory that a call adds, and the difference between the pictures.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
import tyro

from benchmarks.machine import (
    describe,
    emit,
    on_host,
    peak_memory,
    processor_seconds,
    seconds_in_turns,
)
from benchmarks.torch_models import older_generators as originals
from convert import dcgan, pggan, stylegan1
from emojax.runtime import devices, xla_options
from emojax.runtime.cli import cli
from emojax.store import weights
from emojax.store.parts import DCGAN, PGGAN, STYLEGAN1, Part
from tests.data import recipe

State = dict[str, np.ndarray]


def _stylegan1(state: State) -> tuple[Part[Any, Any], Any, Mapping[str, Any]]:
    return (STYLEGAN1, *stylegan1.convert(stylegan1.find({"generator_smooth": state}, "drawn"))[:2])


def _pggan(state: State) -> tuple[Part[Any, Any], Any, Mapping[str, Any]]:
    return (PGGAN, *pggan.convert(pggan.find({"avgG": state}, "drawn"))[:2])


def _dcgan(state: State) -> tuple[Part[Any, Any], Any, Mapping[str, Any]]:
    return (DCGAN, *dcgan.convert(state)[:2])


CASES = {
    "stylegan1_ffhq1024": (_stylegan1, originals.stylegan1),
    "pggan_celebahq1024": (_pggan, originals.pggan),
    "pggan_ganzoo256": (_pggan, originals.gan_zoo),
    "dcgan64": (_dcgan, originals.dcgan),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.older_generators`."""

    recordings: tyro.conf.Positional[Path]
    """Folder of the recorded cases."""
    cases: tuple[str, ...] = tuple(CASES)
    """Which."""
    batches: tuple[int, ...] = (1,)
    """Pictures a call."""
    repeats: int = 5
    """Timed rounds, after two untimed ones."""


def main(options: Options) -> None:
    """Run every case at every batch."""
    if 1 not in options.batches:  # one picture has all cores, as in `emojax edit --seed`
        devices.use_cores()
    torch.set_grad_enabled(False)
    for case in options.cases:
        make, original = CASES[case]
        state = recipe.state_dict(recipe.load_manifest(options.recordings / case / "manifest.json"))
        part, config, table = make(state)
        model = weights.load(weights.abstract(part.network_class(), config), table)
        tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in state.items()}
        for batch in options.batches:
            z = np.random.RandomState(0).standard_normal((batch, config.z_dim)).astype(np.float32)
            ours = _call(model, z)
            given = torch.from_numpy(z)
            theirs = lambda tensors=tensors, given=given, run=original: run(tensors, given)  # noqa: E731
            _compare(case, ours, theirs, batch, options.repeats)


def _call(model: Any, z: np.ndarray) -> Callable[[], jax.Array]:
    mesh = devices.local_mesh(most=len(z))
    program = devices.over_samples(
        lambda model, z: model(z),
        mesh,
        split=(False, True),
        compiler_options=xla_options.options(dense=True),
    )
    placed = devices.everywhere(model, mesh)
    codes = jax.device_put(z, jax.NamedSharding(mesh, jax.P(devices.AXIS)))
    return lambda: program(placed, codes)


def _compare(
    case: str,
    ours: Callable[[], jax.Array],
    theirs: Callable[[], torch.Tensor],
    batch: int,
    repeats: int,
) -> None:
    """Time both in turns and print the line."""
    calls: dict[str, Callable[[], Any]] = {"emojax": ours, "torch": theirs}
    figures: dict[str, dict[str, Any]] = {**seconds_in_turns(calls, repeats=repeats)}
    for name, call in calls.items():
        # PyTorch's threads wait actively for a while, which slows down whoever comes next
        alone = seconds_in_turns({name: call}, repeats=repeats)[name]
        figures[name]["alone_s"] = alone["median_s"]
        figures[name]["processor_s"] = processor_seconds(call, repeats)
        figures[name]["peak_extra_mb"] = peak_memory(call)
    drawn, wanted = on_host(ours()).transpose(0, 3, 1, 2), on_host(theirs())
    emit(
        benchmark="older_generators",
        case=case,
        batch=batch,
        seconds={name: round(figure["median_s"], 4) for name, figure in figures.items()},
        memory_mb={name: figure["peak_extra_mb"] for name, figure in figures.items()},
        relative_difference=float(np.linalg.norm(drawn - wanted) / np.linalg.norm(wanted)),
        details=figures,
        **describe(),
    )


if __name__ == "__main__":
    cli(main)
