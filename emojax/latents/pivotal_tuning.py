"""Pivotal tuning (PTI): the generator itself is trained until it draws a photograph from its code.

The code, the pivot, stays; all weights of the synthesis network move a little, so that the code's
neighbourhood keeps its meaning (Roich et al. 2022). What is kept of a tuned generator is the
difference from the bundle's.

Source: danielroich/PTI `training/coaches/base_coach.py` and `single_id_coach.py`,
`criteria/localitly_regulizer.py`.
"""

import dataclasses
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from emojax.metrics import perceptual
from emojax.metrics.perceptual import Perceptual
from emojax.models.stylegan2 import Generator, Synthesis

ModuleT = TypeVar("ModuleT", bound=nnx.Module)

Weights = dict[str, jax.Array]
"""Weights of the synthesis network by dotted name, or differences of them."""


@dataclasses.dataclass(frozen=True)
class Tuning:
    """How a generator is tuned; the defaults are PTI's.

    Attributes:
        steps: most steps.
        learning_rate: Adam's.
        enough: LPIPS at which a face is done; 0: never before the last step.
        locality: weight of the locality regularisation, which PTI has off; its paper has 0.1.
        locality_reach: length of the step from the pivot to where it is measured.
    """

    steps: int = 350
    learning_rate: float = 3e-4
    enough: float = 0.06
    locality: float = 0.0
    locality_reach: float = 30.0


class State(NamedTuple):
    """An unfinished tuning of one generator.

    Attributes:
        weights: of its synthesis network, so far.
        adam: the optimiser's moments.
        done: whether the picture is close enough, after which nothing moves.
    """

    weights: Weights
    adam: Any
    done: jax.Array


class Losses(NamedTuple):
    """Squared error, perceptual distance and locality of one face, before a step."""

    squared: jax.Array
    distance: jax.Array
    locality: jax.Array


class Target(NamedTuple):
    """What one picture should become.

    Attributes:
        picture: [1,S,S,3] in [-1, 1], of the generator's size.
        embedded: see `Perceptual.embed`.
    """

    picture: jax.Array
    embedded: list[jax.Array]


_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


def weights_of(synthesis: Synthesis) -> Weights:
    """Return what is tuned: every weight but the noise pictures, which are no parameters."""
    flat = _flat(nnx.state(synthesis))
    return {name: leaf[...] for name, (_, leaf) in flat.items() if not name.endswith(".noise")}


def with_weights(network: ModuleT, weights: Weights) -> ModuleT:
    """Return a network with other weights in some places.

    Raises:
        ValueError: it has no weight of such a name.
    """
    graph, state = nnx.split(network)
    flat = _flat(state)
    if unknown := weights.keys() - flat.keys():
        raise ValueError(f"the generator has no {', '.join(sorted(unknown))}")
    changed = [
        (path, leaf.replace(weights[name]) if name in weights else leaf)
        for name, (path, leaf) in flat.items()
    ]
    return nnx.merge(graph, nnx.from_flat_state(changed))


def with_differences(network: ModuleT, differences: Weights) -> ModuleT:
    """Return a network with something added to some of its weights; raises as `with_weights`."""
    flat = _flat(nnx.state(network))
    added = {
        name: flat[name][1][...] + difference.astype(jnp.float32)
        for name, difference in differences.items()
        if name in flat
    }
    return with_weights(network, {**differences, **added})


def _flat(state: nnx.State) -> dict[str, tuple[Any, Any]]:
    """Return path and variable of every weight by its dotted name."""
    return {".".join(map(str, path)): (path, leaf) for path, leaf in nnx.to_flat_state(state)}


def begin(synthesis: Synthesis) -> State:
    """Return the state before the first step."""
    weights = weights_of(synthesis)
    return State(weights, _ADAM.init(weights), jnp.asarray(False))


def losses(
    generator: Generator,
    distance: Perceptual,
    tuning: Tuning,
    weights: Weights,
    pivot: jax.Array,
    target: Target,
    z: jax.Array | None = None,
) -> tuple[jax.Array, Losses]:
    """Return what is made small for one face, and its terms.

    Args:
        generator: the bundle's.
        distance: which.
        tuning: its weights.
        weights: of the tuned network.
        pivot: [1,L,D], the code.
        target: wanted.
        z: [1, z_dim], towards which locality is measured; needed where `tuning.locality` is not 0.
    """
    tuned = with_weights(generator.synthesis, weights)
    drawn = tuned(pivot)
    found = Losses(
        jnp.square(drawn - target.picture).mean(),
        perceptual.between(distance.embed(drawn), target.embedded).sum(),
        jnp.zeros(()),
    )
    if tuning.locality and z is not None:
        apart = locality(generator, tuned, distance, pivot, z, tuning.locality_reach)
        found = found._replace(locality=tuning.locality * apart)
    return sum(found, jnp.zeros(())), found


def locality(
    generator: Generator,
    tuned: Synthesis,
    distance: Perceptual,
    pivot: jax.Array,
    z: jax.Array,
    reach: float,
) -> jax.Array:
    """Return how far two generators are apart at a code near the pivot: squared error and distance.

    The code lies on the way to that of z, at truncation 0.5, `reach` away over all layers together.
    """
    there = generator.w_plus(generator.mapping(z), truncation=0.5)
    away = there - pivot
    near = pivot + reach * away / jnp.linalg.norm(away)
    old, new = (each(near, noise="none") for each in (generator.synthesis, tuned))
    apart = perceptual.between(distance.embed(new), distance.embed(old)).sum()
    return jnp.square(new - old).mean() + apart


def step(
    generator: Generator,
    distance: Perceptual,
    tuning: Tuning,
    state: State,
    pivot: jax.Array,
    target: Target,
    z: jax.Array | None = None,
) -> tuple[State, Losses]:
    """Make one step, unless the picture is close enough before it; see `losses`."""
    slope, found = jax.grad(losses, argnums=3, has_aux=True)(
        generator, distance, tuning, state.weights, pivot, target, z
    )
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer
        moves, adam = _ADAM.update(slope, state.adam)
    done = state.done | (found.distance <= tuning.enough)
    moved = jax.tree.map(lambda x, move: x - tuning.learning_rate * move, state.weights, moves)
    keep = lambda old, new: jnp.where(done, old, new)  # noqa: E731
    weights, adam = jax.tree.map(keep, (state.weights, state.adam), (moved, adam))
    return State(weights, adam, done), found
