"""Training loop of every network: resumable, with a log of losses."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import PartitionSpec

from emojax.runtime import xla_options
from emojax.runtime.devices import AXIS, split_over, whole_on
from emojax.runtime.files import make_folder, writing
from emojax.runtime.locks import alone
from emojax.runtime.progress import progress
from emojax.training import checkpoints, optimiser
from emojax.training.checkpoints import Progress

Metrics = dict[str, jax.Array]
"""Scalars of one step, by name."""
State = tuple[Any, Any, Any, Any]
"""Trained parameters, other variables of the model, state of the optimiser, averaged parameters."""
Update = tuple[int, float, State, list[dict[str, Any]]]
"""Steps done, share of the stage that is done, state after them, and metrics of the new ones."""
LOGGED = 50
"""Steps over which metrics are averaged for the log; also steps of one fused program."""
_LOOK = 0.2
"""Seconds between two looks for a result that another process writes."""
_LEAST = 5.0
"""Seconds that a stage is trained for though its time is over: later stages need a result."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """How one network is trained.

    Attributes:
        name: of its folder.
        model: the network at initialisation.
        draw: (key, frozen) -> batch. Step by step it is called outside the compiled step, and its
            result stays on the device, or is split over the devices of one process; a fused program
            contains it. None: batches come from `rows`.
        loss: (model, frozen, batch) -> (loss, metrics to log); compiled.
        frozen: models and arrays that `draw` and `loss` use and training does not change. They
            are arguments of the programs: functions of a stage must not hold arrays that depend on
            other stages, as programs are compiled before those are trained.
        steps: number of updates, at most.
        rate: peak learning rate; linear warm-up over 2 % of the stage, then cosine decay.
        rate_factor: factor on `rate` for the parameter of a dotted name.
        begin: prepares the model before the first step; a resumed run does without.
        statistics: share of the stage in which BatchNorm uses batch statistics; afterwards it uses
            the running ones.
        sheet: writes a picture of the results to a file; called at each checkpoint.
        muon: train kernels and matrices with Muon, see `optimiser.matrix_axes`; else Adam.
        momentum: of Adam.
        average: decay of the moving average of parameters that is the stage's result; 0: the last
            parameters are.
        network: the part of the trained model that later stages use.
        end: last change of that part.
        stored: type that the result's floating-point numbers are stored as.
        rows: (first step) -> the batches of this and all later steps, trees of arrays whose first
            axis is the samples. Of several processes each gives its own share of every batch.
    """

    name: str
    model: nnx.Module
    draw: Callable[[jax.Array, Any], Any] | None
    loss: Callable[[Any, Any, Any], tuple[jax.Array, Metrics]]
    frozen: Any
    steps: int
    rate: float
    rate_factor: Callable[[str], float] = lambda _: 1.0
    begin: Callable[[Any], nnx.Module] | None = None
    statistics: float = 0.0
    sheet: Callable[[Any, Path], None] | None = None
    muon: bool = True
    momentum: float = 0.9
    average: float = 0.0
    network: Callable[[Any], Any] = lambda model: model
    end: Callable[[Any], Any] = lambda network: network
    stored: str = "float16"
    rows: Callable[[int], Iterator[Any]] | None = None

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """The optimiser, with a learning rate of 1."""
        return optimiser.optimiser(self.rate_factor, muon=self.muon, momentum=self.momentum)


@dataclasses.dataclass(frozen=True)
class Loop:
    """How the steps of a stage are run.

    Attributes:
        until: `time.time()` at which the stage ends, with its learning rate at 0; None: it ends
            after its steps.
        programs: the fused programs of `fused_programs`; None: step by step.
        save_every: seconds between two checkpoints, at least; they come every `LOGGED` steps.
        plain: report progress as plain lines, for processes that share a terminal.
        mesh: devices that every batch is split over, also of several processes, with weights on
            each and gradients averaged; see `devices.global_mesh`. None: one device.
    """

    until: float | None = None
    programs: "Programs | None" = None
    save_every: float = 120.0
    plain: bool = False
    mesh: jax.sharding.Mesh | None = None


def fit(stage: Stage, folder: Path, seed: int, loop: Loop | None = None) -> Any:
    """Train one network, from its last checkpoint where there is one.

    Step i draws from `fold_in(key, i)`, and a checkpoint lies between two lines of the log, so a
    run without a time limit that was killed and resumed has the same result and the same log as one
    that was not.

    Args:
        stage: what to train and how.
        folder: `folder/stage.name` gets checkpoints, losses.jsonl, sheet.png and the network.
        seed: of what `draw` draws.
        loop: how; default: step by step without a time limit. Of several processes the first writes
            the files, into a folder that all see.

    Returns:
        The result of the stage as it is stored, in evaluation mode.

    Raises:
        UserError: another process trains in the folder, it cannot be written, or a checkpoint is
            damaged.
    """
    place = make_folder(folder / stage.name)
    with writing(place):
        # one that has ended is only read, so that stages beside each other can have it
        if not checkpoints.is_finished(folder, stage.name, stage.steps):
            with alone(place, "training") if _writes() else contextlib.nullcontext():
                _fit(stage, place, seed, loop or Loop())
        while not checkpoints.is_finished(folder, stage.name, stage.steps):
            time.sleep(_LOOK)  # the process that writes is about to finish
    return checkpoints.load_finished(folder, stage.name, stage.network(stage.model))


def _fit(stage: Stage, place: Path, seed: int, loop: Loop) -> None:
    """Train one network in its folder, see `fit`."""
    graph, state = _fresh(stage.model, stage)
    start, state = checkpoints.resume(place, state)
    if start.step == 0 and stage.begin:
        graph, state = _fresh(stage.begin(stage.model), stage)
    if _writes():
        checkpoints.trim_log(place, start.step)
    if loop.programs:
        updates = _fused(stage, state, start, seed, loop, loop.programs)
    else:
        updates = _updates(stage, state, start.step, seed, loop.mesh)
    book = _Book(stage, graph, place, start, loop)
    metrics: list[dict[str, Any]] = []
    with progress(stage.name, stage.steps, "steps", done=start.step, plain=loop.plain) as shown:
        for done, share, state, found in updates:
            metrics += found
            shown.advance(len(found))
            if share >= 1 or len(metrics) >= LOGGED:
                shown.describe(f"{stage.name}, {book.log(done, metrics)}")
                metrics = []
            # between two lines of the log, so that a resumed run writes the same lines
            if share >= 1 or (not metrics and book.is_due()):
                book.save(done, share, state)
    if _writes():
        book.finish(state)


def _writes() -> bool:
    """Return whether this process writes the files: the first of several does."""
    return jax.process_index() == 0


class _Book:
    """Writes the log, checkpoints, sheets and the result of a stage; in one process of several."""

    def __init__(self, stage: Stage, graph: Any, place: Path, start: Progress, loop: Loop) -> None:
        self._stage, self._graph, self._place, self._loop = stage, graph, place, loop
        self._before = start.seconds
        self._begun = self._saved = time.monotonic()
        self._device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"

    def log(self, done: int, metrics: list[dict[str, Any]]) -> str:
        """Append the means of some steps' metrics to the log, and return them as text."""
        means = {name: float(np.mean([each[name] for each in metrics])) for name in metrics[0]}
        return checkpoints.write_log(self._place if _writes() else None, done, means)

    def is_due(self) -> bool:
        """Whether a checkpoint should be written, in this process."""
        return _writes() and time.monotonic() - self._saved > self._loop.save_every

    def save(self, done: int, share: float, state: State) -> None:
        """Write a checkpoint, and before it the sheet: what has ended is not drawn again."""
        if not _writes():
            return
        spent = round(self._before + time.monotonic() - self._begun, 1)
        # beside programs it would be one more to compile
        if self._stage.sheet and not self._loop.programs:
            self._stage.sheet(self._model(state), self._place / "sheet.png")
        about = Progress(done, spent, min(share, 0.999), self._device)
        checkpoints.save(self._place, state, about)
        self._saved = time.monotonic()

    def finish(self, state: State) -> None:
        """Write the result."""
        network = self._stage.end(self._stage.network(self._model(state)))
        about, timed = checkpoints.progress_of(self._place), self._loop.until is not None
        about = dataclasses.replace(about, share=1.0, timed=timed)
        checkpoints.finish(self._place, network, about, self._stage.stored)

    def _model(self, state: State) -> Any:
        if self._loop.mesh:  # on this process's own device: the others do not take part
            state = jax.tree.map(lambda a: jnp.asarray(np.asarray(a)), state)
        return _merged(self._stage, self._graph, state)


