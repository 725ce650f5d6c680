"""Inversion by optimisation: codes by projection, and generators by pivotal tuning.

Three inverters:

    projection-w   one code in W, NVlabs' projector
    projection     a code for each layer (W+) and the generator's noise, rosinality's projector
    pti            one code in W, then the generator's weights, PTI

Steps run on the devices, `STRIDE` at a time, each device on its own faces; in between the loss is
told and the faces are shown as they are. What a face changes in the generator is kept as a
difference in float16: its noise, or its tuned weights.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from emojax.latents import pivotal_tuning, projection
from emojax.latents.inverter import Changes, Inverter, Method, Run
from emojax.latents.pivotal_tuning import Tuning, weights_of, with_differences, with_weights
from emojax.latents.projection import Schedule
from emojax.metrics import perceptual
from emojax.metrics.perceptual import Perceptual
from emojax.models.generator import draw_noise
from emojax.models.lpips import Architecture
from emojax.models.stylegan2 import Generator
from emojax.nn.pooling import area_mean
from emojax.runtime.batching import batches
from emojax.runtime.devices import mesh_for, over_samples
from emojax.runtime.xla_options import options
from emojax.store.bundle import Bundle

STRIDE = 25
"""Most steps between two reports of the loss."""
SEED = 123
"""Of the random codes, noise and jitter, which are the same for every face."""
KEPT = np.float16
"""Kind of number that differences are kept in."""

PROJECTIONS = {
    "projection-w": Schedule(),
    "projection": Schedule(in_w_plus=True, squared_weight=1.0, noise_scaling="sample deviation"),
    "pti": Schedule(steps=450, samples=600, learning_rate=0.01),
}
"""How codes are found. The squared error has no weight in the originals; in W+ it has one here."""
TUNING = Tuning()
"""How generators are tuned."""
LPIPS: dict[str, Architecture] = {"projection": "vgg16", "tuning": "alexnet"}
"""Which LPIPS the originals use, where the bundle has it."""


def distances_of(bundle: Bundle, method: str) -> dict[str, Perceptual]:
    """Return the perceptual distances that a method makes small, by its stage.

    Raises:
        UserError: the bundle has no network for one; says how it is made.
    """
    stages = ("projection", "tuning") if method == "pti" else ("projection",)
    return {stage: perceptual.load(bundle, LPIPS[stage]) for stage in stages}


def steps_of(method: str, steps: int | None) -> int:
    """Return the steps of a method: those asked for, or its authors'."""
    return steps or (TUNING if method == "pti" else PROJECTIONS[method]).steps


def _schedule(inverter: Inverter) -> Schedule:
    """Return how an inverter projects; before PTI's tuning in the authors' proportion to it."""
    known, steps = PROJECTIONS[inverter.method], inverter.steps
    if inverter.method == "pti":
        steps = max(1, round(steps * known.steps / TUNING.steps))
    return dataclasses.replace(known, steps=steps)


def _project(
    inverter: Inverter, pictures: np.ndarray, run: Run, mesh: Mesh
) -> projection.Variables:
    """Return the codes [B,1 or L,D] and noise of one batch of pictures [B,R,R,3]."""
    schedule, generator = _schedule(inverter), inverter.generator
    config, distance = generator.config, inverter.distances["projection"]
    z = np.random.RandomState(SEED).randn(schedule.samples, config.z_dim)
    mean, spread = _spread_of(generator, jnp.asarray(z, jnp.float32))
    rows = config.n_latent if schedule.in_w_plus else 1
    codes = jnp.broadcast_to(mean, (len(pictures), rows, config.style_dim))
    keys = jnp.broadcast_to(jax.random.key(SEED), (len(pictures),))
    state = _counted(projection.begin(codes, draw_noise(config, keys)), len(pictures))
    target = _target_of(distance, pictures)
    for first in range(0, schedule.steps, STRIDE):
        count = min(STRIDE, schedule.steps - first)
        make = _projecting(schedule, count, mesh)
        state, loss = make(generator, distance, spread, state, target, first)
        done = f"step {first + count} of {schedule.steps}"
        _tell(run, f"projecting, {done}, distance {float(loss.mean()):.4f}")
        if run.show:
            drawn = _drawn_so_far(mesh)(generator, state.variables)
            run.show(np.asarray(target.pictures), np.asarray(drawn))
    return state.variables


