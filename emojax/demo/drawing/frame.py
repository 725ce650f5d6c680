"""Where each pixel lies on a face: pose undone, the two halves folded onto one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from emojax.demo.drawing.expressions import ACTION_UNITS
from emojax.demo.drawing.factors import Params
from emojax.demo.drawing.shapes import flattened_ellipse, length, smoothstep


class Frame(NamedTuple):
    """The pixels of one face. Lengths are in half sides of an unzoomed picture.

    Attributes:
        x, y: position [R, R] in the plane of the head, upright and centred between the eyes'
            height and the nose; outlines are drawn here.
        u, v: the same turned with the head: features near the middle stick out and move most.
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
        """Field [R, R] of a quantity [2] that differs between left and right."""
        return sides[0] + (sides[1] - sides[0]) * self.side


class Head(NamedTuple):
    """Outline of the head: half width at the temples, heights of skull and chin, fields [R, R].

    Attributes:
        distance: signed distance to the outline.
        nx, ny: outward normal of the ellipsoid, in -1 to 1 on the face.
        top, bottom: heights above and below y = 0 of the ends of the outline [].
    """

    distance: jax.Array
    nx: jax.Array
    ny: jax.Array
    top: jax.Array
    bottom: jax.Array


def unit_table(face: Params) -> dict[int, jax.Array]:
    """Activations [2] (left and right of the picture) by action unit number."""
    return dict(zip(ACTION_UNITS, face.action_units, strict=True))


def look(face: Params, x: jax.Array, y: jax.Array) -> Frame:
    """Undo a face's zoom, roll, yaw and pitch for pixels at x, y [R, R] of `pixel_grid`."""
    who = face.identity
    pixel = 2 / x.shape[-1] / who.zoom
    cos, sin = jnp.cos(who.roll) / who.zoom, jnp.sin(who.roll) / who.zoom
    x, y = x - 0.6 * who.yaw, y + 0.02
    x, y = cos * x + sin * y, cos * y - sin * x
    depth = 1 / (1 + 2.2 * (x * x + y * y) ** 2)  # of a rounded front: 1 in the middle
    u, v = x - who.yaw * depth, y - who.pitch * depth
    side = smoothstep(u / 0.16 + 0.5)
    return Frame(x, y, u, v, length(u, 0.002), side, pixel)


def head_outline(frame: Frame, face: Params) -> Head:
    """The head: half an ellipse for the skull, half a shaped one for jaw and chin."""
    who, drop = face.identity, unit_table(face)[26].mean()
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
    """Call a layer on bands of rows, one after the other, and put the bands together.

    The bands are a fence, not a saving of memory: left to itself, XLA's CPU compiler fuses the
    layers and computes the fields they share again for each (measured at
    128 px: over twice as slow, and slower to compile); `jax.lax.optimization_barrier` did not help.

    Args:
        layer: from fields to a field, or a tuple of them; pixels must not see their neighbours.
        *fields: trees of arrays [R, R, ...]; other ranks are handed on whole.
    """
    leaves, tree = jax.tree.flatten(fields)
    rows = max(leaves, key=jnp.ndim).shape[0]
    bands = next((n for n in range(2, rows) if rows % n == 0), rows)
    split = [
        leaf.reshape(bands, rows // bands, *leaf.shape[1:]) if leaf.ndim > 1 else None
        for leaf in leaves
    ]

    def paint(band):
        parts = [leaf if part is None else part for leaf, part in zip(leaves, band, strict=True)]
        return layer(*jax.tree.unflatten(tree, parts))

    # gradients draw a layer again rather than keep its hundreds of intermediate fields
    drawn = jax.lax.map(jax.checkpoint(paint, prevent_cse=False), split)
    return jax.tree.map(lambda a: a.reshape(rows, *a.shape[2:]) if a.ndim > 2 else a[0], drawn)
