"""Part of each layer of a generator that a part of the picture depends on.

A pixel depends on the code and on the pixels around it at every resolution. If only a part of the
picture is used, such as a classifier's face crop, the rest need not be computed.
"""

import math

import jax

Box = tuple[int, int, int, int]
"""Top, bottom, left, right in pixels; bottom and right are exclusive."""

REACH = 3
"""Pixels at the edge of an upsampled box that depend on pixels outside of it: two after the
upsampling convolution and one after the next."""

GRAIN = 4
"""Edges of boxes are multiples of this, so that they divide into Winograd tiles."""


def held(size: int, window: Box) -> dict[int, Box]:
    """Return, for each resolution below `size`, the box that the next block reads.

    A block reads a box, upsamples it and pads it with zeros, which makes `REACH` pixels at its
    edges wrong, except at the edges of the picture. The next box does not contain these pixels.

    Args:
        size: side of the picture.
        window: part of the picture to compute.
    """
    boxes, wanted, side = {}, window, size
    while side > 4:
        side //= 2
        boxes[side] = wanted = (*_halved(*wanted[:2], side), *_halved(*wanted[2:], side))
    return boxes


def _halved(low: int, high: int, side: int) -> tuple[int, int]:
    """Return what a block reads along one axis to compute [low, high) of twice the resolution."""
    low = max(0, (low - REACH) // 2) // GRAIN * GRAIN
    high = math.ceil(math.ceil((high + REACH) / 2) / GRAIN) * GRAIN
    return low, min(side, high)


def doubled(box: Box) -> Box:
    """Return the same box at twice the resolution."""
    top, bottom, left, right = box
    return 2 * top, 2 * bottom, 2 * left, 2 * right


def cut(x: jax.Array, box: Box, within: Box, axis: int = 1) -> jax.Array:
    """Cut a box out of x, which covers the box `within`; `axis` is that of rows, before columns."""
    for at, (low, high, start) in enumerate(
        ((box[0], box[1], within[0]), (box[2], box[3], within[2]))
    ):
        x = jax.lax.slice_in_dim(x, low - start, high - start, axis=axis + at)
    return x
