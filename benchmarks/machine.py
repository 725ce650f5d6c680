"""Timing, memory measurement and the machine's description, common to all benchmarks."""

import gc
import importlib.metadata
import json
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np


def describe() -> dict[str, Any]:
    """Return the device, the number of cores and the versions of the frameworks."""
    device = jax.devices()[0]
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else []
    versions: dict[str, str | None] = {}
    for package in ("jax", "jaxlib", "flax", "torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "device": device.device_kind
        if device.platform != "cpu"
        else (names or [platform.machine()])[0],
        "platform": device.platform,
        "cores": len(names),
        **versions,
    }


def ready(result: Any) -> Any:
    """Wait until a result of JAX or PyTorch is complete on its device, and return it."""
    if hasattr(result, "is_cuda"):
        import torch

        if result.is_cuda:
            torch.cuda.synchronize()
        return result
    return jax.block_until_ready(result)


def on_host(result: Any) -> np.ndarray:
    """Return a result of JAX or PyTorch as NumPy; PyTorch's bfloat16 becomes float32."""
    return result.float().cpu().numpy() if hasattr(result, "is_cuda") else np.asarray(result)


def seconds_in_turns(
    calls: dict[str, Callable[[], Any]], *, warmup: int = 2, repeats: int = 5
) -> dict[str, dict[str, float]]:
    """Time several calls in turns, so that varying load on the machine affects all of them.

    Args:
        calls: by name; a call ends when its result is complete on the device.
        warmup: untimed rounds.
        repeats: timed rounds.

    Returns:
        For each call the median and the least of its times in seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warmup + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            ready(call())
            if turn >= warmup:
                times[name].append(time.perf_counter() - start)
    return {
        name: {"median_s": round(statistics.median(taken), 4), "best_s": round(min(taken), 4)}
        for name, taken in times.items()
    }


def processor_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Return the least processor seconds of some calls, which count on a shared machine, too."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        ready(call())
        taken.append(time.process_time() - start)
    return round(min(taken), 4)


def peak_memory(call: Callable[[], Any]) -> int | None:
    """Return the peak of the host memory that a call adds, in MB; None unless on Linux."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    gc.collect()
    reset.write_text("5")  # resets the high-water mark to the current resident size
    before = _kilobytes(status, "VmRSS")
    ready(call())
    return max(0, _kilobytes(status, "VmHWM") - before) // 1024


def emit(**figures: Any) -> None:
    """Print one JSON line."""
    print(json.dumps(figures), flush=True)


def _kilobytes(status: Path, field: str) -> int:
    (found,) = re.findall(rf"{field}:\s+(\d+)", status.read_text())
    return int(found)
