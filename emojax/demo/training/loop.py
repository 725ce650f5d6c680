"""Training loop of every network of the demo: resumable, with a log of losses."""

import contextlib
import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from flax import nnx

from emojax.runtime import xla_options
from emojax.runtime.files import make_folder, replacing, writing
from emojax.runtime.locks import alone
from emojax.runtime.progress import progress
from emojax.store import weights
from emojax.store.reader.contents import Kind, Malformed, reading
from emojax.store.reader.fields import record
from emojax.store.reader.json_text import parse_object

log = logging.getLogger(__name__)

Metrics = dict[str, jax.Array]
"""Scalars of one step, by name."""
State = tuple[Any, Any, Any]
"""Trained parameters, other variables of the model, and state of the optimiser."""
_LOGGED = 50
"""Steps over which metrics are averaged for the log."""
_ADAM_B2 = 0.99
_MUON_RMS = 0.2
"""Root mean square of Muon's updates, about Adam's, so that both use one learning rate."""
_MIN_SIDE = 8
"""Smallest side of a matrix that is left to Muon."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """How one network is trained.

    Attributes:
        name: of its folder.
        model: the network at initialisation.
        draw: key -> batch; called outside the compiled step, its result stays on the device.
        loss: (model, frozen, batch) -> (loss, metrics to log); compiled.
        frozen: models and arrays that `loss` uses and training does not change.
        steps: number of updates.
        rate: peak learning rate; linear warm-up over 2 % of the steps, then cosine decay.
        rate_factor: factor on `rate` for the parameter of a dotted name.
        begin: prepares the model before the first step; a resumed run does without.
        statistics: share of the steps in which BatchNorm uses batch statistics; afterwards it uses
            the running ones.
        sheet: writes a picture of the results to a file; called at each checkpoint.
        muon: train kernels and matrices with Muon, see `_matrix_axes`; else all with Adam.
    """

    name: str
    model: nnx.Module
    draw: Callable[[jax.Array], Any]
    loss: Callable[[Any, Any, Any], tuple[jax.Array, Metrics]]
    frozen: Any
    steps: int
    rate: float
    rate_factor: Callable[[str], float] = lambda _: 1.0
    begin: Callable[[Any], nnx.Module] | None = None
    statistics: float = 0.0
    sheet: Callable[[Any, Path], None] | None = None
    muon: bool = True


def fit(
    stage: Stage, folder: Path, seed: int, *, save_every: float = 120.0, plain: bool = False
) -> nnx.Module:
    """Train one network, from its last checkpoint where there is one.

    Step i draws from `fold_in(key, i)`, and a checkpoint lies between two lines of the log, so a
    run that was killed and resumed has the same result and the same log as one that was not.

    Args:
        stage: what to train and how.
        folder: `folder/stage.name` gets checkpoints, losses.jsonl and sheet.png.
        seed: of the data.
        save_every: seconds between two checkpoints, at least; they come every `_LOGGED` steps.
        plain: report progress as plain lines, for processes that share a terminal.

    Returns:
        The trained network, in evaluation mode.

    Raises:
        UserError: another process trains in the folder, it cannot be written, or a checkpoint is
            damaged.
    """
    place = make_folder(folder / stage.name)
    with writing(place):
        # one that has ended is only read, so that stages beside each other can have it
        if (found := _finished(stage, place, plain)) is not None:
            return found
        with alone(place, "training"):
            return _fit(stage, place, seed, save_every, plain)


def _finished(stage: Stage, place: Path, plain: bool) -> nnx.Module | None:
    """Return a network whose training has ended; None if it has not, or is that of another one."""
    if _progress(place).step < stage.steps:
        return None
    graph, first = _fresh(stage.model, _optimiser(stage))
    start, _, state = _resume(place, first)
    if not start:
        return None
    with progress(stage.name, stage.steps, "steps", done=start, plain=plain):
        return _merged(graph, state)


def _fit(stage: Stage, place: Path, seed: int, save_every: float, plain: bool) -> nnx.Module:
    """Train one network in its folder, see `fit`."""
    optimiser = _optimiser(stage)
    graph, first = _fresh(stage.model, optimiser)
    start, seconds, first = _resume(place, first)
    if start:
        _remove_all_but(place / f"step-{start}")  # a kill may have come before the last call
    _trim_log(place, start)
    if start == 0 and stage.begin:
        graph, first = _fresh(stage.begin(stage.model), optimiser)
    state, metrics = first, []
    begun = saved = time.monotonic()
    with progress(stage.name, stage.steps, "steps", done=start, plain=plain) as shown:
        for done, state, found in _updates(stage, optimiser, first, start, seed):
            last = done == stage.steps
            metrics.append(found)
            shown.advance()
            if last or len(metrics) == _LOGGED:
                shown.describe(f"{stage.name}, {_log(place, done, metrics)}")
                metrics = []
            # between two lines of the log, so that a resumed run writes the same lines
            if last or (not metrics and time.monotonic() - saved > save_every):
                _save(place, state, done, seconds + time.monotonic() - begun)
                saved = time.monotonic()
                if stage.sheet:
                    stage.sheet(_merged(graph, state), place / "sheet.png")
    return _merged(graph, state)


def _updates(
    stage: Stage,
    optimiser: optax.GradientTransformation,
    state: State,
    start: int,
    seed: int,
) -> Iterator[tuple[int, State, Metrics]]:
    """Yield the number of steps done, the state and the metrics after each update."""
    programs = {batch: _step(stage, optimiser, batch) for batch in (True, False)}
    key = jax.random.key(seed)
    for i in range(start, stage.steps):
        batch = stage.draw(jax.random.fold_in(key, i))
        program = programs[i < stage.statistics * stage.steps]
        state, metrics = program(state, stage.frozen, batch)
        yield i + 1, state, metrics


def reached(folder: Path, name: str) -> int:
    """Return how many steps of a stage are done, by its last checkpoint."""
    return _progress(folder / name).step


def seconds(folder: Path, name: str) -> float:
    """Return the seconds a stage has been trained for, over all its runs."""
    return _progress(folder / name).seconds


def last_metrics(folder: Path, name: str) -> dict[str, float]:
    """Return the last line of a stage's log: "step", and means of loss and metrics."""
    return _logged(folder / name)[-1]


