"""Files of a training stage: checkpoints, progress, log of losses, and the finished network."""

import contextlib
import dataclasses
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.runtime.files import replacing
from emojax.store import weights
from emojax.store.reader.contents import Kind, Malformed, reading
from emojax.store.reader.fields import record
from emojax.store.reader.json_text import parse_object

log = logging.getLogger(__name__)

NETWORK = "network"
"""Folder of a finished stage's network."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a stage is, by `progress.json`.

    Attributes:
        step: updates at its last checkpoint.
        seconds: time they took.
        share: of the stage that is done, 0 to 1.
        device: that trained it.
        timed: whether a time limit ended it.
    """

    step: int = 0
    seconds: float = 0.0
    share: float = 0.0
    device: str = ""
    timed: bool = False


def progress_of(place: Path) -> Progress:
    """Return how far the stage of a folder is; 0 steps where there is no checkpoint.

    Raises:
        UserError: the file is damaged.
    """
    file = place / "progress.json"
    if not file.exists():
        return Progress()
    with reading(file, Kind("progress of training", f"delete {place} to begin it again")) as data:
        return record(Progress, parse_object(data))


def is_finished(folder: Path, name: str, steps: int) -> bool:
    """Return whether a stage's network is there.

    Args:
        folder: of all stages.
        name: of the stage.
        steps: that it should have; a time limit may have ended it earlier.
    """
    about = progress_of(folder / name)
    whole = about.share >= 1 and (about.timed or about.step >= steps)
    return whole and (folder / name / NETWORK).is_dir()


def seconds(folder: Path, name: str) -> float:
    """Return the seconds a stage has been trained for, over all its runs."""
    return progress_of(folder / name).seconds


def device(folder: Path, name: str) -> str:
    """Return what a stage was trained on."""
    return progress_of(folder / name).device


def last_metrics(folder: Path, name: str) -> dict[str, float]:
    """Return the last line of a stage's log: "step", and means of loss and metrics."""
    return logged(folder / name)[-1]


def save(place: Path, state: Any, progress: Progress) -> None:
    """Write a checkpoint aside, then put it in the place of the last one."""
    leaves: dict[str, Any] = {
        str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))
    }
    new = place / f"step-{progress.step}"
    _write(new, leaves)
    _write_progress(place, progress)
    _remove_all_but(new)


def finish(place: Path, network: nnx.Module, progress: Progress, stored: str = "float16") -> None:
    """Write the finished network, and remove the checkpoints.

    Args:
        place: folder of the stage.
        network: its result.
        progress: of the stage.
        stored: type that its numbers are stored as: float16, as in the embedded bundle, or float32.
    """
    arrays: dict[str, Any] = {
        name: np.asarray(value).astype(stored) for name, value in weights.flatten(network).items()
    }
    _write(place / NETWORK, arrays)
    _write_progress(place, progress)
    _remove_all_but(place / NETWORK)


def load_finished(folder: Path, name: str, skeleton: nnx.Module) -> Any:
    """Return the network of a finished stage.

    Args:
        folder: of all stages.
        name: of the stage.
        skeleton: the network with shapes in place of arrays, see `weights.abstract`.

    Raises:
        UserError: the files are damaged or of another network.
    """
    place = folder / name
    _remove_all_but(place / NETWORK)  # a kill may have come before this in `finish`
    network = weights.load(skeleton, weights.read(place / NETWORK), what=str(place))
    network.eval()
    return network


def _write(new: Path, arrays: dict[str, Any]) -> None:
    aside = new.parent / "writing"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        weights.write(aside, arrays)
        shutil.rmtree(new, ignore_errors=True)
        aside.rename(new)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_progress(place: Path, progress: Progress) -> None:
    with replacing(place / "progress.json") as file:
        file.write_text(json.dumps(dataclasses.asdict(progress)))


def _remove_all_but(checkpoint: Path) -> None:
    """Delete older checkpoints of a stage, and one that was never finished."""
    for old in (*checkpoint.parent.glob("step-*"), checkpoint.parent / "writing"):
        if old != checkpoint:
            shutil.rmtree(old, ignore_errors=True)


def resume(place: Path, state: Any) -> tuple[Progress, Any]:
    """Return how far the last checkpoint is, and its state; the given state where there is none."""
    about = progress_of(place)
    if not about.step:
        return about, state
    if about.share >= 1:
        log.warning("%s was trained for %d steps: starting over", place, about.step)
        return Progress(), state
    _remove_all_but(place / f"step-{about.step}")  # a kill may have come before the last call
    stored = weights.read(place / f"step-{about.step}")
    leaves, tree = jax.tree.flatten(state)
    if len(stored) != len(leaves):
        log.warning("%s holds the state of another network: starting over", place)
        return Progress(), state
    loaded = [jnp.asarray(stored[str(i)], leaf.dtype) for i, leaf in enumerate(leaves)]
    return about, jax.tree.unflatten(tree, loaded)


def write_log(place: Path | None, done: int, means: dict[str, float]) -> str:
    """Append means of some steps' metrics to losses.jsonl, and return them as text.

    Args:
        place: folder of the stage; None: write nothing.
        done: steps done.
        means: of the metrics.
    """
    if place is not None:
        with open(place / "losses.jsonl", "a") as file:
            file.write(json.dumps({"step": done, **means}) + "\n")
    return ", ".join(f"{name} {value:.4g}" for name, value in means.items())


def logged(place: Path) -> Sequence[dict[str, Any]]:
    """Return the whole lines of a stage's log; a kill may have cut the last one short."""
    found = []
    file = place / "losses.jsonl"
    for line in file.read_text().splitlines() if file.is_file() else []:
        with contextlib.suppress(Malformed):
            found.append(parse_object(line))
    return found


def trim_log(place: Path, step: int) -> None:
    """Keep the lines of the log up to a checkpoint; those after it are written again."""
    kept = [line for line in logged(place) if line.get("step", step + 1) <= step]
    with replacing(place / "losses.jsonl") as aside:
        aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
