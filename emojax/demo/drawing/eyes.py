"""Eyes, brows and glasses, both sides drawn at once in the mirrored coordinate `Frame.a`."""

import jax
import jax.numpy as jnp

from emojax.demo.drawing import colours
from emojax.demo.drawing.factors import Identity
from emojax.demo.drawing.frame import ActionUnits, Frame
from emojax.demo.drawing.shapes import (
    bump,
    cover,
    fade,
    from_curve,
    length,
    mix,
    rounded_box,
    shade,
    smoothstep,
    wave,
    window,
)

_EYE_HEIGHT = 0.04


def eyes(canvas: jax.Array, frame: Frame, who: Identity, units: ActionUnits) -> jax.Array:
    """Draw eyeballs, clipped by lids that action units 5, 6, 7 and 9 move, lashes and creases."""
    half = 0.118 * who.eye_size
    upper = (
        0.056
        * who.eye_size
        * jnp.exp(0.50 * units[5] - 0.36 * units[7] - 0.26 * units[6] - 0.55 * units[9])
    )
    lower = (
        0.038
        * who.eye_size
        * jnp.exp(0.30 * units[5] - 0.75 * units[6] - 0.40 * units[7] - 0.40 * units[9])
    )
    upper, lower = frame.pick(upper), frame.pick(lower)
    t = (frame.a - who.eye_distance) / half
    arc = 1 - t * t
    y = frame.v - _EYE_HEIGHT - who.eye_tilt * t
    lid = upper * arc * (1 - 0.18 * t)
    floor = -lower * arc * (1 + 0.25 * t)
    above = from_curve(y, lid, -2 * t * upper / half)
    below = -from_curve(y, floor, 2 * t * lower / half)
    aperture = jnp.maximum(above, below)
    inside = cover(aperture, 1.4 * frame.pixel)

    canvas = _lids(canvas, frame, who, units, (t, y, lid, above, floor))
    ball = _eyeball(frame, who, y, above)
    canvas = canvas + (ball - canvas) * inside[..., None]
    corner = window(t, -1.05, 1.05, 0.12)
    lashes = cover(jnp.abs(above - 0.004) - 0.008 - 0.007 * who.makeup, 1.6 * frame.pixel) * corner
    wing = 0.035 + 0.035 * who.makeup
    flick = y - 0.10 * half - 0.5 * half * (t - 1)
    flick = cover(jnp.abs(flick) - 0.009 * (1 - (t - 1) / (wing / half)), 1.6 * frame.pixel)
    flick = flick * window(t, 0.97, 1.0 + wing / half, 0.1)
    dark = jnp.array([0.10, 0.065, 0.06])
    canvas = mix(canvas, dark, jnp.maximum(lashes * 0.92, flick * who.makeup**2 * 0.9))
    under = cover(jnp.abs(below - 0.003) - 0.003, 2 * frame.pixel) * corner
    return shade(canvas, (0.55, 0.42, 0.40), (0.4 + 0.3 * who.makeup) * under)


def _lids(
    canvas: jax.Array,
    frame: Frame,
    who: Identity,
    units: ActionUnits,
    lid_fields: tuple[jax.Array, ...],
) -> jax.Array:
    """Draw eye shadow, the crease above the eye and the bag below it."""
    t, y, lid, above, floor = lid_fields
    squeezed = frame.pick(0.5 * units[6] + 0.4 * units[7] + 0.6 * units[9])
    span = window(t, -0.95, 1.05, 0.25)
    crease_at = 0.024 + 0.016 * who.lid_crease
    lid_skin = smoothstep(above / 0.012) * smoothstep((crease_at + 0.02 - above) / 0.03) * span
    canvas = shade(canvas, (0.62, 0.45, 0.55), 0.75 * who.makeup * lid_skin)
    crease = cover(jnp.abs(y - lid * 0.92 - crease_at) - 0.003, 0.012 + frame.pixel)
    canvas = shade(canvas, (0.52, 0.38, 0.34), (0.35 + 0.5 * who.lid_crease) * crease * span)
    bag = cover(jnp.abs(y - floor + 0.028 - 0.012 * squeezed) - 0.003, 0.016 + frame.pixel)
    amount = 0.12 + 0.35 * who.wrinkles + 0.45 * squeezed
    return shade(canvas, (0.62, 0.48, 0.45), amount * bag * window(t, -0.7, 0.75, 0.35))


