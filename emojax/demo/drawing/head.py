"""Head and surroundings: background, shoulders, neck, ears, shaded skin, beard."""

import jax
import jax.numpy as jnp

from emojax.demo.drawing import colours
from emojax.demo.drawing.factors import Identity
from emojax.demo.drawing.frame import ActionUnits, Frame, Head
from emojax.demo.drawing.shapes import (
    Field,
    bump,
    cover,
    ellipse,
    fade,
    length,
    mix,
    shade,
    smoothstep,
    wave,
    window,
)


def backdrop(frame: Frame, who: Identity) -> jax.Array:
    """Return the background [R, R, 3]: a vertical gradient, brighter on the lit side."""
    colour = colours.backdrop(who.backdrop_lightness, who.backdrop_red, who.backdrop_blue)
    slope = 1 + who.backdrop_slope * frame.y - 0.10 * (frame.x**2 + frame.y**2)
    glow = 0.22 * bump(frame.x + 0.5 * who.light_x, frame.y - 0.2, 0.9, 0.9)
    return (colour + 0.02) * (slope + glow)[..., None]


def torso(canvas: jax.Array, frame: Frame, head: Head, who: Identity) -> jax.Array:
    """Draw the neck, with the chin's shadow, and clothes with a round collar."""
    skin = colours.skin(who.skin_tone, who.skin_warmth)
    x, y, pixel = frame.x, frame.y, frame.pixel
    half = who.neck + 0.10 * smoothstep((-0.62 - y) / 0.5)
    across = x / half
    shadow = smoothstep(1 - (head.distance - 0.02) / 0.22)
    lit = 0.86 + 0.14 * who.light_x * across - 0.25 * across**2 - 0.33 * shadow
    tint = jnp.stack([lit, lit - 0.03 - 0.05 * shadow, lit - 0.05 - 0.07 * shadow], -1)
    canvas = mix(canvas, skin * tint, cover(jnp.maximum(jnp.abs(x) - half, y), 2 * pixel))
    neckline = -0.80 - 0.32 * jnp.sqrt(jnp.clip(1 - (x / 0.42) ** 2, 1e-3, 1))
    shoulder = -0.66 - 0.45 * x * x
    cloth = jnp.maximum(y - shoulder, jnp.minimum(y - neckline, 0.42 - jnp.abs(x)))
    folds = 0.82 + 0.12 * jnp.cos(9 * x + 4 * y) + 0.15 * who.light_x * x
    return mix(canvas, colours.cloth(who.clothes) * folds[..., None], cover(cloth, 2.5 * pixel))


def ears(canvas: jax.Array, frame: Frame, who: Identity) -> jax.Array:
    """Draw the ears behind the head, and earrings."""
    skin = colours.skin(who.skin_tone, who.skin_warmth)
    a, y = jnp.abs(frame.x), frame.y + 0.04
    out = a - who.head_width - 0.012
    lean = out - 0.18 * y
    shape = ellipse(lean, y, 0.065 * who.ears, 0.135 * who.ears)
    lit = 0.84 + 0.16 * who.light_x * jnp.sign(frame.x) - 0.8 * jnp.clip(-shape, 0, 0.07)
    canvas = mix(
        canvas, skin * jnp.stack([lit, lit * 0.93, lit * 0.91], -1), cover(shape, 1.6 * frame.pixel)
    )
    hollow = smoothstep(0.6 - ellipse(lean - 0.006, y - 0.015, 0.03, 0.08) / 0.04)
    canvas = shade(canvas, (0.72, 0.60, 0.56), hollow * cover(shape + 0.02, 0.03))
    stone = length(a - who.head_width - 0.03, frame.y + 0.04 + 0.15 * who.ears)
    gold = jnp.array([0.95, 0.80, 0.38])
    return mix(canvas, gold, cover(stone - 0.024, 1.5 * frame.pixel) * who.earrings)


def relief(frame: Frame, who: Identity, units: ActionUnits) -> tuple[jax.Array, jax.Array]:
    """Return the slopes [R, R] of the face's surface along u and v.

    The surface is a sum of Gaussians. On the midline: (v, radius along u, radius along v, height).
    In pairs: (distance from the midline, v, the two radii, height).
    """
    raised = frame.pick(0.6 * units[6] + 0.7 * units[12])
    wing = 0.022 * units[9].mean() + 0.012 * units[10].mean()
    tip = -0.215 + who.nose_length
    single = (
        (0.42, 0.34, 0.26, 0.020),  # forehead
        (-0.04, 0.045, 0.17, 0.034 * who.nose_bridge),
        (tip + 0.02, 0.062, 0.06, 0.056),
        (-0.43, 0.20, 0.14, 0.034),  # jaws behind the lips
        (0.06 - who.chin, 0.13, 0.09, 0.034),
    )
    paired = (
        (0.20, 0.175, 0.17, 0.06, 0.020),  # brow ridge
        (who.eye_distance, 0.03, 0.14, 0.085, -0.034),  # socket
        (0.33, -0.16, 0.15, 0.11, 0.018 + 0.02 * who.cheeks + 0.035 * raised),
        (0.75 * who.nose_width, tip - 0.002 + wing, 0.036, 0.04, 0.026),
    )
    along_u: Field = 0.0
    along_v: Field = 0.0
    for cy, ru, rv, elevation in single:
        hill = elevation * bump(frame.u, frame.v - cy, ru, rv)
        along_u -= 2 * frame.u / ru**2 * hill
        along_v -= 2 * (frame.v - cy) / rv**2 * hill
    mirrored = 2 * frame.side - 1
    for cx, cy, ru, rv, elevation in paired:
        hill = elevation * bump(frame.a - cx, frame.v - cy, ru, rv)
        along_u -= 2 * mirrored * (frame.a - cx) / ru**2 * hill
        along_v -= 2 * (frame.v - cy) / rv**2 * hill
    return jnp.asarray(along_u), jnp.asarray(along_v)


