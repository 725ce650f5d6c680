"""Inversion by pSp and by HyperStyle at 1024², beside PyTorch with the same weights.

    python -m benchmarks.inversion --batch 1 --threads 2
    python -m benchmarks.inversion --batch 8 --only psp --bfloat16

Weights are random, in the published layouts. Prints one JSON line for each method: seconds per face
after a warm-up (the least of --repeats), their ratio, the relative difference of the results, the
device and the versions.
"""

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax
import numpy as np
import torch
from flax import nnx

from benchmarks import machine
from benchmarks.torch_models import encoders
from benchmarks.torch_models import hyperstyle as torch_hyperstyle
from benchmarks.torch_models.encoders import GradualStyleEncoder
from benchmarks.torch_models.stylegan2 import Generator
from convert import hyperstyle as convert_hyperstyle
from convert import psp as convert_psp
from convert import stylegan
from emojax.latents import inversion, refinement
from emojax.latents.inversion import Inverter
from emojax.models import hyperstyle, psp, stylegan2
from emojax.runtime.cli import cli
from emojax.store import weights

Model = TypeVar("Model", bound=nnx.Module)
Module = TypeVar("Module", bound=torch.nn.Module)


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.inversion`."""

    batch: int = 1
    """Faces at a time."""
    repeats: int = 3
    """Timed runs, of which the fastest counts."""
    passes: int = 5
    """Passes of HyperStyle."""
    only: Literal["psp", "hyperstyle", "both"] = "both"
    """Methods to time."""
    threads: int = os.cpu_count() or 1
    """CPU threads of PyTorch."""
    torch_batch: int = 0
    """Faces of a PyTorch batch in HyperStyle, which takes 3 GB each; 0 for --batch."""
    bfloat16: bool = False
    """Compute in bfloat16: emojax its convolutions, PyTorch under its autocast."""
    torch: bool = True
    """Also time PyTorch."""


def main(options: Options) -> None:
    """Time the chosen methods."""
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    pictures = rng.uniform(-1, 1, (options.batch, 256, 256, 3)).astype(np.float32)
    for name, bench in (("psp", _psp), ("hyperstyle", _hyperstyle)):
        if options.only in (name, "both"):
            about = {
                "batch": options.batch,
                "passes": options.passes if name == "hyperstyle" else 0,
                "dtype": "bfloat16" if options.bfloat16 else "float32",
                "torch_threads": options.threads,
            }
            machine.emit(method=name, **bench(pictures, options), **about, **machine.describe())


def _psp(pictures: np.ndarray, options: Options) -> dict[str, float]:
    reference = settled(GradualStyleEncoder())
    state = {f"encoder.{key}": value for key, value in arrays(reference).items()}
    mean = np.zeros((18, 512), np.float32)
    config, table, _ = convert_psp.convert(state, "gradual", 18, mean)
    encoder = loaded(psp.Encoder, config, table, options)
    shown, seen = jax.device_put(pictures), nchw(pictures)
    return _compare(lambda: inversion.encode(encoder, shown), lambda: reference(seen), options)


def _hyperstyle(pictures: np.ndarray, options: Options) -> dict[str, float]:
    shape = stylegan2.GeneratorConfig.published(1024)
    generator = settled(Generator(shape.channels))
    w_encoder, hypernet = settled(encoders.WEncoder()), settled(torch_hyperstyle.Hypernet())
    mean = np.zeros((18, 512), np.float32)
    networks = hyperstyle_inverter(generator, w_encoder, hypernet, mean, options)

    shown, seen = jax.device_put(pictures), nchw(pictures)
    average, passes = torch.from_numpy(mean).to(seen.device), options.passes

    def ours() -> jax.Array:
        codes, vectors, _ = refinement.refine(networks, shown, passes=passes)
        return refinement.redraw(networks, codes, vectors, passes)

    def theirs() -> torch.Tensor:
        drawn = [
            torch_hyperstyle.invert(generator, w_encoder, average, hypernet, x, passes)[2]
            for x in seen.split(options.torch_batch or options.batch)
        ]
        return torch.cat(drawn).permute(0, 2, 3, 1)

    return _compare(ours, theirs, options)


def generator_of(reference: Generator, mean: np.ndarray, options: Options) -> stylegan2.Generator:
    """Return emojax's generator with the weights of PyTorch's and the mean latent [512]."""
    found = stylegan.Found("rosinality", "torch", arrays(reference), mean)
    config, table, _, _ = stylegan.convert(found)
    changes = {"bfloat16_from": 8} if options.bfloat16 else {}
    config = dataclasses.replace(config, **changes)
    return weights.load(weights.abstract(stylegan2.Generator, config), table)


def hyperstyle_inverter(
    generator: Generator,
    w_encoder: encoders.WEncoder,
    hypernet: torch_hyperstyle.Hypernet,
    mean: np.ndarray,
    options: Options,
) -> Inverter:
    """Return emojax's networks with the weights of PyTorch's and the mean latent [18,512]."""
    ours = generator_of(generator, mean[0], options)
    state = {f"encoder.{key}": value for key, value in arrays(w_encoder).items()}
    w_config, table, _ = convert_psp.convert(state, "w", 18, mean)
    encoder = loaded(psp.Encoder, w_config, table, options)
    state = {f"hypernet.{key}": value for key, value in arrays(hypernet).items()}
    h_config, table, _ = convert_hyperstyle.convert(state, "", ours.config.channels)
    refiner = loaded(hyperstyle.Hypernet, h_config, table, options)
    return Inverter(ours, encoder, refiner, method="hyperstyle")


def loaded(
    network: Callable[..., Model], config: Any, table: weights.Arrays, options: Options
) -> Model:
    """Return a network with converted weights."""
    if options.bfloat16:
        config = dataclasses.replace(config, dtype="bfloat16")
    return weights.load(weights.abstract(network, config), table)


def settled(module: Module) -> Module:
    """Set random BatchNorm statistics and inference mode, and move to PyTorch's device."""
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
        elif name.endswith("running_mean"):
            buffer.copy_(torch.randn_like(buffer) * 0.1)
    return module.eval().to(device())


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """Return the tensors of a PyTorch module."""
    return {key: value.cpu().numpy() for key, value in module.state_dict().items()}


def nchw(pictures: np.ndarray) -> torch.Tensor:
    """Return pictures [B,H,W,3] as a tensor [B,3,H,W] on PyTorch's device."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).to(device())


def device() -> str:
    """Return PyTorch's device: "cuda" or "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _compare(
    ours: Callable[[], jax.Array], theirs: Callable[[], torch.Tensor], options: Options
) -> dict[str, float]:
    """Time both in turns and compare their results; the least of the repeats counts.

    Pictures are on the device before, and results stay there. emojax runs once before, to compile;
    PyTorch compiles nothing, so its first call counts.
    """

    def autocast() -> torch.Tensor:
        with torch.autocast(device(), torch.bfloat16, enabled=options.bfloat16):
            return theirs()

    calls: dict[str, Callable[[], jax.Array | torch.Tensor]]
    calls = {"emojax": ours, "torch": autocast} if options.torch else {"emojax": ours}
    results = {"emojax": machine.ready(ours())}
    least = dict.fromkeys(calls, np.inf)
    for _ in range(options.repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            results[name] = machine.ready(call())
            least[name] = min(least[name], time.perf_counter() - start)
    found = {f"{name}_s": round(each / options.batch, 4) for name, each in least.items()}
    if options.torch:
        result = {name: machine.on_host(value) for name, value in results.items()}
        difference = np.linalg.norm(result["emojax"] - result["torch"])
        found["ratio"] = round(least["torch"] / least["emojax"], 3)
        found["relative_difference"] = float(difference / np.linalg.norm(result["torch"]))
    return found


if __name__ == "__main__":
    cli(main)
