"""HFGI beside PyTorch with the same weights in one process.

    python -m benchmarks.hfgi
    python -m benchmarks.hfgi --size 256 --repeats 5

A photograph is inverted and drawn again: e4e's encoder, the generator, aligner and consultation
encoder, and the generator once more. Weights are random, in the published layout. PyTorch runs the
original's operations, eagerly. Prints one JSON line: seconds and processor seconds a picture, the
memory that a call adds, and the difference between the pictures.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks.inversion import arrays, nchw, settled
from benchmarks.machine import (
    describe,
    emit,
    on_host,
    peak_memory,
    processor_seconds,
    seconds_in_turns,
)
from benchmarks.torch_models import hfgi as original
from benchmarks.torch_models.stylegan2 import Generator
from convert import hfgi as converter
from convert import psp as convert_psp
from convert import stylegan
from emojax.latents import inversion
from emojax.latents.inverter import Inverter
from emojax.models import hfgi, psp, stylegan2
from emojax.models.stylegan2 import GeneratorConfig
from emojax.runtime import devices
from emojax.runtime.cli import cli
from emojax.store import weights


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.hfgi`."""

    size: int = 1024
    """Side of the generator's pictures."""
    batch: int = 1
    """Pictures a call."""
    repeats: int = 3
    """Timed rounds, after one untimed one."""
    torch: tyro.conf.FlagConversionOff[bool] = True
    """Also time PyTorch."""


def main(options: Options) -> None:
    """Time both in turns and print the line."""
    devices.use_cores()
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pictures = rng.uniform(-1, 1, (options.batch, 256, 256, 3)).astype(np.float32)
    theirs = settled(original.HFGI(Generator(GeneratorConfig.published(options.size).channels)))
    inverter, seen = inverter_of(theirs), nchw(pictures)
    calls: dict[str, Callable[[], Any]] = {
        "emojax": lambda: reconstructed(inverter, pictures),
        "torch": lambda: theirs(seen).permute(0, 2, 3, 1),
    }
    if not options.torch:
        calls.pop("torch")
    figures: dict[str, dict[str, Any]] = {
        **seconds_in_turns(calls, warmup=1, repeats=options.repeats)
    }
    for name, call in calls.items():
        figures[name]["processor_s"] = processor_seconds(call, options.repeats)
        figures[name]["peak_extra_mb"] = peak_memory(call)
    drawn = {name: on_host(call()) for name, call in calls.items()}
    apart = np.linalg.norm(drawn["emojax"] - drawn.get("torch", np.nan))
    emit(
        benchmark="hfgi",
        size=options.size,
        batch=options.batch,
        figures=figures,
        relative_difference=float(apart / np.linalg.norm(drawn["emojax"])),
        **describe(),
    )


def reconstructed(inverter: Inverter, pictures: np.ndarray) -> np.ndarray:
    """Invert photographs [B,256,256,3] and draw them again, [B,S,S,3]."""
    found = inversion.invert(inverter, pictures, batch=len(pictures))
    return inversion.synthesize(inverter, found, batch=len(pictures))


def inverter_of(theirs: original.HFGI) -> Inverter:
    """Return emojax's networks with the weights of PyTorch's, and a mean latent of 0."""
    state = arrays(theirs)
    found = stylegan.Found(
        "rosinality", "torch", stylegan.part_of(state, "decoder."), np.zeros(512, np.float32)
    )
    shape, table, _, _ = stylegan.convert(found)
    generator = weights.load(weights.abstract(stylegan2.Generator, shape), table)
    mean = np.zeros((shape.n_latent, 512), np.float32)
    encoding = {name: array for name, array in state.items() if name.startswith("encoder.")}
    config, table, _ = convert_psp.convert(encoding, "e4e", shape.n_latent, mean)
    encoder = weights.load(weights.abstract(psp.Encoder, config), table)
    config, table, _ = converter.convert(state, shape)
    consultant = weights.load(weights.abstract(hfgi.HFGI, config), table)
    return Inverter(generator, encoder, consultant=consultant, method="hfgi")


if __name__ == "__main__":
    cli(main)
