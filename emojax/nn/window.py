"""Which part of each layer a part of the picture depends on.

A generator is local: a pixel depends on the pixels around it at every resolution, and on the code.
Where only a part of the picture is wanted (the face that a classifier looks at), the rest need not
be computed.
"""

import math

import jax

Box = tuple[int, int, int, int]
"""Top, bottom, left, right in pixels; bottom and right are the first ones outside."""

REACH = 3
"""Pixels at the border of an up-sampled box that miss a neighbour after the up-convolution (two)
and the convolution that follows (one)."""

GRAIN = 4
"""Sides of boxes are multiples of it: whole tiles for Winograd's convolution and for copies."""


def held(size: int, window: Box) -> dict[int, Box]:
    """Return the box of each resolution below `size` that the next block has to read.

    Blocks read a box, double it and pad it with zeros, which spoils `REACH` pixels inside its
    edges, unless the edge is that of the picture. What is spoilt is not in the next box.

    Args:
        size: side of the picture.
        window: what is wanted of it.
    """
    boxes, wanted, side = {}, window, size
    while side > 4:
        side //= 2
        boxes[side] = wanted = (*_halved(*wanted[:2], side), *_halved(*wanted[2:], side))
    return boxes


def _halved(low: int, high: int, side: int) -> tuple[int, int]:
    """Return what a block reads along one axis to make [low, high) of twice the resolution."""
    low = max(0, (low - REACH) // 2) // GRAIN * GRAIN
    high = math.ceil(math.ceil((high + REACH) / 2) / GRAIN) * GRAIN
    return low, min(side, high)


def doubled(box: Box) -> Box:
    """Return the same box at twice the resolution."""
    top, bottom, left, right = box
    return 2 * top, 2 * bottom, 2 * left, 2 * right


def cut(x: jax.Array, box: Box, within: Box, axis: int = 1) -> jax.Array:
    """Cut a box out of x, which holds the box `within`; rows are at `axis`, columns follow."""
    for at, (low, high, start) in enumerate(
        ((box[0], box[1], within[0]), (box[2], box[3], within[2]))
    ):
        x = jax.lax.slice_in_dim(x, low - start, high - start, axis=axis + at)
    return x
