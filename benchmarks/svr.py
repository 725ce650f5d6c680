"""`emojax.svr` on eight softmax targets, beside scikit-learn on one of them.

    python -m benchmarks.svr                      # 300,000 x 512 x 8, both losses, gap 1e-4
    python -m benchmarks.svr --quick              # 30,000 x 512 x 8, both losses, gap 1e-6
    python -m benchmarks.svr --width 9216         # W+ of 18 layers instead of W
    python -m benchmarks.svr --width 9216 --made-on device --epochs 0   # rows made on a GPU
    python -m benchmarks.svr --stream-rows 50000  # rows stay in host memory
    python -m benchmarks.svr --fits 2             # the second fit compiles nothing

scikit-learn's `LinearSVR` would take hours for its default 1,000 iterations. It runs for `--epochs`
and for twice as many, and the difference, which excludes set-up and includes the effect of
shrinking, is extrapolated. Prints one JSON line.
"""

import json
import logging
import platform
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import sklearn
import tyro
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVR

from emojax.runtime.cli import run_command
from emojax.svr import SVRConfig, fit_svr
from emojax.svr.problem import Loss

EMOTION_BIAS = np.array([3.0, 2.5, 0, 0, -0.5, -1, -1, -1.5], np.float32)
"""Added to the logits, so that two of the eight emotions dominate."""


@dataclass(frozen=True)
class Benchmark:
    """Flags of `python -m benchmarks.svr`."""

    rows: int = 300_000
    """Samples."""
    width: int = 512
    """Features."""
    condition: float = 1e5
    """Condition number of the covariance of the samples."""
    C: float = 1.0
    """Weight of the loss."""
    epsilon: float = 0.0
    """Half width of the tube without loss."""
    tol: float = 1e-4
    """Relative duality gap to reach."""
    seed: int = 0
    """Seed of the data."""
    stream_rows: int | None = None
    """Rows to transfer from host memory at a time; by default all stay on the devices."""
    epochs: int = 10
    """Iterations of scikit-learn's first run; 0 leaves scikit-learn out."""
    fits: int = 1
    """Fits of each loss, one after another; the first compiles."""
    made_on: Literal["host", "device"] = "host"
    """Where the samples are drawn; on a device they stay there."""
    quick: bool = False
    """Use 30,000 rows and a tolerance of 1e-6."""
    verbose: bool = False
    """Log every iteration."""


def emotion_like(
    rows: int, width: int, condition: float, seed: int, made_on: Literal["host", "device"] = "host"
) -> tuple[Any, np.ndarray]:
    """Return float32 samples [rows, width] of ill-conditioned covariance, and 8 probabilities."""
    if made_on == "device":
        return _drawn_on_device(rows, width, condition, seed)
    rng = np.random.default_rng(seed)
    deviations = np.logspace(0, -np.log10(condition) / 2, width).astype(np.float32)
    rotation = np.linalg.qr(rng.standard_normal((width, width), dtype=np.float32))[0]
    white = rng.standard_normal((rows, width), dtype=np.float32)
    mean = 0.3 * rng.standard_normal(width, dtype=np.float32)
    x = (white * deviations) @ rotation + mean
    decay = np.exp(-np.arange(width) / (width / 5))[:, None].astype(np.float32)
    directions = decay * rng.standard_normal((width, 8), dtype=np.float32)
    logits = white @ (1.5 * directions / np.linalg.norm(directions, axis=0))
    logits += 0.7 * rng.standard_normal((rows, 8), dtype=np.float32) + EMOTION_BIAS
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    return x, probabilities / probabilities.sum(axis=1, keepdims=True)


