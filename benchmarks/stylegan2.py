"""StyleGAN2 synthesis beside PyTorch: pictures per second with the same weights in one process.

    python -m benchmarks.stylegan2                       1024² at batch 1, 256² at batch 8
    python -m benchmarks.stylegan2 --cases 1024x4 --dtypes float32 bfloat16
    python -m benchmarks.stylegan2 --no-compile          without torch.compile
    python -m benchmarks.stylegan2 --cases 1024x32 --dtypes bfloat16 --bfloat16-from 8    on a GPU

PyTorch runs in the published form (weights modulated for every sample, grouped convolution, FIR
filter by zero insertion) and in the fastest form known to us (activations modulated, channels_last,
torch.compile); on a GPU with cudnn.benchmark. Pictures stay on the device in both frameworks.
Prints one JSON line for each case and dtype; in bfloat16 with the difference from float32.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.machine import describe, emit, on_host, peak_memory, seconds_in_turns
from benchmarks.torch_models.stylegan2 import Form
from benchmarks.torch_models.stylegan2 import Generator as TorchGenerator
from convert import stylegan
from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.runtime import devices, xla_options
from emojax.runtime.cli import cli
from emojax.store import weights


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.stylegan2`."""

    cases: tuple[str, ...] = ("1024x1", "256x8")
    """Cases as RESOLUTIONxBATCH."""
    dtypes: tuple[str, ...] = ("float32",)
    """float32, or bfloat16 (convolutions from --bfloat16-from on)."""
    bfloat16_from: int = 64
    """Resolution from which on bfloat16 is used; a GPU's own kernels start at 8."""
    repeats: int = 5
    """Timed rounds, after two untimed ones."""
    forms: tuple[Form, ...] = ("original", "best", "shifted")
    """Forms of the PyTorch generator (see `benchmarks.torch_models.stylegan2`)."""
    compile: bool = True
    """Also time the best form under torch.compile."""


def main(options: Options) -> None:
    """Run every case in every dtype."""
    devices.use_cores()
    torch.backends.cudnn.benchmark = True
    torch.set_grad_enabled(False)
    for case in options.cases:
        size, batch = map(int, case.split("x"))
        config = GeneratorConfig.published(size)
        torch.manual_seed(0)
        original = TorchGenerator(config.channels).eval()
        state = {name: array.numpy() for name, array in original.state_dict().items()}
        z = np.random.default_rng(0).standard_normal((batch, config.z_dim)).astype(np.float32)
        for dtype in options.dtypes:
            compare(config, state, z, dtype, options)


def compare(
    config: GeneratorConfig,
    state: dict[str, np.ndarray],
    z: np.ndarray,
    dtype: str,
    options: Options,
) -> None:
    """Time emojax and PyTorch on one case and print the line."""
    half_from = options.bfloat16_from if dtype == "bfloat16" else None
    ours = emojax_call(config, state, z, half_from)
    partners: dict[str, Callable[[], torch.Tensor]] = {}
    for form, compiled in itertools.product(options.forms, (False, True)):
        if not compiled or (options.compile and form != "original"):
            name = f"torch {form}" + (", compiled" if compiled else "")
            partners[name] = torch_call(config, state, z, form, half_from, compiled)
    calls: dict[str, Callable[[], Any]] = {"emojax": ours, **partners}
    figures: dict[str, dict[str, Any]] = {**seconds_in_turns(calls, repeats=options.repeats)}
    for name, call in calls.items():
        figures[name]["peak_extra_mb"] = peak_memory(call)
    exact = on_host(ours()).transpose(0, 3, 1, 2)
    for name, call in partners.items():
        figures[name]["max_error"] = float(np.abs(on_host(call()) - exact).max())
    if half_from is not None:
        with jax.default_matmul_precision("highest"):
            full = on_host(emojax_call(config, state, z, None)()).transpose(0, 3, 1, 2)
        figures["emojax"]["error_of_bfloat16"] = _levels(exact, full)
    rates = {name: len(z) / figure["median_s"] for name, figure in figures.items()}
    emit(
        benchmark="stylegan2",
        size=config.size,
        batch=len(z),
        dtype=dtype,
        pictures_per_second={name: round(rate, 3) for name, rate in rates.items()},
        faster_than={n: round(rates["emojax"] / r, 2) for n, r in rates.items() if n != "emojax"},
        details=figures,
        **describe(),
    )


def _levels(pictures: np.ndarray, full: np.ndarray) -> dict[str, float]:
    """Compare pictures with those of float32 where three standard deviations are 127.5 levels.

    Random weights draw pictures of another range than [-1, 1], which a trained generator fills.
    """
    difference = np.abs(pictures - full) * (127.5 / (3 * full.std()))
    relative = np.linalg.norm(pictures - full) / np.linalg.norm(full)
    return {
        "mean_of_255": float(difference.mean()),
        "max_of_255": float(difference.max()),
        "relative_l2": float(relative),
    }


def emojax_call(
    config: GeneratorConfig, state: dict[str, np.ndarray], z: np.ndarray, half_from: int | None
) -> Callable[[], jax.Array]:
    """Return the timed call of emojax; its pictures, NHWC, stay on the device."""
    mean = np.zeros(config.style_dim, np.float32)
    _, table, _, _ = stylegan.convert(stylegan.Found("rosinality", "benchmark", state, mean))
    config = dataclasses.replace(config, bfloat16_from=half_from)
    mesh = devices.local_mesh(most=len(z))
    model = devices.everywhere(weights.load(weights.abstract(Generator, config), table), mesh)
    options = xla_options.options(dense=True)
    program = devices.over_samples(
        lambda model, z: model(z), mesh, split=(False, True), compiler_options=options
    )
    codes = jax.device_put(z, jax.NamedSharding(mesh, jax.P(devices.AXIS)))
    return lambda: program(model, codes)


def torch_call(
    config: GeneratorConfig,
    state: dict[str, np.ndarray],
    z: np.ndarray,
    form: Form,
    half_from: int | None,
    compiled: bool,
) -> Callable[[], torch.Tensor]:
    """Return the timed call of a PyTorch form; its pictures, NCHW, stay on the device."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = TorchGenerator(config.channels, form=form).eval()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    model.to(device)
    model.half_from = half_from
    if form != "original":
        model.memory_format = torch.channels_last
    run = torch.compile(model) if compiled else model
    codes = torch.from_numpy(z).to(device)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return run(codes)

    return call


if __name__ == "__main__":
    cli(main)