def _counted(state: projection.State, faces: int) -> projection.State:
    """Return a state whose optimiser counts its steps for each face, so that it can be split."""
    count = jnp.broadcast_to(state.adam.count, (faces,))
    return state._replace(adam=state.adam._replace(count=count))


@functools.lru_cache(maxsize=8)
def _projecting(
    schedule: Schedule, count: int, mesh: Mesh
) -> Callable[..., tuple[projection.State, jax.Array]]:
    """Compile some steps of a schedule; returns the state and the distances before the last."""

    def run(
        generator: Generator,
        distance: Perceptual,
        spread: jax.Array,
        state: projection.State,
        target: projection.Target,
        first: jax.Array,
    ) -> tuple[projection.State, jax.Array]:
        faces = len(state.variables.codes)
        state = state._replace(adam=state.adam._replace(count=state.adam.count[0]))

        def one(state: projection.State, index: jax.Array) -> tuple[projection.State, jax.Array]:
            done = index.astype(jnp.float32) / schedule.steps
            key = jax.random.fold_in(jax.random.key(SEED), index)
            drawn = jax.random.normal(key, state.variables.codes.shape[1:])
            jitter = spread * schedule.jitter_at(done) * drawn
            state, found = projection.step(
                generator, distance, schedule, state, target, jitter, schedule.rate(done)
            )
            return state, found.distance

        state, losses = jax.lax.scan(one, state, first + jnp.arange(count))
        return _counted(state, faces), losses[-1]

    split = (False, False, False, True, True, False)
    return over_samples(run, mesh, split, compiler_options=options(dense=True))


@functools.cache
def _drawn_so_far(mesh: Mesh) -> Callable[[Generator, projection.Variables], jax.Array]:
    """Compile what draws the faces of an unfinished projection, as small as they are compared."""

    def run(generator: Generator, variables: projection.Variables) -> jax.Array:
        shape = (len(variables.codes), generator.config.n_latent, variables.codes.shape[2])
        codes = jnp.broadcast_to(variables.codes, shape)
        drawn = generator.synthesis(codes, noise=variables.noise)
        return area_mean(drawn, min(perceptual.SIDE, drawn.shape[1]))

    return over_samples(run, mesh, (False, True), compiler_options=options(dense=True))


@jax.jit
def _spread_of(generator: Generator, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    return projection.spread_of(generator, z)


@jax.jit
def _target_of(distance: Perceptual, pictures: jax.Array) -> projection.Target:
    return projection.Target.of(distance, pictures)


def _tune(
    inverter: Inverter, pictures: np.ndarray, pivots: np.ndarray, run: Run, mesh: Mesh
) -> dict[str, np.ndarray]:
    """Return the differences of tuned generators [B,...], a face on each device.

    Generators on one device are tuned one after the other: convolutions with kernels of each
    sample's own are slow on every platform.

    Args:
        inverter: with the generator.
        pictures: [B,R,R,3], B the devices of the mesh.
        pivots: [B,L,D].
        run: is told how far it is.
        mesh: the devices.
    """
    tuning = dataclasses.replace(TUNING, steps=inverter.steps)
    generator, distance = inverter.generator, inverter.distances["tuning"]
    if not distance.is_lpips:  # the threshold is one of LPIPS
        tuning = dataclasses.replace(tuning, enough=0.0)
    target = _embedded(distance, pictures)
    begun = pivotal_tuning.begin(generator.synthesis)
    state = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(pictures), *x.shape)), begun)
    for first in range(0, tuning.steps, STRIDE):
        count = min(STRIDE, tuning.steps - first)
        make = _tuning(tuning, count, mesh)
        state, loss, drawn = make(generator, distance, state, pivots, target)
        _tell(run, f"tuning, step {first + count} of {tuning.steps}, loss {float(loss.mean()):.4f}")
        if run.show:
            run.show(pictures, np.asarray(drawn))
        if bool(state.done.all()):
            break
    before = weights_of(generator.synthesis)
    return {name: np.asarray(state.weights[name] - before[name], KEPT) for name in before}


