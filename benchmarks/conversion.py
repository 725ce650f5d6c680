"""Converting and loading a full-size 1024² generator: seconds and peak memory.

    python -m benchmarks.conversion

Weights are drawn from the recorded manifest and written by torch in both of its formats; each is
converted by `python -m convert.stylegan` in a process of its own, and the bundle loaded in another.
"""

import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.machine import describe, emit
from emojax.cli import cli
from tests.data import recipe

MANIFEST = Path("tests/data/stylegan2_ffhq1024/manifest.json")
LOAD = (
    "import sys, time, pathlib, jax; from emojax import bundle; start = time.perf_counter(); "
    "jax.block_until_ready(jax.tree.leaves(bundle.load(pathlib.Path(sys.argv[1]), 'generator'))); "
    "print(time.perf_counter() - start)"
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.conversion`."""

    manifest: Path = MANIFEST
    """The list of tensors to draw."""


def main(options: Options) -> None:
    """Measure both formats."""
    state = recipe.state_dict(recipe.load_manifest(options.manifest))
    saved = {"g_ema": {key: torch.from_numpy(array) for key, array in state.items()}}
    saved["latent_avg"] = torch.zeros(512)
    with tempfile.TemporaryDirectory() as folder:
        for zipped in (True, False):
            file = Path(folder) / f"{'zip' if zipped else 'legacy'}.pt"
            torch.save(saved, file, _use_new_zipfile_serialization=zipped)
            convert = [sys.executable, "-m", "convert.stylegan", str(file), "--output", folder]
            seconds, megabytes = run(convert)
            bundle = Path(folder) / file.stem
            loading = subprocess.run(
                [sys.executable, "-c", LOAD, str(bundle)],
                capture_output=True,
                text=True,
                check=True,
            )
            emit(
                benchmark="conversion",
                format=file.stem,
                file_mb=file.stat().st_size // 2**20,
                convert_s=round(seconds, 2),
                convert_peak_mb=megabytes,
                load_s=round(float(loading.stdout), 2),
                **describe(),
            )


def run(command: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and the peak resident memory of any child so far in MB."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


if __name__ == "__main__":
    cli(main)