def _updates(
    stage: Stage, state: State, start: int, seed: int, mesh: jax.sharding.Mesh | None
) -> Iterator[Update]:
    """Yield what is done after each update, with batches made outside the compiled step."""
    programs = {batch: _program(stage, batch, mesh) for batch in (True, False)}
    state, frozen = (state, stage.frozen) if mesh is None else whole_on((state, stage.frozen), mesh)
    for i, batch in enumerate(_batches(stage, start, seed, mesh), start):
        share = np.float32(i / stage.steps)
        program = programs[bool(share < stage.statistics)]
        state, metrics = program(state, frozen, batch, share)
        if mesh is not None and jax.default_backend() == "cpu":
            jax.block_until_ready(metrics)  # drawing beside a sum over devices may hang there
        yield i + 1, (i + 1) / stage.steps, state, [metrics]


def _program(stage: Stage, batch_statistics: bool, mesh: jax.sharding.Mesh | None) -> Any:
    """Return (state, frozen, batch, share) -> (state, metrics), compiled when it is called."""
    step = _step(stage, batch_statistics, split=mesh is not None)
    if mesh is not None:
        everywhere, samples = PartitionSpec(), PartitionSpec(AXIS)
        step = jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(everywhere, everywhere, samples, everywhere),
            out_specs=everywhere,
            check_vma=False,
        )
    return jax.jit(step, donate_argnums=0, compiler_options=xla_options.options(dense=False))