@functools.lru_cache(maxsize=8)
def _tuning(tuning: Tuning, count: int, mesh: Mesh) -> Callable[..., tuple[Any, Any, jax.Array]]:
    """Compile some steps for one face a device.

    It returns the states, the losses before the last step, and the pictures as they are now.
    """

    def run(
        generator: Generator,
        distance: Perceptual,
        states: pivotal_tuning.State,
        pivot: jax.Array,
        target: pivotal_tuning.Target,
    ) -> tuple[pivotal_tuning.State, jax.Array, jax.Array]:
        def one(state: pivotal_tuning.State, _: None) -> tuple[pivotal_tuning.State, jax.Array]:
            state, found = pivotal_tuning.step(generator, distance, tuning, state, pivot, target)
            return state, sum(found, jnp.zeros(()))

        state, losses = jax.lax.scan(one, jax.tree.map(lambda x: x[0], states), None, length=count)
        drawn = with_weights(generator.synthesis, state.weights)(pivot)
        return jax.tree.map(lambda x: x[None], state), losses[-1:], drawn

    split = (False, False, True, True, True)
    return over_samples(run, mesh, split, compiler_options=options(dense=True))


@jax.jit
def _embedded(distance: Perceptual, pictures: jax.Array) -> pivotal_tuning.Target:
    return pivotal_tuning.Target(pictures, distance.embed(pictures))


Batch = tuple[np.ndarray, np.ndarray, projection.Variables, int]
"""Pictures, codes [B,L,D], what projection found, and how many of the rows are not padding."""


def _mesh_of(pictures: np.ndarray, run: Run) -> Mesh:
    """Return the devices for some pictures: an idle one costs less than a copy of a face on it."""
    return mesh_for(min(run.batch, len(pictures)), run.devices)


def _projected(inverter: Inverter, pictures: np.ndarray, run: Run) -> Iterator[Batch]:
    """Yield the batches of some pictures, projected."""
    n_latent, done, mesh = inverter.generator.config.n_latent, 0, _mesh_of(pictures, run)
    for rows in batches(len(pictures), run.batch, multiple_of=mesh.size):
        few = np.asarray(pictures[rows], np.float32)
        found = _project(inverter, few, run, mesh)
        shape = (len(rows), n_latent, found.codes.shape[2])
        new = min(len(rows), len(pictures) - done)
        yield few, np.asarray(jnp.broadcast_to(found.codes, shape)), found, new
        done += new
        if run.advance:
            run.advance(new)


