"""Differentiable renderer of the demo's faces, at any resolution."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from emojax.demo.drawing import eyes, hair, head, mouth
from emojax.demo.drawing.factors import Identity, Params
from emojax.demo.drawing.frame import (
    ActionUnits,
    Frame,
    Head,
    action_units,
    head_outline,
    in_bands,
    undo_pose,
)
from emojax.demo.drawing.shapes import pixel_grid


class Shapes(NamedTuple):
    """What the layers of one face share: pixel coordinates, and the shapes of its parts."""

    frame: Frame
    head: Head
    hair: hair.Hair
    mouth: mouth.Mouth


def render(face: Params, resolution: int = 128) -> jax.Array:
    """Draw one face.

    Args:
        face: what `params` returns for a latent.
        resolution: side of the picture in pixels.

    Returns:
        Picture [resolution, resolution, 3], RGB in [-1, 1].
    """
    who, units = face.identity, action_units(face)
    grid = jnp.broadcast_arrays(*pixel_grid(resolution))
    frame = in_bands(lambda x, y: undo_pose(face, x, y), *grid)
    outline = in_bands(lambda f: head_outline(f, face), frame)
    style = in_bands(lambda f, h: hair.hair_shape(f, h, who), frame, outline)
    lips = in_bands(lambda f: mouth.mouth_shape(f, who, units), frame)
    shapes = Shapes(frame, outline, style, lips)
    canvas = in_bands(lambda f: head.backdrop(f, who), frame)
    for layer in _layers(who, units):
        canvas = in_bands(layer, canvas, shapes)
    return 2 * jnp.clip(canvas, 0, 1) - 1


def _layers(
    who: Identity, units: ActionUnits
) -> tuple[Callable[[jax.Array, Shapes], jax.Array], ...]:
    """Return functions (canvas, shapes) -> canvas that draw a person, back to front."""
    return (
        lambda c, s: head.torso(hair.behind(c, s.frame, s.hair, who), s.frame, s.head, who),
        lambda c, s: head.ears(c, s.frame, who),
        lambda c, s: head.skin(c, s.frame, s.head, who, units),
        lambda c, s: mouth.wrinkles(
            mouth.nose(c, s.frame, who, units), s.frame, who, units, s.mouth
        ),
        lambda c, s: head.beard(c, s.frame, s.head, who, s.mouth.distance),
        lambda c, s: mouth.mouth(c, s.frame, who, units, s.mouth),
        lambda c, s: eyes.brows(eyes.eyes(c, s.frame, who, units), s.frame, who, units),
        lambda c, s: hair.hat(hair.in_front(c, s.frame, s.head, s.hair, who), s.frame, s.head, who),
        lambda c, s: eyes.glasses(c, s.frame, s.head.distance, who),
    )


@functools.partial(jax.jit, static_argnames="resolution")
def render_batch(faces: Params, *, resolution: int = 128) -> jax.Array:
    """Draw N faces, a `Params` of arrays [N, ...], as pictures [N, R, R, 3] in [-1, 1].

    Compiled once for each N and resolution, about ten seconds on a CPU: use few values of N.
    """
    return jax.vmap(functools.partial(render, resolution=resolution))(faces)
