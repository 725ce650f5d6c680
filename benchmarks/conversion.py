"""Conversion and loading of the published files at full size: seconds and peak memory.

    python -m benchmarks.conversion
    python -m benchmarks.conversion --networks hyperstyle

PyTorch writes random weights of the published names and shapes. Each file is converted by its
command in one process, and the bundle is loaded in another.
"""

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.machine import describe, emit
from emojax.runtime.cli import cli

DATA = Path("tests/data")
LOAD = """
import gc, pathlib, sys, time
import jax
from emojax.latents import inversion
from emojax.store import bundle, parts, weights

found, network = bundle.find(pathlib.Path(sys.argv[1])), sys.argv[2]
gc.collect()  # what the imports left: it would fall into the time of one version and not another
start, spent = time.perf_counter(), time.process_time()
if network == "generator":
    networks = found.load(parts.GENERATOR)
else:
    networks = inversion.load(found, network)
jax.block_until_ready(jax.tree.leaves(networks))
print(time.perf_counter() - start, time.process_time() - spent)
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.conversion`."""

    networks: tuple[Literal["generator", "psp", "hyperstyle"], ...] = (
        "generator",
        "psp",
        "hyperstyle",
    )
    """Networks to convert."""


def main(options: Options) -> None:
    """Measure the chosen networks, the generator in both file formats of PyTorch."""
    for network in options.networks:
        for zipped in (True, False) if network == "generator" else (True,):
            with tempfile.TemporaryDirectory() as folder:
                measure(network, Path(folder), zipped)


def measure(network: str, folder: Path, zipped: bool) -> None:
    """Convert one file, load the bundle (an inverter with its generator) and print the line."""
    file = folder / f"{network}.pt"
    module, more = f"convert.{network}", []
    if network == "generator":
        module = "convert.stylegan"
        state = drawn("stylegan2_ffhq1024/manifest.json")
        save({"g_ema": state, "latent_avg": torch.zeros(512)}, file, zipped)
    elif network == "psp":
        save(published("psp_ffhq/manifest.json"), file, zipped)
    else:
        save(published("hyperstyle_ffhq/manifest.json"), file, zipped)
        more = ["--w-encoder", str(folder / "w_encoder.pt")]
        save(published("hyperstyle_ffhq/manifest_w_encoder.json"), Path(more[1]), zipped)
    command = [sys.executable, "-m", module, str(file), *more, "--checkpoints", str(folder)]
    _, convert_s, convert_peak_mb = run(command)
    printed, _, load_peak_mb = run([sys.executable, "-c", LOAD, str(folder / network), network])
    load_s, load_processor_s = map(float, printed.split())
    emit(
        benchmark="conversion",
        network=network,
        format="zip" if zipped else "legacy",
        file_mb=file.stat().st_size // 2**20,
        convert_s=round(convert_s, 2),
        convert_peak_mb=convert_peak_mb,
        load_s=round(load_s, 2),
        load_processor_s=round(load_processor_s, 2),
        load_peak_mb=load_peak_mb,
        **describe(),
    )


def drawn(manifest: str) -> dict[str, torch.Tensor]:
    """Return random tensors of a manifest's names and shapes; aliases share their memory."""
    about, rng = json.loads((DATA / manifest).read_text()), np.random.default_rng(0)
    state = {
        entry["key"]: torch.from_numpy(
            np.asarray(rng.standard_normal(entry["shape"], np.float32)).astype(entry["dtype"])
        )
        for entry in about["entries"]
    }
    for entry in about["entries"]:
        if "values" in entry["init"]:  # the fixed filters
            values = np.float32(entry["init"]["values"]).reshape(entry["shape"])
            state[entry["key"]] = torch.from_numpy(values)
    return state | {name: state[source] for name, source in about.get("aliases", {}).items()}


def published(manifest: str) -> dict[str, Any]:
    """Return the contents of a pSp-like file: state dict, options and mean latent."""
    opts = json.loads((DATA / manifest).read_text())["config"]["opts"]
    return {"state_dict": drawn(manifest), "opts": opts, "latent_avg": torch.zeros(18, 512)}


def save(contents: dict[str, Any], file: Path, zipped: bool) -> None:
    """Write a file in PyTorch's zip format, or in its format before 1.6."""
    torch.save(contents, file, _use_new_zipfile_serialization=zipped)


def run(command: list[str]) -> tuple[str, float, int]:
    """Run a command; return its output, its seconds and its peak resident memory in MB.

    The peak is polled while it runs, since what `getrusage` reports includes this process.
    """
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # because of PIPE
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            if found := re.search(r"VmHWM:\s+(\d+)", status.read_text()):
                peak = int(found[1]) // 1024
            time.sleep(0.01)
        printed = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return printed, time.perf_counter() - start, peak


if __name__ == "__main__":
    cli(main)
