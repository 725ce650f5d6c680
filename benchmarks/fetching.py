"""`emojax fetch` of files of the published size over a connection that breaks: seconds and memory.

    python -m benchmarks.fetching
    python -m benchmarks.fetching --cuts 10 --kills 2 --seed 1 --folder /large/disk

Writes the six files of the FFHQ bundle with random weights (4.6 GB), serves them on the loopback,
cuts connections at random places and kills the command at random moments, until it ends. Then every
part of the bundle is read and compared with its hash, and the same files under other names, in
another order, are converted by one `emojax convert`; both bundles must be equal.
"""

import dataclasses
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.conversion import run
from benchmarks.machine import describe, emit
from emojax.runtime.cli import cli
from emojax.store import bundle, weights
from emojax.store.fingerprint import fingerprint
from emojax.store.parts import PARTS
from tests.support import published_set
from tests.support.file_server import FileServer, cut


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.fetching`."""

    cuts: int = 10
    """Connections that are cut, at least."""
    kills: int = 2
    """Times that the command is killed."""
    seed: int = 0
    """Of the places and moments."""
    folder: Path | None = None
    """Where 15 GB are free; default: the folder for temporary files."""


def main(options: Options) -> None:
    """Write, serve, fetch, compare, and print one line."""
    drawn = random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        served = folder / "served"
        served.mkdir()
        files = published_set.published(served)
        hashes = {part: sha256(file) for part, file in files.items()}
        figures = fetch(folder, files, options, drawn)
        fetched = verified(folder / "bundles/fetched", hashes)
        renamed = [file.rename(served / f"{i}.bin") for i, file in enumerate(files.values())]
        drawn.shuffle(renamed)
        command = [sys.executable, "-m", "emojax", "convert", *map(str, renamed)]
        command += ["--name", "converted", "--checkpoints", str(folder / "bundles")]
        _, convert_s, convert_peak_mb = run(command)
        emit(
            benchmark="fetching",
            file_gb=round(sum(file.stat().st_size for file in renamed) / 1e9, 2),
            **figures,
            convert_s=round(convert_s, 1),
            convert_peak_mb=convert_peak_mb,
            bundles_equal=verified(folder / "bundles/converted", hashes) == fetched,
            **describe(),
        )


def fetch(
    folder: Path, files: Mapping[str, Path], options: Options, drawn: random.Random
) -> dict[str, Any]:
    """Serve files, fetch them with cuts and kills, and return the figures."""
    with FileServer(folder / "served") as server:
        plan_cuts(server, list(files.values()), options.cuts, drawn)
        table = folder / "full.toml"
        table.write_text(published_set.table(server, {f.name: p for p, f in files.items()}))
        command = [sys.executable, "-m", "emojax", "fetch", str(table), "--accept-licences"]
        command += ["--name", "fetched", "--checkpoints", str(folder / "bundles")]
        start = time.perf_counter()
        downloads = folder / "bundles/.downloads"
        kill_at_random(command, downloads, options.kills, drawn)
        planned = sum(map(len, server.plan.values()))  # a killed run leaves its cuts undone
        missing = [f for f in files.values() if not (downloads / f.name).is_file()]
        plan_cuts(server, missing, options.cuts - server.cuts - planned, drawn)
        _, last_run_s, peak_mb = run(command)
        return {
            "cuts": server.cuts,
            "kills": options.kills,
            "requests": len(server.asked),
            "fetch_s": round(time.perf_counter() - start, 1),
            "last_run_s": round(last_run_s, 1),
            "fetch_peak_mb": peak_mb,
        }


def plan_cuts(server: FileServer, files: list[Path], cuts: int, drawn: random.Random) -> None:
    """Plan cuts at random places of random files, large files more often.

    A file takes twelve of them, for each comes after a twelfth of it at most.
    """
    sizes = [file.stat().st_size for file in files]
    for file in drawn.choices(files, weights=sizes, k=cuts):
        place = drawn.randrange(2**16, file.stat().st_size // 12)
        server.plan.setdefault(file.name, []).append(cut(place))


def kill_at_random(command: list[str], folder: Path, kills: int, drawn: random.Random) -> None:
    """Start the command and kill it once some bytes have arrived, several times."""
    for _ in range(kills):
        enough = arrived(folder) + drawn.randrange(10**8, 8 * 10**8)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and arrived(folder) < enough:
                time.sleep(0.02)
            process.kill()


def arrived(folder: Path) -> int:
    """Return the bytes in a folder of downloads."""
    total = 0
    for file in folder.glob("*.pt*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # renamed in between
            continue
    return total


def verified(folder: Path, hashes: dict[str, str]) -> dict[str, str]:
    """Return {part: hash of its weights}, each read and compared, of files with these hashes."""
    found = bundle.find(folder)
    stored = {}
    for part, published in hashes.items():
        metadata = found.metadata(PARTS[part])
        assert metadata.source["sha256"] == published, part
        held = fingerprint(weights.read(found.folder(PARTS[part]) / "weights"))
        assert held == metadata.weights_sha256, part
        stored[part] = held
    return stored


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    cli(main)