def _fresh(model: nnx.Module, optimiser: optax.GradientTransformation) -> tuple[Any, State]:
    graph, trained, rest = nnx.split(model, nnx.Param, ...)
    return graph, (trained, rest, optimiser.init(trained))


def _merged(graph: Any, state: State) -> nnx.Module:
    model = nnx.merge(graph, state[0], state[1])
    model.eval()
    return model


def _optimiser(stage: Stage) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, stage.rate, max(1, stage.steps // 50), stage.steps
    )

    def scaled(updates: Any, _: Any = None) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, update: update * stage.rate_factor(_dotted(path)), updates
        )

    def axes(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, value: _matrix_axes(value, stage.rate_factor(_dotted(path))), params
        )

    if stage.muon:
        step = optax.contrib.muon(
            schedule,
            consistent_rms=_MUON_RMS,
            adam_b2=_ADAM_B2,
            muon_weight_dimension_numbers=axes,
        )
    else:
        step = optax.adam(schedule, b1=0.9, b2=_ADAM_B2)
    return optax.chain(optax.clip_by_global_norm(1.0), step, optax.stateless(scaled))


def _matrix_axes(value: jax.Array, rate_factor: float) -> Any:
    """Return the axes of a parameter that make a matrix for Muon, or None for Adam.

    Muon replaces a matrix's momentum by its orthogonal factor. On the generator it needs about half
    as many pictures as Adam. Adam trains parameters with a rate of their own, with fewer than eight
    rows or columns, and those that are no matrices (depthwise kernels).
    """
    if rate_factor != 1 or value.ndim not in (2, 4):
        return None
    inputs = np.prod(value.shape[:-1]) if value.ndim == 2 or value.shape[2] > 1 else 1
    if min(inputs, value.shape[-1]) < _MIN_SIDE:
        return None
    return optax.contrib.MuonDimensionNumbers(tuple(range(value.ndim - 1)), (value.ndim - 1,))


def _dotted(path: tuple) -> str:
    parts = (str(getattr(part, "key", getattr(part, "name", ""))) for part in path)
    return ".".join(part for part in parts if part != "value")