def _drawn_on_device(
    rows: int, width: int, condition: float, seed: int
) -> tuple[jax.Array, np.ndarray]:
    """Draw what `emotion_like` draws, from other random numbers, with jax."""
    keys = jax.random.split(jax.random.key(seed), 5)
    precise = jax.lax.Precision.HIGHEST
    deviations = jnp.logspace(0, -np.log10(condition) / 2, width)
    rotation = jnp.linalg.qr(jax.random.normal(keys[0], (width, width)))[0]
    decay = jnp.exp(-jnp.arange(width) / (width / 5))[:, None]
    directions = decay * jax.random.normal(keys[2], (width, 8))
    directions = 1.5 * directions / jnp.linalg.norm(directions, axis=0)
    mean = 0.3 * jax.random.normal(keys[1], (width,))

    @jax.jit
    def draw(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        white = jax.random.normal(keys[0], (rows, width))
        noise = 0.7 * jax.random.normal(keys[1], (rows, 8))
        logits = jnp.matmul(white, directions, precision=precise) + noise + EMOTION_BIAS
        x = jnp.matmul(white * deviations, rotation, precision=precise) + mean
        return x, jax.nn.softmax(logits)

    x, y = draw(keys[3:])
    return jax.block_until_ready(x), np.asarray(y)


def time_ours(x: Any, y: np.ndarray, loss: Loss, options: Benchmark) -> dict[str, Any]:
    """Return the seconds of each fit of all targets, the first with compilation, and the gaps."""
    config = SVRConfig(loss=loss, C=options.C, epsilon=options.epsilon, tol=options.tol)
    seconds, fit = [], None
    for _ in range(max(1, options.fits)):
        start = time.perf_counter()
        fit = fit_svr(x, y, config, stream_rows=options.stream_rows)
        seconds.append(round(time.perf_counter() - start, 2))
    assert fit is not None
    return {
        "seconds": seconds,
        "iterations": fit.iterations,
        "largest_gap": float(fit.gap.max()),
        "converged": bool(fit.converged.all()),
        "primal": [float(p) for p in fit.primal],
    }


def time_sklearn(x: Any, y: np.ndarray, options: Benchmark) -> dict[str, Any]:
    """Time two short runs of scikit-learn on one target and extrapolate to 1,000 iterations."""
    x = np.asarray(x, np.float64)  # liblinear would convert it itself
    seconds, primal = [], None
    for epochs in (options.epochs, 2 * options.epochs):
        model = LinearSVR(C=options.C, epsilon=options.epsilon, max_iter=epochs, random_state=0)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y[:, 0])
        seconds.append(time.perf_counter() - start)
        excess = np.maximum(np.abs(y[:, 0] - model.predict(x)) - options.epsilon, 0)
        norm = model.coef_ @ model.coef_ + np.ravel(model.intercept_)[0] ** 2
        primal = 0.5 * norm + options.C * excess.sum()
    epoch = (seconds[1] - seconds[0]) / options.epochs
    return {
        "targets": 1,
        "measured_epochs": [options.epochs, 2 * options.epochs],
        "measured_seconds": [round(s, 2) for s in seconds],
        "extrapolated_seconds_for_1000": round(seconds[0] + epoch * (1000 - options.epochs), 1),
        "primal_after_measured": float(primal),
    }


def measure(options: Benchmark) -> None:
    """Time both losses and scikit-learn, and print the JSON line."""
    if options.quick:
        options = Benchmark(**{**vars(options), "rows": 30_000, "tol": 1e-6})
    if options.verbose:
        logging.getLogger("emojax").setLevel(logging.DEBUG)
    x, y = emotion_like(
        options.rows, options.width, options.condition, options.seed, options.made_on
    )
    device = jax.devices()[0]
    report = {
        "benchmark": "svr",
        "device": f"{jax.device_count()} x {device.device_kind} ({platform.processor()})",
        "versions": {"jax": jax.__version__, "scikit-learn": sklearn.__version__},
        "options": vars(options),
        "targets": y.shape[1],
        "absolute": time_ours(x, y, "epsilon_insensitive", options),
        "squared": time_ours(x, y, "squared_epsilon_insensitive", options),
    }
    if options.epochs:
        report["scikit-learn"] = time_sklearn(x, y, options)
    print(json.dumps(report))


if __name__ == "__main__":
    sys.exit(run_command(lambda: measure(tyro.cli(Benchmark, description=__doc__))))
