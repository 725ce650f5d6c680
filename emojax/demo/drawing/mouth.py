"""Nose, mouth and the wrinkles of an expression."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from emojax.demo.drawing import colours
from emojax.demo.drawing.factors import Identity
from emojax.demo.drawing.frame import ActionUnits, Frame
from emojax.demo.drawing.shapes import (
    bump,
    cover,
    ellipse,
    from_curve,
    length,
    mix,
    shade,
    smoothstep,
    wave,
    window,
)


class Mouth(NamedTuple):
    """Shape of the lips; fields are [R, R].

    Attributes:
        t: position across, -1 and 1 at the corners.
        upper: height of a pixel above the upper lip's inner edge.
        lower: height of a pixel above the lower lip's inner edge.
        upper_lip: thickness of the upper lip.
        lower_lip: thickness of the lower lip.
        distance: signed distance to the outline of both lips.
        seam: height of the curve between the corners.
        half: half width of the mouth.
        gap: how far the lips are parted in the middle [].
    """

    t: jax.Array
    upper: jax.Array
    lower: jax.Array
    upper_lip: jax.Array
    lower_lip: jax.Array
    distance: jax.Array
    seam: jax.Array
    half: jax.Array
    gap: jax.Array


def mouth_shape(frame: Frame, who: Identity, units: ActionUnits) -> Mouth:
    """Return the lips as moved by action units 10, 12, 14, 15, 17, 20, 23, 25 and 26."""
    mean = {number: sides.mean() for number, sides in units.items()}
    pull = 0.20 * units[12] + 0.28 * units[20] + 0.10 * units[14] + 0.04 * units[15]
    half = frame.pick(who.mouth_width * (1 + pull - 0.16 * units[23] - 0.30 * units[26]))
    t = frame.u / half
    tc = jnp.clip(jnp.abs(t), 0, 1)
    corner = 0.085 * units[12] + 0.035 * units[14] - 0.090 * units[15] - 0.020 * units[20]
    corner = frame.pick(corner - 0.01 * units[26])
    lift = 0.030 * mean[17] + 0.012 * mean[9] - 0.015 * mean[12] - 0.03 * mean[26]
    lift = lift + 0.025 * mean[15]
    seam = -0.43 + lift + corner * tc**2 * (1.15 - 0.15 * tc)
    arc = jnp.sqrt(jnp.maximum(1 - tc * tc, 0) + 1e-4) - 0.01
    arc = 0.55 * arc + 0.45 * (1 - tc * tc)
    raise_up = 0.042 * mean[10] + 0.022 * mean[9] + 0.020 * mean[25] + 0.045 * mean[26]
    raise_up = raise_up + 0.010 * mean[25] * mean[20]
    drop = 0.052 * mean[25] + 0.185 * mean[26] + 0.028 * mean[10] + 0.022 * mean[12] * mean[25]
    full = who.lip_fullness * (1 - 0.55 * mean[23]) * (1 - 0.18 * mean[12]) * (1 - 0.15 * mean[20])
    cupid = 1 - 0.35 * bump(t, 0.0, 0.14, 1.0)
    taper = 1 - tc**2 * (0.8 + 0.2 * tc)
    upper_lip = 0.045 * full * taper * cupid + 0.004
    lower_lip = 0.058 * full * (0.35 * taper + 0.65 * arc) + 0.004
    inner_top, inner_bottom = seam + raise_up * arc, seam - drop * arc
    slope = 2 * corner * t / half
    upper, lower = (from_curve(frame.v, edge, slope) for edge in (inner_top, inner_bottom))
    outline = jnp.maximum(upper - upper_lip, -lower - lower_lip)
    beyond = (jnp.abs(t) - 1) * half
    distance = jnp.maximum(outline, beyond)
    return Mouth(t, upper, lower, upper_lip, lower_lip, distance, seam, half, raise_up + drop)


def mouth(
    canvas: jax.Array, frame: Frame, who: Identity, units: ActionUnits, m: Mouth
) -> jax.Array:
    """Draw lips, teeth, tongue, the line between the lips and the shadow below them."""
    skin = colours.skin(who.skin_tone, who.skin_warmth)
    lip = colours.lips(skin, who.lip_redness)
    soft = 1.5 * frame.pixel
    under = bump(frame.u, m.lower + m.lower_lip + 0.035, 0.11, 0.024)
    canvas = shade(canvas, (0.72, 0.60, 0.57), 0.6 * under)
    lips = cover(m.distance, soft + 0.006)
    round_upper = jnp.clip(m.upper / m.upper_lip, 0, 1)
    round_lower = jnp.clip(-m.lower / m.lower_lip, 0, 1)
    gloss = (0.10 + 0.22 * who.lip_redness) * bump(
        frame.u - 0.03 * who.light_x, round_lower - 0.40, 0.10, 0.20
    )
    tone = jnp.where(m.upper > 0, 0.80 + 0.12 * round_upper, 1.04 - 0.16 * round_lower + gloss)
    tone = tone + 0.08 * who.light_x * m.t
    canvas = mix(canvas, lip * tone[..., None], lips)
    inside = cover(jnp.maximum(jnp.maximum(m.upper, -m.lower), (jnp.abs(m.t) - 1) * m.half), soft)
    opened = inside * smoothstep(m.gap / 0.02)
    canvas = mix(canvas, _cavity(frame, units, m), opened)
    line = jnp.minimum(jnp.abs(m.upper), jnp.abs(m.lower))
    seam = cover(line - 0.003, soft + 0.004) * window(jnp.abs(m.t), -1.0, 0.97, 0.06)
    closed = 1 - 0.6 * smoothstep(m.gap / 0.03)
    canvas = shade(canvas, (0.34, 0.22, 0.22), 0.85 * seam * closed)
    spot = length(m.half * (jnp.abs(m.t) - 1.0), frame.v - m.seam)
    deep = frame.pick(0.35 + 0.3 * units[12] + 0.5 * units[14] + 0.3 * units[15])
    return shade(canvas, (0.50, 0.36, 0.34), deep * smoothstep(1 - spot / 0.03))


def _cavity(frame: Frame, units: ActionUnits, m: Mouth) -> jax.Array:
    """Return teeth and tongue [R, R, 3], not yet clipped by the lips."""
    depth, rise = -m.upper, m.lower
    dark = jnp.array([0.20, 0.05, 0.06]) * jnp.ones((*frame.u.shape, 1))
    jaw = units[26].mean()
    tongue = bump(frame.u, rise - 0.015, 0.10, 0.05) * smoothstep(m.gap / 0.1)
    cavity = mix(dark, jnp.array([0.72, 0.30, 0.31]), 0.9 * smoothstep(2 * tongue - 0.5))
    gaps = jnp.cos(frame.u * 2 * jnp.pi / 0.062) ** 2
    gaps = gaps * gaps * gaps * gaps
    white = 0.95 - 0.20 * m.t**2 - 0.10 * gaps - 0.22 * smoothstep(1 - depth / 0.02)
    enamel = jnp.stack([white, white * 0.97, white * 0.92], -1)
    edge = 0.058 - 0.010 * m.t**2 - 0.004 * gaps
    cavity = mix(cavity, enamel, cover(depth - edge, 1.5 * frame.pixel + 0.004))
    bared = smoothstep(units[20].mean() * 1.5) * (1 - smoothstep(2 * jaw))
    lower = cover(rise - 0.028 + 0.004 * gaps, 1.5 * frame.pixel + 0.006)
    return mix(cavity, 0.90 * enamel, bared * lower)


def nose(canvas: jax.Array, frame: Frame, who: Identity, units: ActionUnits) -> jax.Array:
    """Draw nostrils, wings and shadow of the nose; its form is in `head.relief`."""
    rise = 0.024 * units[9].mean() + 0.014 * units[10].mean()
    base = -0.255 + who.nose_length + rise
    width = who.nose_width * (1 + 0.10 * units[9].mean() + 0.06 * units[12].mean())
    a, v = frame.a, frame.v - base
    shadow = bump(frame.u + 0.03 * who.light_x, v + 0.022, 0.75 * width + 0.02, 0.020)
    canvas = shade(canvas, (0.60, 0.47, 0.43), 0.85 * shadow * smoothstep(0.9 - v / 0.03))
    curl = length((a - 0.62 * width) / 0.9, v - 0.028) - 0.040
    wing = cover(jnp.abs(curl) - 0.0035, 0.010 + frame.pixel)
    wing = wing * smoothstep((a - 0.72 * width) / 0.03) * window(v, -0.012, 0.058, 0.02)
    canvas = shade(canvas, (0.48, 0.34, 0.31), 0.75 * wing)
    slant = v - 0.006 - 0.25 * (a - 0.45 * width)
    nostril = cover(ellipse(a - 0.47 * width, slant, 0.026, 0.0125), 0.010 + 1.2 * frame.pixel)
    canvas = shade(canvas, (0.20, 0.12, 0.12), 0.9 * nostril)
    side = bump(a - 0.052, frame.v + 0.05, 0.022, 0.13)
    far = 0.5 - 0.5 * (2 * frame.side - 1) * jnp.tanh(2 * who.light_x)
    return shade(canvas, (0.62, 0.50, 0.46), 0.55 * side * far * who.nose_bridge)


def wrinkles(
    canvas: jax.Array, frame: Frame, who: Identity, units: ActionUnits, m: Mouth
) -> jax.Array:
    """Draw nasolabial folds, and wrinkles of forehead, brows, eye corners, nose root and chin."""
    amount = jnp.maximum(_fold(frame, who, units, m), _forehead(frame, who, units))
    amount = jnp.maximum(amount, _eye_corners(frame, who, units))
    amount = jnp.maximum(amount, _middle(frame, who, units))
    return shade(canvas, (0.45, 0.31, 0.28), jnp.clip(amount, 0, 0.95))


def _crease(distance: jax.Array, frame: Frame, half_width: float = 0.004) -> jax.Array:
    """Return the coverage of a soft line along a curve, from the distance to it."""
    return cover(jnp.abs(distance) - half_width, 0.010 + 1.3 * frame.pixel)


def _fold(frame: Frame, who: Identity, units: ActionUnits, m: Mouth) -> jax.Array:
    """Return the nasolabial fold from the wing of the nose past the mouth's corner; dimples."""
    strength = frame.pick(
        0.75 * units[12] + 0.65 * units[10] + 0.55 * units[9] + 0.3 * units[20] + 0.25 * units[15]
    )
    strength = 0.06 + 0.45 * who.wrinkles + (0.55 + 0.25 * who.wrinkles) * strength
    start = -0.215 + who.nose_length + 0.02 * units[9].mean()
    stop = -0.47 + frame.pick(0.035 * units[12])
    s = (start - frame.v) / (start - stop)
    reach = m.half + 0.045 - who.nose_width
    path = who.nose_width + 0.012 + reach * s * (1.45 - 0.45 * s)
    slope = reach * (1.45 - 0.9 * s) / (start - stop)
    away = (frame.a - path) * jax.lax.rsqrt(1 + slope * slope)
    taper = smoothstep(s / 0.25 + 0.2) * smoothstep((1.05 - s) / 0.45)
    fold = 0.8 * _crease(away, frame) + 0.25 * smoothstep(1 - jnp.abs(away + 0.015) / 0.03)
    dimple = frame.pick(units[14]) * window(frame.v - m.seam, -0.035, 0.06, 0.03)
    bend = frame.a - m.half - 0.035 + 5 * (frame.v - m.seam - 0.01) ** 2
    return jnp.maximum(
        jnp.minimum(strength, 1) * fold * taper, 0.85 * dimple * _crease(bend, frame)
    )