def _step(stage: Stage, optimiser: optax.GradientTransformation, batch_statistics: bool) -> Any:
    graph, _, _ = nnx.split(stage.model, nnx.Param, ...)

    def loss(trained: Any, rest: Any, frozen: Any, batch: Any) -> tuple:
        model = nnx.merge(graph, trained, rest, copy=True)
        (model.train if batch_statistics else model.eval)()
        value, metrics = stage.loss(model, frozen, batch)
        _, _, rest = nnx.split(model, nnx.Param, ...)
        return value, (rest, {"loss": value, **metrics})

    def step(state: State, frozen: Any, batch: Any) -> tuple[State, Metrics]:
        trained, rest, slots = state
        gradient = jax.grad(loss, has_aux=True)
        changes, (rest, metrics) = gradient(trained, rest, frozen, batch)
        with jax.numpy_dtype_promotion("standard"):  # optax takes powers by integer counts
            changes, slots = optimiser.update(changes, slots, trained)
        return (optax.apply_updates(trained, changes), rest, slots), metrics

    return jax.jit(step, donate_argnums=0, compiler_options=xla_options.options(dense=False))


def _log(place: Path, done: int, metrics: list[Metrics]) -> str:
    """Append the means of some steps' metrics to losses.jsonl, and return them as text."""
    means = {name: float(np.mean([each[name] for each in metrics])) for name in metrics[0]}
    with open(place / "losses.jsonl", "a") as file:
        file.write(json.dumps({"step": done, **means}) + "\n")
    return ", ".join(f"{name} {value:.4g}" for name, value in means.items())


def _save(place: Path, state: State, done: int, spent: float) -> None:
    """Write a checkpoint aside, then put it in the place of the last one."""
    leaves: dict[str, Any] = {
        str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))
    }
    new, aside = place / f"step-{done}", place / "writing"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        weights.write(aside, leaves)
        shutil.rmtree(new, ignore_errors=True)
        aside.rename(new)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    with replacing(place / "progress.json") as file:
        file.write_text(json.dumps({"step": done, "seconds": round(spent, 1)}))
    _remove_all_but(new)


def _remove_all_but(checkpoint: Path) -> None:
    """Delete older checkpoints of a stage, and one that was never finished."""
    for old in (*checkpoint.parent.glob("step-*"), checkpoint.parent / "writing"):
        if old != checkpoint:
            shutil.rmtree(old, ignore_errors=True)


def _resume(place: Path, state: State) -> tuple[int, float, State]:
    """Return the steps done, the seconds they took and the state, of the last checkpoint."""
    about = _progress(place)
    if not about.step:
        return 0, 0.0, state
    stored = weights.read(place / f"step-{about.step}")
    leaves, tree = jax.tree.flatten(state)
    if len(stored) != len(leaves):
        log.warning("%s holds the state of another network: starting over", place)
        return 0, 0.0, state
    loaded = [jnp.asarray(stored[str(i)], leaf.dtype) for i, leaf in enumerate(leaves)]
    return about.step, about.seconds, jax.tree.unflatten(tree, loaded)


@dataclasses.dataclass(frozen=True)
class _Progress:
    """How far a stage is, by `progress.json`: steps of its last checkpoint, and seconds."""

    step: int = 0
    seconds: float = 0.0


def _progress(place: Path) -> _Progress:
    """Return how far a stage is; 0 steps where there is no checkpoint.

    Raises:
        UserError: the file is damaged.
    """
    file = place / "progress.json"
    if not file.exists():
        return _Progress()
    with reading(file, Kind("progress of training", f"delete {place} to begin it again")) as data:
        return record(_Progress, parse_object(data))


def _logged(place: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a stage's log; a kill may have cut the last one short."""
    found = []
    file = place / "losses.jsonl"
    for line in file.read_text().splitlines() if file.is_file() else []:
        with contextlib.suppress(Malformed):
            found.append(parse_object(line))
    return found


def _trim_log(place: Path, step: int) -> None:
    """Keep the lines of the log up to a checkpoint; those after it are written again."""
    kept = [line for line in _logged(place) if line.get("step", step + 1) <= step]
    with replacing(place / "losses.jsonl") as aside:
        aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
