"""Fused epilogues of the generator's convolutions: Pallas kernels for NVIDIA GPUs.

A convolution is followed by demodulation, noise, bias, activation and the modulation of the *next*
layer; an upsampling convolution first by the FIR filter, and the last convolution of a block also
by ToRGB. XLA compiles these to several kernels, each of which reads and writes the whole layer; its
kernel for the filter takes five times as long as its memory traffic does. `filter_and_finish` and
`finish_to_rgb` read the output of the convolution once and write each result once.

Each kernel has a reference in plain JAX, whose gradients it uses and which tests compare it with.
`pallas.mode` tells whether kernels run; otherwise the generator uses `emojax.nn.modulated_conv`.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from emojax.nn import pallas
from emojax.nn.layers import SQRT2
from emojax.nn.modulated_conv import INNER, OUTER, upsample

SLOPE = 0.2
"""Slope of the leaky ReLU."""

ROWS = 4
"""Rows of the phases that a program of the filter kernel computes; it reads three more."""

FILTERED, COLOURED = 512, 2048
"""Values of a row that a program of 128 threads holds at a time, in the filter and RGB kernels."""


class Finish(NamedTuple):
    """Parameters of the operations after a convolution, float32.

    Attributes:
        scale: demodulation [B, O].
        noise: [1, H, W], or [B, H, W] for individual noise.
        bias: [O].
        gain: modulation of the next layer [B, O]; None after the last layer.
    """

    scale: jax.Array
    noise: jax.Array
    bias: jax.Array
    gain: jax.Array | None


class ToRGB(NamedTuple):
    """Parameters of ToRGB and the skip connection, float32.

    Attributes:
        kernel: modulated kernels [B, 3, O].
        bias: [3].
        skip: picture [B, 3, H/2, W/2] of the resolution below, which is upsampled and added; None
            at the first resolution.
    """

    kernel: jax.Array
    bias: jax.Array
    skip: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """Static parameters of the kernels.

    Attributes:
        clamp: NVlabs' limit on the output of every layer, or None.
        interpret: run in Pallas' interpreter.
        box: top, bottom, left, right of the part that `finish_to_rgb` computes.
    """

    clamp: float | None = None
    interpret: bool = False
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


def filter_and_finish(
    phases: jax.Array, finish: Finish, *, clamp: float | None = None
) -> jax.Array:
    """Apply the FIR filter to the phases of an upsampling convolution, then the epilogue.

    Args:
        phases: [B, H+1, W+1, 4·O], see `modulated_conv.phases`.
        finish: the epilogue; its noise is [1 or B, 2H, 2W].
        clamp: limit on the output before the gain.

    Returns:
        [B, 2H, 2W, O] in the dtype of the phases, the input of the next convolution.
    """
    return _filtered(Plan(clamp, pallas.mode() == "interpret"), phases, *finish)


def finish_to_rgb(
    y: jax.Array,
    finish: Finish,
    colours: ToRGB,
    box: tuple[int, int, int, int],
    *,
    clamp: float | None = None,
) -> tuple[jax.Array | None, jax.Array]:
    """Apply the epilogue of a block's last convolution, ToRGB and the skip connection.

    Args:
        y: output of the convolution [B, H, W, O].
        finish: the epilogue; its noise is [1 or B, H, W].
        colours: ToRGB.
        box: top, bottom, left, right of the part to compute, h × w pixels.
        clamp: limit on the output before ToRGB and gain, and on ToRGB's.

    Returns:
        The input of the next convolution [B, h, w, O] in the dtype of y (None without gain), and
        the picture [B, 3, h, w], float32.
    """
    return _coloured(Plan(clamp, pallas.mode() == "interpret", box), y, finish, colours)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _filtered(plan: Plan, *args: jax.Array) -> jax.Array:
    return _where_it_runs(plan, _filter, _filter_reference, args)


def _filter(plan: Plan, phases: jax.Array, *finish: jax.Array) -> jax.Array:
    batch, height, width, channels = phases.shape
    height, width, outputs = height - 1, width - 1, channels // 4
    scale, noise, bias, gain = finish
    noise = noise.reshape(-1, height, 2, width, 2)
    wide = min(outputs, 128)
    across = max(1, FILTERED // wide)
    grid = (batch, -(-height // ROWS) * -(-width // across) * (outputs // wide))
    body = functools.partial(_filter_kernel, plan, (height, width, outputs), (across, wide))
    shape = pallas.like(phases, (batch, height, 2, width, 2, outputs), phases.dtype)
    y = pallas.call(body, shape, grid, interpret=plan.interpret)(phases, scale, noise, bias, gain)
    return y.reshape(batch, 2 * height, 2 * width, outputs)


def _filter_kernel(
    plan: Plan, shape: tuple[int, int, int], tile: tuple[int, int], *refs: Any
) -> None:
    """Compute `ROWS` rows of phases of one sample, for a tile of pixels × channels."""
    pl = pallas.pallas()
    (height, width, outputs), (across, wide) = shape, tile
    phases, scale, noise, bias, gain, y = refs
    sample, tile_at = pl.program_id(0), pl.program_id(1)
    strips = -(-height // ROWS)
    first, column = tile_at % strips * ROWS, tile_at // strips
    left, start = column // (outputs // wide) * across, column % (outputs // wide) * wide
    channels, inside = pl.ds(start, wide), left + jnp.arange(across) < width

    def row(at: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
        def phase(q: int, shift: int) -> jax.Array:
            where = pl.ds((2 * p + q) * outputs + start, wide)
            seen = (left + shift + jnp.arange(across) <= width) & (at <= height)
            tile = phases.at[sample, at, pl.ds(left + shift, across), where]
            return pallas.load(tile, jnp.broadcast_to(seen[:, None], (across, wide)))

        return _filter_pair([phase(0, i) for i in (0, 1)], [phase(1, i) for i in (0, 1, 2)])

    scale, bias, gain = (_row(ref, sample, channels) for ref in (scale, bias, gain))
    picture = jnp.minimum(sample, noise.shape[0] - 1)
    even = [row(first, 0)]
    odd = [row(first, 1), row(first + 1, 1)]
    for i in range(ROWS):
        even.append(row(first + i + 1, 0))
        odd.append(row(first + i + 2, 1))
        kept = inside & (first + i < height)
        mask = jnp.broadcast_to(kept[:, None], (across, wide))
        for q in range(2):
            sides = [[each[q] for each in rows] for rows in (even[i : i + 2], odd[i : i + 3])]
            for p, value in enumerate(_filter_pair(*sides)):
                place = (first + i, jnp.int32(p), pl.ds(left, across), jnp.int32(q))
                added = pallas.load(noise.at[(picture, *place)], kept)[:, None] + bias
                value = _activated(value * scale + added, plan.clamp) * gain
                pallas.store(y.at[(sample, *place, channels)], value, mask)


def _filter_pair(even: list[jax.Array], odd: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Return y[2j], y[2j+1] of u[2j], u[2j+2] and u[2j-1], u[2j+1], u[2j+3]."""
    (e0, e1), (o0, o1, o2) = even, odd
    return INNER * (e0 + o1) + OUTER * (e1 + o0), INNER * (e1 + o1) + OUTER * (e0 + o2)