def _batches(stage: Stage, start: int, seed: int, mesh: jax.sharding.Mesh | None) -> Iterator[Any]:
    """Yield the batches of the steps from `start` on."""
    if stage.rows is None:
        assert stage.draw is not None  # a stage has one of them
        key, draw, frozen = jax.random.key(seed), stage.draw, stage.frozen
        drawn = (draw(jax.random.fold_in(key, i), frozen) for i in range(start, stage.steps))
    else:
        drawn = itertools.islice(stage.rows(start), stage.steps - start)
    for batch in drawn:
        yield batch if mesh is None else split_over(batch, mesh)


class Programs:
    """Compiled programs of `LOGGED` steps each, which draw their batches themselves.

    The device does not wait for the host between steps. There is one with batch statistics and one
    without; the one that is needed later is compiled while the first runs.
    """

    def __init__(self, stage: Stage) -> None:
        """Begin to compile for a stage.

        Args:
            stage: its shapes count; arrays that come from other stages may have any values.
        """
        if stage.begin:
            stage.begin(stage.model)  # compiles what it calls
        pool = concurrent.futures.ThreadPoolExecutor(1)
        order = ([True] if stage.statistics > 0 else []) + [False] * (stage.statistics < 1)
        self._compiled = {batch: pool.submit(_compiled, stage, batch) for batch in order}
        pool.shutdown(wait=False)
        self._compiled[order[0]].result()

    def __call__(self, batch_statistics: bool) -> Callable[..., tuple[State, Metrics]]:
        """Return a program; waits while it is being compiled."""
        only = len(self._compiled) == 1
        chosen = next(iter(self._compiled)) if only else batch_statistics
        return self._compiled[chosen].result()


def _compiled(stage: Stage, batch_statistics: bool) -> Any:
    program, shapes = fused_program(stage, batch_statistics)
    return program.lower(*shapes).compile()


