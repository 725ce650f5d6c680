"""Hair in two layers, behind and in front of the head, and the hat."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from emojax.demo.drawing import colours
from emojax.demo.drawing.factors import Identity
from emojax.demo.drawing.frame import Frame, Head
from emojax.demo.drawing.shapes import (
    bump,
    cover,
    fade,
    flattened_ellipse,
    from_curve,
    mix,
    shade,
    smooth_max,
    smoothstep,
    wave,
)


class Hair(NamedTuple):
    """What both layers share.

    Attributes:
        outline: [R, R] signed distance to the outer edge of the hair.
        opening: [R, R] signed distance to the area without hair, negative on the face.
        strands: [R, R] texture, about -1 to 1, along the hair.
        colour: [3].
    """

    outline: jax.Array
    opening: jax.Array
    strands: jax.Array
    colour: jax.Array


def thinned(who: Identity) -> Identity:
    """Return a person with shorter hair the more it recedes: bald people have no long hair."""
    return who._replace(hair_length=who.hair_length * (1 - who.hair_recession) ** 2)


def hair_shape(frame: Frame, head: Head, who: Identity) -> Hair:
    """Return the shape of a person's hair."""
    x, y = frame.x, frame.y
    who = thinned(who)
    curls = wave(15 * x + 3 * wave(6 * y)) * wave(14 * y + 1.5 * wave(8 * x))
    strands = _strands(frame, who, curls)
    return Hair(
        _outline(frame, head, who, curls),
        _opening(frame, who),
        strands,
        colours.hair(who.hair_tone, who.hair_redness),
    )


def _outline(frame: Frame, head: Head, who: Identity, curls: jax.Array) -> jax.Array:
    bald = who.hair_recession
    body = 0.035 + 0.08 * who.hair_volume + 0.05 * who.hair_curl
    above = body * (1 - 0.9 * bald)
    beside = (0.02 + 0.6 * body + 0.05 * who.hair_length) * (1 - 0.5 * bald)
    width, top = who.head_width + beside, head.top + above
    fall = jnp.clip(-frame.y, 0, 1.2)
    width = width + (0.10 * who.hair_length + 0.04 * who.hair_volume) * fall * (1.3 - fall)
    dome = flattened_ellipse(frame.x, jnp.maximum(frame.y, 0), width, top, 0.4)
    end = 0.02 - (1.25 + 0.1 * who.hair_curl) * smoothstep(0.12 + who.hair_length)
    bottom = end + 0.25 * frame.x**2 - frame.y
    return smooth_max(dome, bottom, 0.2) + 0.035 * who.hair_curl * curls


def _opening(frame: Frame, who: Identity) -> jax.Array:
    """Return a signed distance, negative below the hairline and between the sides."""
    x, y = frame.x - 0.4 * who.yaw, frame.y
    part = 0.22 * who.hair_parting
    hairline = 0.50 + 0.05 * (who.forehead - 0.76) + 0.42 * who.hair_recession
    curve = hairline - 0.35 * x * x - 5.5 * x**6 + 0.06 * who.hair_recession * jnp.cos(9 * x)
    notch = 0.035 * bump(x - part, 0.0, 0.05, 1.0)  # the parting
    swept = notch - 0.16 * who.hair_parting * x
    fringe = 0.235 + 0.05 * who.hair_parting * x - 0.10 * x * x
    amount = who.hair_fringe * (1 - who.hair_recession)
    curve = curve + swept + (fringe - curve) * amount
    slope = -(0.7 * x + 33 * x**5) * (1 - amount)
    above = from_curve(y, curve, slope)
    inner = who.head_width - 0.035 - 0.05 * who.hair_length + 0.05 * smoothstep(-y / 0.5)
    return smooth_max(above, jnp.abs(x) - inner, 0.22)


def _strands(frame: Frame, who: Identity, curls: jax.Array) -> jax.Array:
    """Return a texture of streaks that fan out from above the parting, less regular with curls."""
    x, y = frame.x - 0.2 * who.hair_parting, frame.y
    fan = (
        x / jnp.maximum(1.35 - y, 0.1) + 0.05 * who.hair_curl * curls + 0.012 * wave(7 * y + 5 * x)
    )
    fine = 0.5 * wave(110 * fan + 5 * wave(17 * fan)) * fade(90, frame.pixel)
    coarse = 0.6 * wave(33 * fan + 2 * wave(13 * fan + 1))
    streaks = coarse + fine * (0.7 + 0.3 * coarse)
    return streaks + who.hair_curl * (curls - 0.5 * streaks)


def behind(canvas: jax.Array, frame: Frame, hair: Hair, who: Identity) -> jax.Array:
    """Draw the hair behind neck and ears, in shadow."""
    lit = 0.55 + 0.12 * hair.strands + 0.12 * who.light_x * frame.x
    shown = cover(hair.outline, 2.2 * frame.pixel) * smoothstep(3 - 3.2 * who.hair_recession)
    return mix(canvas, hair.colour * lit[..., None], shown)


def in_front(canvas: jax.Array, frame: Frame, head: Head, hair: Hair, who: Identity) -> jax.Array:
    """Draw the hair over forehead, temples and, when long, ears, and its shadow on the face."""
    x, y = frame.x, frame.y
    soft = 2.0 * frame.pixel + 0.012 + 0.03 * who.hair_recession
    edge = hair.opening + 0.010 * hair.strands
    sides = smoothstep((y + 0.10 + 1.35 * smoothstep(1.6 * who.hair_length - 0.3)) / 0.1)
    shown = cover(hair.outline, 2.2 * frame.pixel) * (1 - cover(edge, soft)) * sides
    cast = smoothstep(1 + hair.opening / 0.10) * cover(head.distance, 0.02) * sides
    canvas = shade(canvas, (0.70, 0.60, 0.57), 0.75 * cast * (1 - 0.8 * who.hair_recession))
    ring = y - 0.60 + 0.75 * (x - 0.25 * who.light_x) ** 2 - 0.03 * hair.strands
    shine = bump(ring, 0.0, 0.11, 1.0) * (0.65 + 0.35 * hair.strands)
    rim = smoothstep(1 + hair.outline / 0.16)
    root = smoothstep(1 - hair.opening / 0.07)
    lit = 0.90 + 0.13 * hair.strands + 0.20 * who.light_x * x - 0.28 * rim - 0.14 * root
    gloss = (0.10 + 0.30 * hair.colour) * (0.75 * (1 - 0.5 * who.hair_curl) * shine)[..., None]
    return mix(canvas, hair.colour * lit[..., None] + gloss, shown)


def hat(canvas: jax.Array, frame: Frame, head: Head, who: Identity) -> jax.Array:
    """Draw a knitted cap, which occurs in the photo domain only."""
    x, y = frame.x, frame.y
    dome = head.distance - 0.12
    brim = 0.40 - 0.12 * x * x
    cap = jnp.maximum(dome, brim - y)
    ribs = wave(60 * x / jnp.maximum(1.3 - y, 0.1)) * fade(60, frame.pixel)
    lit = 0.9 + 0.08 * ribs + 0.2 * who.light_x * x - 0.25 * smoothstep(1 + dome / 0.2)
    fold = smoothstep((y - brim - 0.13) / 0.012 + 0.5)
    colour = colours.cloth(who.clothes + 0.45) * (lit * (1.12 - 0.2 * fold))[..., None]
    under = smoothstep(1 - (brim - y) / 0.08) * cover(head.distance, 0.02)
    canvas = shade(canvas, (0.65, 0.55, 0.52), 0.7 * under * who.hat)
    return mix(canvas, colour, cover(cap, 2 * frame.pixel) * who.hat)