def _forehead(frame: Frame, who: Identity, units: ActionUnits) -> jax.Array:
    """Return three lines on the forehead, from AU 1 and 2."""
    lifted = frame.pick(0.42 * units[1] + 0.5 * units[2])
    strength = 0.28 * who.wrinkles**2 + (0.35 + 0.5 * who.wrinkles) * jnp.clip(lifted, 0, 1.2)
    v = frame.v - 0.05 * lifted - 0.03 * jnp.cos(7 * frame.u) + 0.01 * jnp.cos(19 * frame.u)
    period = 0.062
    place = (v - 0.345) / period
    nearest = jnp.clip(jnp.round(place), 0, 2)
    span = smoothstep((0.27 - 0.03 * nearest - frame.a) / 0.12)
    return strength * span * _crease((place - nearest) * period, frame, 0.003)


def _eye_corners(frame: Frame, who: Identity, units: ActionUnits) -> jax.Array:
    """Return crow's feet: three short lines from the outer corner of the eye."""
    strength = frame.pick(units[6]) * (0.35 + 0.5 * who.wrinkles) + 0.30 * who.wrinkles**2
    x = frame.a - who.eye_distance - 0.118 * who.eye_size
    spread = (frame.v - 0.045) / (0.035 + 0.55 * jnp.maximum(x, 0))
    nearest = jnp.clip(jnp.round(spread / 0.55), -1, 1)
    away = frame.v - 0.045 - 0.55 * nearest * (0.035 + 0.55 * x)
    return strength * window(x, 0.028, 0.075, 0.025) * _crease(away, frame, 0.002)