def fused_program(stage: Stage, batch_statistics: bool) -> tuple[Any, tuple[Any, ...]]:
    """Return a program (state, frozen, key, steps done, shares) -> (state, means of metrics).

    Returns:
        The program, not compiled yet, and the shapes of its arguments.
    """
    step = _step(stage, batch_statistics)

    def program(state: State, frozen: Any, key: jax.Array, done: Any, shares: jax.Array) -> Any:
        def one(state: State, at: tuple[jax.Array, jax.Array]) -> tuple[State, Metrics]:
            assert stage.draw is not None  # such a program draws its own batches
            batch = stage.draw(jax.random.fold_in(key, at[0]), frozen)
            return step(state, frozen, batch, at[1])

        numbers = done + jnp.arange(LOGGED, dtype=jnp.uint32)
        state, metrics = jax.lax.scan(one, state, (numbers, shares))
        return state, jax.tree.map(jnp.mean, metrics)

    _, state = _fresh(stage.model, stage)
    shares = np.zeros(LOGGED, np.float32)
    given = (state, stage.frozen, jax.random.key(0), np.uint32(0), shares)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), given)
    return jax.jit(program, donate_argnums=0), shapes


def _fused(
    stage: Stage, state: State, start: Progress, seed: int, loop: Loop, programs: Programs
) -> Iterator[Update]:
    """Yield what is done after each fused program.

    With a time limit the share that is done follows the clock; within a program it rises as in the
    one before.
    """
    key = jax.random.key(seed)
    state, frozen = jax.device_put(jax.tree.map(np.asarray, (state, stage.frozen)))
    done, share, pace = start.step, start.share, 1 / stage.steps
    begun = time.time()
    end = max(loop.until, begun + _LEAST) if loop.until else math.inf
    while share < 1 and done < stage.steps:
        shares = np.float32(share) + np.float32(pace) * np.arange(LOGGED, dtype=np.float32)
        program = programs(share < stage.statistics)
        state, metrics = program(state, frozen, key, np.uint32(done), shares.clip(0, 1))
        metrics = jax.device_get(metrics)
        done += LOGGED
        clock = start.share + (1 - start.share) * (time.time() - begun) / (end - begun)
        before, share = share, max(clock, done / stage.steps)
        pace = (share - before) / LOGGED
        yield done, share, state, [metrics] * LOGGED


def _fresh(model: nnx.Module, stage: Stage) -> tuple[Any, State]:
    graph, trained, rest = nnx.split(model, nnx.Param, ...)
    average = jax.tree.map(jnp.copy, trained) if stage.average else ()
    return graph, (trained, rest, stage.optimiser.init(trained), average)


def _merged(stage: Stage, graph: Any, state: State) -> Any:
    trained, rest, _, average = state
    model = nnx.merge(graph, average if stage.average else trained, rest)
    model.eval()
    return model


def _step(stage: Stage, batch_statistics: bool, *, split: bool = False) -> Any:
    """Return one update; where a batch is split over devices each computes its share of it."""
    graph, _, _ = nnx.split(stage.model, nnx.Param, ...)

    def loss(trained: Any, rest: Any, frozen: Any, batch: Any) -> tuple:
        model = nnx.merge(graph, trained, rest, copy=True)
        (model.train if batch_statistics else model.eval)()
        if split:  # statistics of the whole batch
            model.set_attributes(nnx.BatchNorm, axis_name=AXIS, raise_if_not_found=False)
        value, metrics = stage.loss(model, frozen, batch)
        _, _, rest = nnx.split(model, nnx.Param, ...)
        return value, (rest, {"loss": value, **metrics})

    def step(state: State, frozen: Any, batch: Any, share: jax.Array) -> tuple[State, Metrics]:
        trained, rest, slots, average = state
        gradient = jax.grad(loss, has_aux=True)
        changes, (rest, metrics) = gradient(trained, rest, frozen, batch)
        if split:
            changes, metrics = jax.lax.pmean((changes, metrics), AXIS)
        with jax.numpy_dtype_promotion("standard"):  # optax takes powers by integer counts
            changes, slots = stage.optimiser.update(changes, slots, trained)
        rate = optimiser.rate(stage.rate, share)
        trained = jax.tree.map(lambda a, change: a + rate * change, trained, changes)
        if stage.average:
            average = optax.incremental_update(trained, average, 1 - stage.average)
        return (trained, rest, slots, average), metrics

    return step