def _without_padding(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures [n,...] without copies of the last at their end, and N places among them.

    Callers pad their batches with copies, which cost encoders little, but optimisation minutes.
    """
    last = len(pictures) - 1
    while last and np.array_equal(pictures[last], pictures[last - 1]):
        last -= 1
    return pictures[: last + 1], np.minimum(np.arange(len(pictures)), last)


def _tell(run: Run, said: str) -> None:
    """Say how far the faces at hand are."""
    if run.describe:
        run.describe(said)


def _joined(parts: list[dict[str, np.ndarray]], places: np.ndarray) -> Changes:
    return {
        name: jnp.asarray(np.concatenate([each[name] for each in parts])[places])
        for name in parts[0]
    }


def _find_codes(
    inverter: Inverter, pictures: np.ndarray, _passes: int, run: Run
) -> tuple[np.ndarray, None]:
    """Return codes [N,L,D], the same in all layers; the noise is forgotten, as NVlabs does."""
    few, places = _without_padding(pictures)
    found = [codes[:new] for _, codes, _, new in _projected(inverter, few, run)]
    return np.concatenate(found)[places], None


def _find_noisy(
    inverter: Inverter, pictures: np.ndarray, _passes: int, run: Run
) -> tuple[np.ndarray, Changes]:
    """Return codes [N,L,D] of all layers, and the noise as a difference from the generator's."""
    pictures, places = _without_padding(pictures)
    codes, changes = [], []
    convs = list(inverter.generator.synthesis.convs)
    for _, some, found, new in _projected(inverter, pictures, run):
        codes.append(some[:new])
        pairs = zip(_names(inverter.generator), convs, found.noise, strict=True)
        changes.append(
            {name: np.asarray(n[:new, :, :, 0] - conv.noise[...], KEPT) for name, conv, n in pairs}
        )
    return np.concatenate(codes)[places], _joined(changes, places)


def _find_tuned(
    inverter: Inverter, pictures: np.ndarray, _passes: int, run: Run
) -> tuple[np.ndarray, Changes]:
    """Return pivots [N,L,D], the same in all layers, and the differences of tuned generators."""
    pictures, places = _without_padding(pictures)
    codes, changes, mesh = [], [], _mesh_of(pictures, run)
    for few, some, _, new in _projected(inverter, pictures, run):
        codes.append(some[:new])
        for rows in batches(new, mesh.size, multiple_of=mesh.size):
            tuned = _tune(inverter, few[rows], some[rows], run, mesh)
            alone = len(np.unique(rows))  # the last rows are copies
            changes.append({name: array[:alone] for name, array in tuned.items()})
    return np.concatenate(codes)[places], _joined(changes, places)


def _names(generator: Generator) -> list[str]:
    """Return the names of the noise pictures among a synthesis network's weights."""
    return [f"convs.{i}.noise" for i in range(len(generator.config.noise_sizes))]


def _noise_shapes(inverter: Inverter) -> dict[str, tuple[int, ...]]:
    sizes = inverter.generator.config.noise_sizes
    named = zip(_names(inverter.generator), sizes, strict=True)
    return {name: (side, side) for name, side in named}


def _weight_shapes(inverter: Inverter) -> dict[str, tuple[int, ...]]:
    return {name: x.shape for name, x in weights_of(inverter.generator.synthesis).items()}


def _expanded(inverter: Inverter, changes: Changes, _passes: int) -> tuple[Generator, None]:
    """Return the generator of one face."""
    one = {f"synthesis.{name}": array[0] for name, array in changes.items()}
    return with_differences(inverter.generator, one), None


def _drawn(
    inverter: Inverter, codes: jax.Array, changes: Changes, _passes: Any, resolution: int | None
) -> jax.Array:
    """Draw faces one after the other, each by its own generator."""

    def one(row: tuple[jax.Array, Changes]) -> jax.Array:
        tuned = with_differences(inverter.generator.synthesis, row[1])
        return tuned(row[0][None], resolution=resolution)[0]

    return jax.lax.map(one, (codes, changes))


def _drawn_noisy(
    inverter: Inverter, codes: jax.Array, changes: Changes, _passes: Any, resolution: int | None
) -> jax.Array:
    """Draw faces, each with its own noise."""
    generator = inverter.generator
    pairs = zip(generator.synthesis.convs, _names(generator), strict=True)
    noise = [
        (conv.noise[...] + changes[name].astype(jnp.float32))[..., None] for conv, name in pairs
    ]
    return generator.synthesis(codes, noise=noise, resolution=resolution)


def _passes(inverter: Inverter, _passes: int) -> int:
    return inverter.steps


METHODS = {
    "projection-w": Method(_find_codes, _passes),
    "projection": Method(_find_noisy, _passes, _noise_shapes, _expanded, _drawn_noisy),
    "pti": Method(_find_tuned, _passes, _weight_shapes, _expanded, _drawn),
}
"""The functions of each inverter of this file."""
