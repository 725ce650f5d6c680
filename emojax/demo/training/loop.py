"""One training loop for every network of the demo world, resumable, with losses and time left."""

import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from flax import nnx
from tqdm import tqdm

from emojax.runtime import xla_options
from emojax.runtime.files import replacing
from emojax.store import weights

log = logging.getLogger(__name__)

Figures = dict[str, jax.Array]
_SHOWN = 50  # steps between two readings of the losses
_ADAM_B2 = 0.99
_LIKE_ADAM = 0.2  # Muon's steps have the size of Adam's, so one rate does for both
_MIN_SIDE = 8


@dataclasses.dataclass(frozen=True)
class Stage:
    """How one network is trained.

    Attributes:
        name: of its folder.
        model: the network as it starts.
        draw: key -> batch; called outside the compiled step, its result stays on the device.
        loss: (model, frozen, batch) -> (scalar, figures to show); compiled.
        frozen: models and arrays that `loss` reads and training leaves alone.
        steps: number of updates.
        rate: the learning rate at its height; warms up over 2 % and falls as a cosine.
        faster: how many times `rate` a parameter of this dotted name gets.
        begin: prepares the model before its first step; a run that goes on does without.
        statistics: share of the steps in which BatchNorm goes by its batch; stored after that.
        sheet: writes a picture of how things stand to a file; called at each checkpoint.
        muon: kernels and matrices go by Muon, see `_matrix_axes`; else Adam takes everything.
    """

    name: str
    model: nnx.Module
    draw: Callable[[jax.Array], Any]
    loss: Callable[[Any, Any, Any], tuple[jax.Array, Figures]]
    frozen: Any
    steps: int
    rate: float
    faster: Callable[[str], float] = lambda name: 1.0
    begin: Callable[[nnx.Module], nnx.Module] | None = None
    statistics: float = 0.0
    sheet: Callable[[nnx.Module, Path], None] | None = None
    muon: bool = True


def fit(
    stage: Stage, folder: Path, seed: int, *, save_every: float = 120.0, line: int = 0
) -> nnx.Module:
    """Train one network, from its last checkpoint where there is one.

    Step i draws from `fold_in(key, i)`, so a run that was killed ends as one that was not.

    Args:
        stage: what to train and how.
        folder: `folder/stage.name` gets checkpoints, losses.jsonl and sheets.
        seed: of the data.
        save_every: seconds between two checkpoints.
        line: of the terminal that the progress is shown on, from the cursor's down.

    Returns:
        The trained network, set to apply stored statistics.
    """
    place = folder / stage.name
    place.mkdir(parents=True, exist_ok=True)
    optimiser = _optimiser(stage)
    graph, state = _fresh(stage.model, optimiser)
    start, seconds, state = _resume(place, state)
    if start == 0 and stage.begin:
        graph, state = _fresh(stage.begin(stage.model), optimiser)
    programs = {batch: _step(stage, optimiser, batch) for batch in (True, False)}
    key = jax.random.key(seed)
    begun = saved = time.monotonic()
    shown: list[Figures] = []
    about = {"desc": stage.name, "smoothing": 0.05, "position": line}
    with tqdm(total=stage.steps, initial=start, **about) as bar:
        for i in range(start, stage.steps):
            batch = stage.draw(jax.random.fold_in(key, i))
            program = programs[i < stage.statistics * stage.steps]
            state, figures = program(state, stage.frozen, batch)
            shown.append(figures)
            bar.update()
            if len(shown) == _SHOWN or i + 1 == stage.steps:
                _show(place, bar, i + 1, shown)
            last = i + 1 == stage.steps
            if last or time.monotonic() - saved > save_every:
                spent = seconds + time.monotonic() - begun
                _save(place, state, i + 1, spent)
                saved = time.monotonic()
                if stage.sheet:
                    stage.sheet(_merged(graph, state), place / "sheet.png")
    return _merged(graph, state)


def reached(folder: Path, name: str) -> int:
    """Return how many steps of a stage are done and kept."""
    file = folder / name / "progress.json"
    return json.loads(file.read_text())["step"] if file.is_file() else 0


def seconds(folder: Path, name: str) -> float:
    """Return how long a stage has been trained, over all its runs."""
    return json.loads((folder / name / "progress.json").read_text())["seconds"]