def filter_and_finish_reference(
    phases: jax.Array, finish: Finish, *, clamp: float | None = None
) -> jax.Array:
    """Compute `filter_and_finish` in plain JAX."""
    batch, height, width, channels = phases.shape
    u = phases.astype(jnp.float32).reshape(batch, height, width, 2, 2, channels // 4)
    u = u[:, :, :, ::-1, ::-1].transpose(0, 1, 3, 2, 4, 5)  # u[-1], u[0], u[1] ... u[2H]
    u = u.reshape(batch, 2 * height, 2 * width, channels // 4)
    u = jnp.pad(u, ((0, 0), (0, 1), (0, 1), (0, 0)))
    for axis in (1, 2):
        size = u.shape[axis] - 3
        taps = [jax.lax.slice_in_dim(u, at, at + size, axis=axis) for at in range(4)]
        u = OUTER * (taps[0] + taps[3]) + INNER * (taps[1] + taps[2])
    y = _finished(u, finish, clamp)
    gain = jnp.ones_like(finish.scale) if finish.gain is None else finish.gain
    return (y * gain[:, None, None]).astype(phases.dtype)


def _filtered_forward(plan: Plan, *args: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return _filtered(plan, *args), args


def _filter_reference(plan: Plan, phases: jax.Array, *finish: jax.Array) -> jax.Array:
    return filter_and_finish_reference(phases, Finish(*finish), clamp=plan.clamp)


def _filtered_backward(plan: Plan, args: tuple, dy: jax.Array) -> tuple[jax.Array, ...]:
    return jax.vjp(functools.partial(_filter_reference, plan), *args)[1](dy)


_filtered.defvjp(_filtered_forward, _filtered_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _coloured(plan: Plan, *args: Any) -> tuple[jax.Array | None, jax.Array]:
    return _where_it_runs(plan, _colour, _colour_reference, args)


def _colour(
    plan: Plan, y: jax.Array, finish: Finish, colours: ToRGB
) -> tuple[jax.Array | None, jax.Array]:
    batch, _, _, outputs = y.shape
    top, bottom, left, right = plan.box
    height, width = bottom - top, right - left
    across = max(1, COLOURED // outputs)
    grid = (batch, height * -(-width // across))
    shapes = [pallas.like(y, (batch, 3, height, width), jnp.float32)]
    if finish.gain is not None:
        shapes.append(pallas.like(y, (batch, height, width, outputs), y.dtype))
    args = {"y": y, **finish._asdict(), "kernel": colours.kernel, "colour": colours.bias}
    args = {
        name: array for name, array in (args | {"skip": colours.skip}).items() if array is not None
    }
    body = functools.partial(_colour_kernel, plan, tuple(args), (height, width, across))
    skip, *following = pallas.call(body, shapes, grid, interpret=plan.interpret)(*args.values())
    return (following[0] if following else None), skip


def _colour_kernel(
    plan: Plan, names: tuple[str, ...], shape: tuple[int, int, int], *refs: Any
) -> None:
    """Compute `across` pixels of one row of one sample, with all their channels."""
    pl = pallas.pallas()
    height, width, across = shape
    ref = dict(zip(names, refs, strict=False))
    results = refs[len(names) :]
    outputs = ref["y"].shape[3]
    sample, tile_at = pl.program_id(0), pl.program_id(1)
    row, start = tile_at % height, tile_at // height * across
    columns, channels = pl.ds(start, across), pl.ds(0, outputs)
    inside = start + jnp.arange(across) < width
    wide = jnp.broadcast_to(inside[:, None], (across, outputs))
    top, left = plan.box[0] + row, plan.box[2] + start
    picture = jnp.minimum(sample, ref["noise"].shape[0] - 1)
    added = pallas.load(ref["noise"].at[picture, top, pl.ds(left, across)], inside)
    y = pallas.load(ref["y"].at[sample, top, pl.ds(left, across), channels], wide)
    y = y * _row(ref["scale"], sample, channels) + added[:, None] + ref["bias"][channels][None]
    y = _activated(y, plan.clamp)
    for colour in range(3):
        at = jnp.int32(colour)
        rgb = jnp.sum(y * ref["kernel"][sample, at, channels][None], 1) + ref["colour"][at]
        rgb = _clamped(rgb, plan.clamp)
        if "skip" in ref:
            pixels = left + jnp.arange(across)
            rgb = rgb + _doubled(ref["skip"], sample, at, top, pixels, inside)
        pallas.store(results[0].at[sample, at, row, columns], rgb, inside)
    if "gain" in ref:
        y = y * _row(ref["gain"], sample, channels)
        pallas.store(results[1].at[sample, row, columns, channels], y, wide)


def _doubled(
    skip: Any, sample: jax.Array, colour: jax.Array, row: jax.Array, columns: jax.Array, inside: Any
) -> jax.Array:
    """Return pixels of the upsampled skip picture, each from the nearest two along both axes."""
    _, _, height, width = skip.shape

    def nearest(at: jax.Array, size: int) -> list[tuple[jax.Array, jax.Array, float]]:
        near = jax.lax.div(at, 2)
        far = near + 2 * jax.lax.rem(at, 2) - 1
        return [(near, near >= 0, INNER), (far, (far >= 0) & (far < size), OUTER)]

    total = jnp.zeros(columns.shape, jnp.float32)
    for i, row_known, row_weight in nearest(row, height):
        for j, column_known, weight in nearest(columns, width):
            known = inside & column_known & row_known
            place = (sample, colour, jnp.clip(i, 0, height - 1), jnp.clip(j, 0, width - 1))
            total = total + row_weight * weight * pallas.load(skip.at[place], known)
    return total


def finish_to_rgb_reference(
    y: jax.Array,
    finish: Finish,
    colours: ToRGB,
    box: tuple[int, int, int, int],
    *,
    clamp: float | None = None,
) -> tuple[jax.Array | None, jax.Array]:
    """Compute `finish_to_rgb` in plain JAX."""
    dtype, (top, bottom, left, right) = y.dtype, box
    y = _finished(y, finish, clamp)[:, top:bottom, left:right]
    rgb = jnp.einsum("bhwo,bco->bchw", y, colours.kernel, precision="highest")
    rgb = _clamped(rgb + colours.bias[:, None, None], clamp)
    if colours.skip is not None:
        doubled = upsample(colours.skip.transpose(0, 2, 3, 1))[:, top:bottom, left:right]
        rgb = rgb + doubled.transpose(0, 3, 1, 2)
    if finish.gain is None:
        return None, rgb
    return (y * finish.gain[:, None, None]).astype(dtype), rgb


def _coloured_forward(plan: Plan, *args: Any) -> tuple[Any, Any]:
    return _coloured(plan, *args), args


def _colour_reference(plan: Plan, y: jax.Array, finish: Finish, colours: ToRGB) -> Any:
    return finish_to_rgb_reference(y, finish, colours, plan.box, clamp=plan.clamp)


def _coloured_backward(plan: Plan, args: tuple, dy: Any) -> tuple[Any, ...]:
    return jax.vjp(functools.partial(_colour_reference, plan), *args)[1](dy)


_coloured.defvjp(_coloured_forward, _coloured_backward)


def _where_it_runs(plan: Plan, kernel: Any, reference: Any, args: tuple) -> Any:
    """Call the kernel on NVIDIA GPUs and in the interpreter, the reference on other devices."""
    kernel, reference = functools.partial(kernel, plan), functools.partial(reference, plan)
    if plan.interpret:
        return kernel(*args)
    return jax.lax.platform_dependent(*args, cuda=kernel, default=reference)


def _finished(y: jax.Array, finish: Finish, clamp: float | None) -> jax.Array:
    """Apply the epilogue without its gain."""
    y = y.astype(jnp.float32) * finish.scale[:, None, None] + finish.noise[..., None] + finish.bias
    return _activated(y, clamp)


def _activated(x: jax.Array, clamp: float | None) -> jax.Array:
    return _clamped(jnp.maximum(x, SLOPE * x) * SQRT2, clamp)


def _clamped(x: jax.Array, clamp: float | None) -> jax.Array:
    return x if clamp is None else jnp.minimum(jnp.maximum(x, -clamp), clamp)


def _row(ref: Any, sample: jax.Array, channels: Any) -> jax.Array:
    """Read channels of [B, O] or [O] as [1, channels]."""
    return (ref[sample, channels] if len(ref.shape) == 2 else ref[channels])[None]
