"""Pixel coordinates on a face: pose undone, left and right half mapped onto one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from emojax.demo.drawing.expressions import ACTION_UNITS
from emojax.demo.drawing.factors import Params
from emojax.demo.drawing.shapes import flattened_ellipse, length, smoothstep

ActionUnits = dict[int, jax.Array]
"""Activations [2], left and right of the picture, by the FACS number of the action unit."""


class Frame(NamedTuple):
    """Coordinates of the pixels of one face, in half sides of a picture at zoom 1.

    Attributes:
        x: horizontal position [R, R] in the plane of the head, upright; outlines are drawn in it.
        y: vertical position [R, R] in that plane, 0 between the eyes and the nose.
        u: x with yaw applied; features near the middle protrude and move most.
        v: y with pitch applied.
        a: distance from the midline, about |u|, so that one shape draws both eyes.
        side: 0 on the left of the picture, 1 on its right, a smooth step at the midline.
        pixel: side of a pixel [].
    """

    x: jax.Array
    y: jax.Array
    u: jax.Array
    v: jax.Array
    a: jax.Array
    side: jax.Array
    pixel: jax.Array

    def pick(self, sides: jax.Array) -> jax.Array:
        """Return a quantity [2], left and right of the picture, at each pixel [R, R]."""
        return sides[0] + (sides[1] - sides[0]) * self.side


class Head(NamedTuple):
    """Outline of the head.

    Attributes:
        distance: [R, R] signed distance to the outline.
        nx: [R, R] horizontal part of the ellipsoid's outward normal, -1 to 1 on the face.
        ny: [R, R] its vertical part.
        top: [] height of the skull above y = 0.
        bottom: [] depth of the chin below y = 0.
    """

    distance: jax.Array
    nx: jax.Array
    ny: jax.Array
    top: jax.Array
    bottom: jax.Array


def action_units(face: Params) -> ActionUnits:
    """Return a face's activations by action unit number."""
    return dict(zip(ACTION_UNITS, face.action_units, strict=True))


def undo_pose(face: Params, x: jax.Array, y: jax.Array) -> Frame:
    """Return the coordinates on a face of the pixels at x, y [R, R]: zoom and pose undone."""
    who = face.identity
    pixel = 2 / x.shape[-1] / who.zoom
    cos, sin = jnp.cos(who.roll) / who.zoom, jnp.sin(who.roll) / who.zoom
    x, y = x - 0.6 * who.yaw, y + 0.02
    x, y = cos * x + sin * y, cos * y - sin * x
    depth = 1 / (1 + 2.2 * (x * x + y * y) ** 2)  # a rounded front: 1 in the middle
    u, v = x - who.yaw * depth, y - who.pitch * depth
    side = smoothstep(u / 0.16 + 0.5)
    return Frame(x, y, u, v, length(u, 0.002), side, pixel)


def head_outline(frame: Frame, face: Params) -> Head:
    """Return the head's outline: half an ellipse for the skull, half a shaped one for the jaw."""
    who, drop = face.identity, action_units(face)[26].mean()
    top, bottom = who.forehead, who.chin + 0.07 * drop
    t = jnp.clip(-frame.y / bottom, 0, 1)
    fullness = 3.6 * who.jaw + 0.4 * who.cheeks - 0.45
    width = who.head_width * (1 + fullness * t * t * (1 - t))
    below = frame.y < 0
    height = jnp.where(below, bottom, top)
    flat = jnp.where(below, 0.0, 0.4)
    distance = flattened_ellipse(frame.x, frame.y, width, height, flat)
    return Head(distance, frame.x / width, frame.y / height, top, bottom)


def in_bands(layer: Callable[..., Any], *fields: Any) -> Any:
    """Apply a per-pixel function to bands of rows in a loop, and join the results.

    The loop keeps XLA's CPU compiler from fusing the layers and computing their shared fields again
    for each layer: at 128 px that was more than twice as slow, and slower to compile.
    `jax.lax.optimization_barrier` did not prevent it.

    Args:
        layer: from fields to a field, or to a tuple of them; each pixel by itself.
        *fields: trees of arrays [R, R, ...]; scalars are passed whole.
    """
    leaves, tree = jax.tree.flatten(fields)
    rows = max(leaves, key=jnp.ndim).shape[0]
    bands = next((n for n in range(2, rows) if rows % n == 0), rows)
    split = [
        leaf.reshape(bands, rows // bands, *leaf.shape[1:]) if leaf.ndim > 1 else None
        for leaf in leaves
    ]

    def paint(band: list[jax.Array | None]) -> Any:
        parts = [leaf if part is None else part for leaf, part in zip(leaves, band, strict=True)]
        return layer(*jax.tree.unflatten(tree, parts))

    # the backward pass recomputes a layer instead of storing its hundreds of intermediate fields
    drawn = jax.lax.map(jax.checkpoint(paint, prevent_cse=False), split)
    return jax.tree.map(lambda a: a.reshape(rows, *a.shape[2:]) if a.ndim > 2 else a[0], drawn)