def last_figures(folder: Path, name: str) -> dict[str, float]:
    """Return the means over the last steps of a stage's loss and other figures."""
    return json.loads((folder / name / "losses.jsonl").read_text().splitlines()[-1])


def _fresh(model: nnx.Module, optimiser: optax.GradientTransformation) -> tuple[Any, tuple]:
    graph, trained, rest = nnx.split(model, nnx.Param, ...)
    return graph, (trained, rest, optimiser.init(trained))


def _merged(graph: Any, state: tuple) -> nnx.Module:
    model = nnx.merge(graph, state[0], state[1])
    model.eval()
    return model


def _optimiser(stage: Stage) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, stage.rate, max(1, stage.steps // 50), stage.steps
    )

    def scaled(updates: Any, params: Any = None) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, update: update * stage.faster(_dotted(path)), updates
        )

    def axes(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, value: _matrix_axes(value, stage.faster(_dotted(path))), params
        )

    if stage.muon:
        step = optax.contrib.muon(
            schedule,
            consistent_rms=_LIKE_ADAM,
            adam_b2=_ADAM_B2,
            muon_weight_dimension_numbers=axes,
        )
    else:
        step = optax.adam(schedule, b1=0.9, b2=_ADAM_B2)
    return optax.chain(optax.clip_by_global_norm(1.0), step, optax.stateless(scaled))


def _matrix_axes(value: jax.Array, faster: float) -> Any:
    """Return which axes of a parameter make a matrix for Muon, or None for Adam.

    Muon moves a matrix by the orthogonal factor of its momentum: all directions at one pace. On
    the generator it needs about half as many pictures as Adam. What has a rate of its own, has
    fewer than eight rows or columns, or is no matrix (depthwise kernels) is left to Adam.
    """
    if faster != 1 or value.ndim not in (2, 4):
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
        value, figures = stage.loss(model, frozen, batch)
        _, _, rest = nnx.split(model, nnx.Param, ...)
        return value, (rest, {"loss": value, **figures})

    def step(state: tuple, frozen: Any, batch: Any) -> tuple:
        trained, rest, slots = state
        gradient = jax.grad(loss, has_aux=True)
        changes, (rest, figures) = gradient(trained, rest, frozen, batch)
        with jax.numpy_dtype_promotion("standard"):  # optax takes powers by integer counts
            changes, slots = optimiser.update(changes, slots, trained)
        return (optax.apply_updates(trained, changes), rest, slots), figures

    return jax.jit(step, donate_argnums=0, compiler_options=xla_options.options(dense=False))


def _show(place: Path, bar: tqdm, done: int, shown: list[Figures]) -> None:
    means = {name: float(np.mean([each[name] for each in shown])) for name in shown[0]}
    shown.clear()
    bar.set_postfix({name: f"{value:.4g}" for name, value in means.items()})
    with open(place / "losses.jsonl", "a") as file:
        file.write(json.dumps({"step": done, **means}) + "\n")


def _save(place: Path, state: tuple, done: int, spent: float) -> None:
    leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    new, aside = place / f"step-{done}", place / "writing"
    shutil.rmtree(aside, ignore_errors=True)
    weights.write(aside, leaves)
    shutil.rmtree(new, ignore_errors=True)
    aside.rename(new)
    with replacing(place / "progress.json") as file:
        file.write_text(json.dumps({"step": done, "seconds": round(spent, 1)}))
    for old in place.glob("step-*"):
        if old != new:
            shutil.rmtree(old)


def _resume(place: Path, state: tuple) -> tuple[int, float, tuple]:
    if not (place / "progress.json").is_file():
        return 0, 0.0, state
    about = json.loads((place / "progress.json").read_text())
    stored = weights.read(place / f"step-{about['step']}")
    leaves, tree = jax.tree.flatten(state)
    if len(stored) != len(leaves):
        log.warning("%s holds another network's state: starting over", place)
        return 0, 0.0, state
    loaded = [jnp.asarray(stored[str(i)], leaf.dtype) for i, leaf in enumerate(leaves)]
    return about["step"], about["seconds"], jax.tree.unflatten(tree, loaded)
