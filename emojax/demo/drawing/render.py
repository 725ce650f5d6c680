"""Draw the faces of the demo world, differentiably and at any resolution."""

import functools

import jax
import jax.numpy as jnp

from emojax.demo.drawing import eyes, hair, head, mouth
from emojax.demo.drawing.factors import (
    LATENT_SIZE,
    Params,
    express,
    params,
    sample,
    sample_balanced,
    with_emotion,
)
from emojax.demo.drawing.frame import head_outline, in_bands, look, unit_table
from emojax.demo.drawing.shapes import pixel_grid

__all__ = [
    "LATENT_SIZE",
    "Params",
    "express",
    "params",
    "render",
    "render_batch",
    "sample",
    "sample_balanced",
    "with_emotion",
]


def render(face: Params, resolution: int = 128) -> jax.Array:
    """Draw one face.

    Args:
        face: what `params` says of a latent.
        resolution: side of the picture in pixels.

    Returns:
        Picture [resolution, resolution, 3], RGB in [-1, 1].
    """
    who, units = face.identity, unit_table(face)
    grid = jnp.broadcast_arrays(*pixel_grid(resolution))
    frame = in_bands(lambda x, y: look(face, x, y), *grid)
    outline = in_bands(lambda f: head_outline(f, face), frame)
    style = in_bands(lambda f, h: hair.hair_shape(f, h, who), frame, outline)
    lips = in_bands(lambda f: mouth.mouth_shape(f, who, units), frame)
    canvas = in_bands(lambda f: head.backdrop(f, who), frame)
    layers = (  # back to front; canvas, frame, head, hair, mouth -> canvas
        lambda c, f, h, s, m: head.torso(hair.behind(c, f, s, who), f, h, who),
        lambda c, f, h, s, m: head.ears(c, f, who),
        lambda c, f, h, s, m: head.skin(c, f, h, who, units),
        lambda c, f, h, s, m: mouth.wrinkles(mouth.nose(c, f, who, units), f, who, units, m),
        lambda c, f, h, s, m: head.beard(c, f, h, who, m.distance),
        lambda c, f, h, s, m: mouth.mouth(c, f, who, units, m),
        lambda c, f, h, s, m: eyes.brows(eyes.eyes(c, f, who, units), f, who, units),
        lambda c, f, h, s, m: hair.hat(hair.in_front(c, f, h, s, who), f, h, who),
        lambda c, f, h, s, m: eyes.glasses(c, f, h.distance, who),
    )
    for layer in layers:
        canvas = in_bands(layer, canvas, frame, outline, style, lips)
    return 2 * jnp.clip(canvas, 0, 1) - 1


@functools.partial(jax.jit, static_argnames="resolution")
def render_batch(faces: Params, *, resolution: int = 128) -> jax.Array:
    """Draw N faces, a `Params` of arrays [N, ...]: pictures [N, R, R, 3] in [-1, 1].

    Compiled once for each N and resolution (about ten seconds on a CPU), so keep N the same.
    """
    return jax.vmap(functools.partial(render, resolution=resolution))(faces)
