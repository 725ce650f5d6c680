"""DualStyleGAN's generator beside PyTorch with the same weights in one process.

    python -m benchmarks.dualstylegan
    python -m benchmarks.dualstylegan --size 256 --repeats 10

Weights are random. PyTorch runs the original's operations, eagerly. Prints one JSON line: seconds
and processor seconds a picture, the memory that a call adds, and the difference between the
pictures. Processor seconds count on a machine that others use, too.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.machine import (
    describe,
    emit,
    on_host,
    peak_memory,
    processor_seconds,
    seconds_in_turns,
)
from benchmarks.torch_models import dualstylegan as original
from convert import dualstylegan as converter
from emojax.latents import stylization
from emojax.latents.stylization import Stylizer
from emojax.models.dualstylegan import DualStyleGAN
from emojax.models.stylegan2 import GeneratorConfig
from emojax.runtime import devices, xla_options
from emojax.runtime.cli import cli
from emojax.store import weights


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.dualstylegan`."""

    size: int = 1024
    """Side of the pictures."""
    batch: int = 1
    """Pictures a call."""
    repeats: int = 5
    """Timed rounds, after two untimed ones."""


def main(options: Options) -> None:
    """Time both in turns and print the line."""
    devices.use_cores()
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    theirs = original.DualStyleGAN(GeneratorConfig.published(options.size).channels).eval()
    config, table, _ = converter.convert({k: v.numpy() for k, v in theirs.state_dict().items()})
    model = weights.load(weights.abstract(DualStyleGAN, config), table)
    rng, shape = np.random.RandomState(0), (options.batch, config.n_latent, config.style_dim)
    codes, styles = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    share = config.weights(stylization.STRUCTURE, stylization.COLOUR)

    @torch.inference_mode()
    def with_torch() -> torch.Tensor:
        return theirs(torch.from_numpy(codes), torch.from_numpy(styles), share.tolist())

    calls: dict[str, Callable[[], Any]] = {
        "emojax": _call(model, codes, styles, share),
        "torch": with_torch,
    }
    figures: dict[str, dict[str, Any]] = {**seconds_in_turns(calls, repeats=options.repeats)}
    for name, call in calls.items():
        figures[name]["processor_s"] = processor_seconds(call, options.repeats)
        figures[name]["peak_extra_mb"] = peak_memory(call)
    drawn, wanted = on_host(calls["emojax"]()).transpose(0, 3, 1, 2), on_host(with_torch())
    emit(
        benchmark="dualstylegan",
        size=options.size,
        batch=options.batch,
        figures=figures,
        relative_difference=float(np.linalg.norm(drawn - wanted) / np.linalg.norm(wanted)),
        **describe(),
    )


def _call(
    model: DualStyleGAN, codes: np.ndarray, styles: np.ndarray, share: np.ndarray
) -> Callable[[], jax.Array]:
    mesh = devices.local_mesh(most=len(codes))

    def run(model: DualStyleGAN, rows: dict[str, jax.Array], share: jax.Array) -> jax.Array:
        pair = stylization.mapped(Stylizer(model, None), rows["codes"], rows["styles"])  # pyright: ignore[reportArgumentType] - no encoder is used
        return model(*pair, share)

    program = devices.over_samples(
        run, mesh, (False, True, False), compiler_options=xla_options.options(dense=True)
    )
    placed, rows = devices.everywhere(model, mesh), {"codes": codes, "styles": styles}
    return lambda: program(placed, rows, share)


if __name__ == "__main__":
    cli(main)