def _eyeball(frame: Frame, who: Identity, y: jax.Array, above: jax.Array) -> jax.Array:
    """Return white, iris, pupil and highlight [R, R, 3], not yet clipped by the lids."""
    left_right = 2 * frame.side - 1
    dx = frame.a - who.eye_distance - who.gaze_x * left_right
    dy = y - 0.006 - who.gaze_y
    radius = 0.058 * who.eye_size
    r = length(dx, dy) / radius
    soft = 1.3 * frame.pixel / radius
    shadow = smoothstep(1 + above / (0.6 * radius))
    white = 0.97 - 0.16 * jnp.minimum((dx / 0.11) ** 2, 1.5) - 0.28 * shadow
    ball = jnp.stack([white, white * 0.975, white * 0.97], -1)
    iris = colours.iris(who.iris_blue, who.iris_lightness)
    glow = 0.75 + 0.65 * smoothstep(0.9 - dy / radius - 0.4 * r) - 0.35 * shadow
    ring = smoothstep((r - 0.72) / 0.3)
    ball = mix(ball, iris * (glow * (1 - 0.62 * ring))[..., None], cover(r - 1, soft))
    ball = mix(ball, jnp.array([0.03, 0.025, 0.03]), cover(r - 0.43, soft + 0.1))
    glint_x = frame.u - (who.eye_distance + who.gaze_x * left_right) * left_right
    glint = length(glint_x - 0.02 - 0.012 * who.light_x, dy - 0.022) - 0.0125
    return mix(ball, jnp.ones(3), 0.95 * cover(glint, 1.3 * frame.pixel))


def brows(canvas: jax.Array, frame: Frame, who: Identity, units: ActionUnits) -> jax.Array:
    """Draw brows moved by action units 1 (inner end), 2 (outer end), 4 (down and together), 9."""
    inner = frame.pick(0.092 - 0.030 * units[4] - 0.008 * units[9])
    lift_in = frame.pick(0.115 * units[1] - 0.095 * units[4] - 0.045 * units[9])
    lift_out = frame.pick(0.085 * units[2] - 0.012 * units[4] - 0.02 * units[9] - 0.02 * units[6])
    outer = who.eye_distance + 0.145
    t = (frame.a - inner) / (outer - inner)
    tc = jnp.clip(t, -0.2, 1.2)
    arch = who.brow_arch * 4 * tc * (1 - tc) * (0.6 + 0.5 * tc) - 0.045 * tc**3
    middle = _EYE_HEIGHT + 0.145 + who.brow_height + arch
    middle = middle + lift_in * (1 - tc) ** 2 + lift_out * tc * (1.5 - 0.5 * tc)
    slope = (
        2.2 * who.brow_arch * (1 - 2 * tc)
        - 0.135 * tc * tc
        - 2 * lift_in * (1 - tc)
        + lift_out * (1.5 - tc)
    ) / (outer - inner)
    thick = who.brow_thickness * (0.62 + 0.6 * tc - 1.05 * tc * tc) * 1.05
    above = from_curve(frame.v, middle, slope)
    hairs = wave(95 * frame.a - 60 * frame.v * (1.2 - tc) + 2 * wave(31 * frame.a))
    texture = 0.07 * hairs * fade(95, frame.pixel)
    edge = jnp.abs(above) - thick
    ends = window(t, 0.04, 0.96, 0.10)
    shown = smoothstep(0.5 - edge / (1.6 * frame.pixel + 0.014)) * ends * (0.86 + texture)
    skin = colours.skin(who.skin_tone, who.skin_warmth)
    colour = 0.72 * colours.hair(0.85 * who.hair_tone, who.hair_redness) * (0.35 + 0.65 * skin)
    canvas = shade(canvas, (0.75, 0.66, 0.63), 0.5 * ends * bump(above + 0.03, 0.0, 0.035, 1.0))
    return mix(canvas, colour, shown)


def glasses(canvas: jax.Array, frame: Frame, head_distance: jax.Array, who: Identity) -> jax.Array:
    """Draw glasses with dark frames, a slanted reflection and a thin shadow."""
    a, v = frame.a, frame.v - _EYE_HEIGHT + 0.012
    half_width, half_height = 0.175, 0.125
    x = a - who.eye_distance - 0.012
    lens = rounded_box(x, v, half_width, half_height, 0.08)
    soft = 1.4 * frame.pixel
    rim = jnp.abs(lens) - 0.013
    bridge = jnp.maximum(jnp.abs(v - 0.045 + 0.8 * a * a) - 0.010, a - 0.07)
    temple = jnp.maximum(jnp.abs(v - 0.055 + 0.06 * (a - 0.4)) - 0.011, 0.41 - a)
    temple = jnp.maximum(temple, head_distance - 0.01)
    shadow = rounded_box(x, v + 0.025, half_width, half_height, 0.08)
    canvas = shade(
        canvas, (0.7, 0.6, 0.58), 0.55 * who.glasses * cover(jnp.abs(shadow) - 0.004, 0.03)
    )
    band = window(frame.u * 0.9 + frame.v - 0.02 - 0.22 * (2 * frame.side - 1), -0.035, 0.035, 0.03)
    sheen = (0.05 + 0.16 * band) * cover(lens, soft)
    canvas = mix(canvas, jnp.array([0.93, 0.96, 1.0]), sheen * who.glasses)
    frame_cover = cover(jnp.minimum(jnp.minimum(rim, bridge), temple), soft)
    lit = jnp.array([0.11, 0.095, 0.10]) * (1 + 1.2 * smoothstep(v / 0.2 + 0.2))[..., None]
    return mix(canvas, lit, frame_cover * who.glasses)