def skin(
    canvas: jax.Array, frame: Frame, head: Head, who: Identity, units: ActionUnits
) -> jax.Array:
    """Draw the skin of the face, lit by one light source and ambient light."""
    slope_u, slope_v = relief(frame, who, units)
    facing = jnp.sqrt(jnp.maximum(1 - head.nx**2 - head.ny**2, 0) + 0.04)
    nx, ny = head.nx - facing * slope_u, 0.8 * head.ny - facing * slope_v
    scale = jax.lax.rsqrt(nx * nx + ny * ny + facing * facing)
    lamp = jnp.stack([who.light_x, who.light_y, jnp.ones(())])
    lamp = lamp / jnp.linalg.norm(lamp)
    lit = scale * (nx * lamp[0] + ny * lamp[1] + facing * lamp[2])
    wrapped = smoothstep((lit + 0.55) / 1.55)
    glossy = smoothstep((scale * (nx * lamp[0] + ny * lamp[1] + 1.6 * facing) - 1.2) * 1.7) ** 2
    colour = colours.skin(who.skin_tone, who.skin_warmth)
    warm = 1 + who.light_warmth * jnp.array([1.0, 0.1, -1.0])
    dark, bright = jnp.array([0.50, 0.38, 0.35]), jnp.array([1.09, 1.06, 1.04]) * warm
    face = colour * (dark + (bright - dark) * wrapped[..., None]) + 0.07 * glossy[..., None]
    return mix(
        canvas, _complexion(face, frame, who, units), cover(head.distance, 1.6 * frame.pixel)
    )


def _complexion(face: jax.Array, frame: Frame, who: Identity, units: ActionUnits) -> jax.Array:
    """Add blush on cheeks and nose, and freckles on a jittered grid."""
    raised = 0.35 * units[12].mean() + 0.2 * units[6].mean()
    cheek = bump(frame.a - 0.33, frame.v + 0.17, 0.16, 0.12)
    nose = 0.4 * bump(frame.u, frame.v + 0.2, 0.09, 0.08)
    face = shade(face, (1.0, 0.72, 0.70), (0.15 + 0.6 * who.blush + raised) * 0.6 * (cheek + nose))
    gx, gy = frame.u / 0.062, frame.v / 0.055
    cell_x, cell_y = jnp.round(gx), jnp.round(gy)
    jitter_x = 0.34 * wave(cell_x * 12.9 + cell_y * 78.2)
    jitter_y = 0.34 * wave(cell_x * 41.7 - cell_y * 27.1 + 1)
    size = 0.08 + 0.18 * jnp.cos(cell_x * 39.3 + cell_y * 11.1)
    spot = length(gx - cell_x - jitter_x, gy - cell_y - jitter_y) - size
    where = bump(frame.a - 0.22, frame.v + 0.14, 0.22, 0.13) * who.freckles
    spots = cover(spot, 0.25 + frame.pixel / 0.05)
    return shade(face, (0.72, 0.55, 0.46), 0.8 * spots * smoothstep(2.2 * where))


def beard(
    canvas: jax.Array, frame: Frame, head: Head, who: Identity, lip_distance: jax.Array
) -> jax.Array:
    """Draw stubble to full beard.

    Args:
        canvas: [R, R, 3].
        frame: coordinates of the pixels.
        head: outline of the head.
        who: the person.
        lip_distance: [R, R] signed distance to the lips, which stay free of it.
    """
    a, v = frame.a, frame.v
    line = -0.36 + 0.5 * (a / 0.5) ** 3  # from beside the mouth up to the sideburns
    cheek = smoothstep((line - v) / 0.14 + 0.2)
    moustache = window(v, -0.36, -0.315, 0.05) * smoothstep((0.25 - a) / 0.07)
    patch = 1 - 0.6 * bump(frame.u, lip_distance - 0.05, 0.09, 0.03) * smoothstep(
        (-0.42 - v) / 0.02
    )
    where = jnp.maximum(cheek * patch, moustache) * smoothstep(lip_distance / 0.03)
    streaks = wave(85 * frame.u * (1 - 0.3 * v) + 3 * wave(11 * v + 17 * frame.u))
    texture = 0.92 + 0.10 * streaks * fade(85, frame.pixel)
    colour = 0.8 * colours.hair(who.hair_tone, who.hair_redness)
    lit = (1.0 + 0.25 * who.light_x * head.nx - 0.2 * head.nx**2) * texture
    outline = cover(head.distance - 0.035 * who.beard * smoothstep(-8 * head.ny), 3 * frame.pixel)
    density = where * outline * smoothstep(1.4 * who.beard) * (0.55 + 0.4 * who.beard)
    return mix(canvas, colour * lit[..., None], density)
