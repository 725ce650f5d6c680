"""Projection: the code whose picture is closest to a photograph, found by gradient descent.

Codes in W or W+ and the generator's noise are optimised together by Adam. The step size rises at
first and falls at the end, codes are jittered by a falling noise, and a penalty keeps the
generator's noise from carrying the picture (Karras et al. 2020, appendix D). Everything is computed
for each face by itself, whatever else is in the batch.

Sources: NVlabs/stylegan2-ada-pytorch `projector.py`; rosinality/stylegan2-pytorch `projector.py`;
danielroich/PTI `training/projectors/w_projector.py`.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from emojax.metrics import perceptual
from emojax.metrics.perceptual import Perceptual
from emojax.models.stylegan2 import Generator
from emojax.nn.pooling import area_mean

SMALLEST_NOISE = 8
"""Side of the coarsest noise that is penalised."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How codes are projected; the defaults are NVlabs'.

    Attributes:
        steps: how many.
        samples: random codes that the mean code and the spread are measured on.
        learning_rate: Adam's step size at its highest.
        ramp_up: share of the steps in which it rises linearly.
        ramp_down: share of the steps in which it falls along a cosine.
        jitter: of the codes at the start, as a share of the spread.
        jitter_until: share of the steps after which codes are not jittered.
        noise_weight: of the penalty on the generator's noise.
        squared_weight: of the mean squared error, beside the perceptual distance.
        in_w_plus: whether each layer gets a code of its own.
        noise_scaling: by what noise is divided after each step: its root mean square, or its
            deviation as of a sample, as rosinality does.
    """

    steps: int = 1000
    samples: int = 10_000
    learning_rate: float = 0.1
    ramp_up: float = 0.05
    ramp_down: float = 0.25
    jitter: float = 0.05
    jitter_until: float = 0.75
    noise_weight: float = 1e5
    squared_weight: float = 0.0
    in_w_plus: bool = False
    noise_scaling: Literal["mean square", "sample deviation"] = "mean square"

    def rate(self, done: jax.Array | float) -> jax.Array:
        """Return the step size when a share of the steps is done."""
        done = jnp.asarray(done)
        ramp = jnp.minimum(1.0, (1.0 - done) / self.ramp_down)
        ramp = 0.5 - 0.5 * jnp.cos(ramp * np.pi)
        return self.learning_rate * ramp * jnp.minimum(1.0, done / self.ramp_up)

    def jitter_at(self, done: jax.Array | float) -> jax.Array:
        """Return the jitter, as a share of the spread, when a share of the steps is done."""
        return self.jitter * jnp.square(
            jnp.maximum(0.0, 1.0 - jnp.asarray(done) / self.jitter_until)
        )


class Variables(NamedTuple):
    """What is optimised, for B faces.

    Attributes:
        codes: [B,1,D] in W, or [B,L,D] in W+.
        noise: of each convolution, [B,r,r,1].
    """

    codes: jax.Array
    noise: list[jax.Array]


class State(NamedTuple):
    """An unfinished projection.

    Attributes:
        variables: so far.
        adam: the optimiser's moments.
    """

    variables: Variables
    adam: Any


class Losses(NamedTuple):
    """Of each face, [B]: the perceptual distance, the noise's penalty, the squared error."""

    distance: jax.Array
    penalty: jax.Array
    squared: jax.Array


_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


def spread_of(generator: Generator, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the mean code [D] of z [N, z_dim], and the root of the mean squared distance from it.

    The latter is one number over all dimensions together, as in the originals.
    """
    w = generator.mapping(z)
    mean = w.mean(0)
    return mean, jnp.sqrt(jnp.square(w - mean).sum() / len(w))


def begin(codes: jax.Array, noise: list[jax.Array]) -> State:
    """Return the state before the first step."""
    variables = Variables(codes, noise)
    return State(variables, _ADAM.init(variables))  # pyright: ignore[reportArgumentType] - a pytree


def losses(
    generator: Generator,
    distance: Perceptual,
    schedule: Schedule,
    variables: Variables,
    jitter: jax.Array,
    target: "Target",
) -> tuple[jax.Array, Losses]:
    """Return the sum over faces of what is made small, and its terms."""
    codes = variables.codes + jitter
    shape = (len(codes), generator.config.n_latent, codes.shape[2])
    drawn = generator.synthesis(jnp.broadcast_to(codes, shape), noise=variables.noise)
    drawn = area_mean(drawn, target.pictures.shape[1])
    found = Losses(
        perceptual.between(distance.embed(drawn), target.embedded),
        penalty(variables.noise),
        jnp.square(drawn - target.pictures).mean((1, 2, 3)),
    )
    total = (
        found.distance
        + schedule.noise_weight * found.penalty
        + schedule.squared_weight * found.squared
    )
    return total.sum(), found


class Target(NamedTuple):
    """What pictures should become.

    Attributes:
        pictures: [B,s,s,3] in [-1, 1], s at most `perceptual.SIDE`.
        embedded: see `Perceptual.embed`.
    """

    pictures: jax.Array
    embedded: list[jax.Array]

    @classmethod
    def of(cls, distance: Perceptual, pictures: jax.Array) -> "Target":
        """Return the target of photographs [B,S,S,3]."""
        small = area_mean(pictures, min(perceptual.SIDE, pictures.shape[1]))
        return cls(small, distance.embed(small))


def step(
    generator: Generator,
    distance: Perceptual,
    schedule: Schedule,
    state: State,
    target: Target,
    jitter: jax.Array,
    rate: jax.Array,
) -> tuple[State, Losses]:
    """Make one step.

    Args:
        generator: which.
        distance: which.
        schedule: its weights; the step's own numbers are the last two arguments.
        state: so far.
        target: wanted.
        jitter: added to the codes for this step, of their shape.
        rate: Adam's step size.

    Returns:
        The next state, and the losses before the step.
    """
    slope, found = jax.grad(losses, argnums=3, has_aux=True)(
        generator, distance, schedule, state.variables, jitter, target
    )
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer
        moves, adam = _ADAM.update(slope, state.adam)
    codes, noise = jax.tree.map(lambda x, move: x - rate * move, state.variables, moves)
    return State(Variables(codes, [normalised(n, schedule) for n in noise]), adam), found


def penalty(noise: list[jax.Array]) -> jax.Array:
    """Return [B]: how alike neighbours in the noise [B,r,r,1] are, at all scales down to 8²."""
    total = jnp.zeros(())
    for x in noise:
        while True:
            for axis in (2, 1):
                total += jnp.square((x * jnp.roll(x, 1, axis)).mean((1, 2, 3)))
            if x.shape[1] <= SMALLEST_NOISE:
                break
            x = area_mean(x, x.shape[1] // 2)
    return total


def normalised(noise: jax.Array, schedule: Schedule) -> jax.Array:
    """Return noise [B,r,r,1] with mean 0 and size 1, see `Schedule.noise_scaling`."""
    noise = noise - noise.mean((1, 2, 3), keepdims=True)
    count = noise[0].size
    if schedule.noise_scaling == "sample deviation":
        count -= 1
    return noise * jax.lax.rsqrt(jnp.square(noise).sum((1, 2, 3), keepdims=True) / count)