def _middle(frame: Frame, who: Identity, units: ActionUnits) -> jax.Array:
    """Return frown lines (AU 4), nose root wrinkles (AU 9) and the dimpled chin (AU 17)."""
    a, v = frame.a, frame.v
    frown = units[4].mean() * 0.75 + 0.15 * who.wrinkles**2
    frown = frown * window(v, 0.12, 0.235, 0.035) * _crease(a - 0.036 - 0.12 * (v - 0.12), frame)
    root = units[9].mean()
    place = (v + 0.55 * a * a * 8 - 0.005) / 0.034
    nearest = jnp.clip(jnp.round(place), 0, 2)
    root = (
        0.75
        * root
        * smoothstep((0.075 - a) / 0.03)
        * _crease((place - nearest) * 0.034, frame, 0.002)
    )
    dots = wave(62 * frame.u + 1.3 * wave(50 * v)) * wave(58 * v + 1.1)
    chin = (
        units[17].mean() * 0.8 * smoothstep(2 * dots - 0.4) * bump(frame.u, v + 0.66, 0.10, 0.055)
    )
    arc = units[17].mean() * 0.55 * _crease(v + 0.575 + 1.2 * a * a, frame, 0.006)
    arc = arc * smoothstep((0.11 - a) / 0.05)
    return jnp.maximum(jnp.maximum(frown, root), jnp.maximum(chin, arc))
