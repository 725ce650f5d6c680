"""What every benchmark says about itself, and how it takes times and memory."""

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
    """Return the device, its cores and the versions that matter."""
    device = jax.devices()[0]
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else []
    versions = {}
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
    """Wait until a device has computed a result of jax or torch, which stays there."""
    if hasattr(result, "is_cuda"):
        import torch

        if result.is_cuda:
            torch.cuda.synchronize()
        return result
    return jax.block_until_ready(result)


def on_host(result: Any) -> np.ndarray:
    """Return a result of jax or torch as NumPy, halves as float32."""
    return result.float().cpu().numpy() if hasattr(result, "is_cuda") else np.asarray(result)


def seconds_in_turns(
    calls: dict[str, Callable[[], Any]], *, warmup: int = 2, repeats: int = 5
) -> dict[str, dict[str, float]]:
    """Time several calls one after another, round by round, so that a slow spell hits them all."""
    times = {name: [] for name in calls}
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


def peak_memory(call: Callable[[], Any]) -> int | None:
    """Return the megabytes of host memory a call adds at its peak; None off Linux."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    gc.collect()
    reset.write_text("5")  # sets the high-water mark back to what is resident now
    before = _kilobytes(status, "VmRSS")
    call()
    return max(0, _kilobytes(status, "VmHWM") - before) // 1024


def emit(**figures: Any) -> None:
    """Print one JSON line."""
    print(json.dumps(figures), flush=True)


def _kilobytes(status: Path, field: str) -> int:
    return int(re.search(rf"{field}:\s+(\d+)", status.read_text())[1])
