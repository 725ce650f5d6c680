"""Soft-edged shapes on a grid of pixels: what the drawn faces are made of.

Every shape gives a coverage, 1 inside and 0 outside, whose edge is a smooth ramp about one pixel
wide: pictures of any size look alike, and gradients reach whatever moves the edge.
"""

import jax
import jax.numpy as jnp

_TINY = 1e-9  # under square roots: their gradient at 0 is infinite


def pixel_grid(resolution: int) -> tuple[jax.Array, jax.Array]:
    """Centres of the pixels, x [1, R] rightwards and y [R, 1] upwards, both from -1 to 1."""
    along = (2 * jnp.arange(resolution, dtype=jnp.float32) + 1) / resolution - 1
    return along[None, :], -along[:, None]


def smoothstep(t: jax.Array) -> jax.Array:
    """A smooth ramp from 0 at t = 0 to 1 at t = 1, flat outside."""
    t = jnp.clip(t, 0.0, 1.0)
    rising, falling = t * t, (1 - t) ** 2
    return rising / (rising + falling)


def cover(distance: jax.Array, width: jax.Array | float) -> jax.Array:
    """Coverage of a region by its signed distance (negative inside), edge `width` wide."""
    return smoothstep(0.5 - distance / width)


def length(x: jax.Array, y: jax.Array) -> jax.Array:
    """Euclidean norm whose gradient is finite at the origin."""
    return jnp.sqrt(x * x + y * y + _TINY)


def ellipse(x: jax.Array, y: jax.Array, rx: jax.Array | float, ry: jax.Array | float) -> jax.Array:
    """Signed distance to an axis-aligned ellipse about the origin, first order: f / |grad f|."""
    q = (x / rx) ** 2 + (y / ry) ** 2
    return (q - 1) / (2 * length(x / rx**2, y / ry**2))


def flattened_ellipse(
    x: jax.Array,
    y: jax.Array,
    rx: jax.Array | float,
    ry: jax.Array | float,
    flatness: jax.Array | float,
) -> jax.Array:
    """Signed distance as `ellipse`, with flatter ends above and below for `flatness` 0 to 1."""
    nx, ny = x / rx, y / ry
    q = nx * nx + ny * ny * (1 - flatness + flatness * ny * ny)
    steepness = length(2 * nx / rx, 2 * ny * (1 - flatness + 2 * flatness * ny * ny) / ry)
    return (q - 1) / steepness


def smooth_max(a: jax.Array, b: jax.Array, width: float) -> jax.Array:
    """Maximum whose corner is rounded where a and b differ by less than `width`: rounder
    corners where two regions meet.
    """
    overlap = jnp.maximum(width - jnp.abs(a - b), 0)
    return jnp.maximum(a, b) + overlap * overlap / (4 * width)


def rounded_box(
    x: jax.Array,
    y: jax.Array,
    half_width: jax.Array | float,
    half_height: jax.Array | float,
    radius: jax.Array | float,
) -> jax.Array:
    """Signed distance to a rectangle about the origin with rounded corners."""
    qx = jnp.abs(x) - half_width + radius
    qy = jnp.abs(y) - half_height + radius
    outside = length(jnp.maximum(qx, 0), jnp.maximum(qy, 0))
    return outside + jnp.minimum(jnp.maximum(qx, qy), 0) - radius


def from_curve(y: jax.Array, curve: jax.Array, slope: jax.Array) -> jax.Array:
    """Distance above a curve y = f(x), corrected for its slope; negative below."""
    return (y - curve) * jax.lax.rsqrt(1 + slope * slope)


def bump(x: jax.Array, y: jax.Array, rx: jax.Array | float, ry: jax.Array | float) -> jax.Array:
    """A Gaussian hill of height 1 about the origin."""
    return jnp.exp(-((x / rx) ** 2) - (y / ry) ** 2)


def window(t: jax.Array, low: float, high: float, ramp: float) -> jax.Array:
    """1 where low < t < high, falling smoothly to 0 within `ramp` outside."""
    return smoothstep((t - low) / ramp + 1) * smoothstep((high - t) / ramp + 1)


def wave(phase: jax.Array) -> jax.Array:
    """A sine made of parabolas, within 0.06 of the true one, for textures; a tenth of its cost."""
    turn = phase * (0.5 / jnp.pi)
    turn = turn - jnp.round(turn)
    return 8 * turn * (1 - 2 * jnp.abs(turn))


def fade(frequency: float, pixel: jax.Array) -> jax.Array:
    """How much of a texture of so many radians a unit a pixel can carry, 0 to 1."""
    return jnp.clip(1.5 - 0.6 * frequency * pixel, 0, 1)


def mix(canvas: jax.Array, colour: jax.Array, coverage: jax.Array) -> jax.Array:
    """Paint over a canvas.

    Args:
        canvas: [R, R, 3].
        colour: [3], or [R, R, 3] where the paint is shaded.
        coverage: opacity [R, R].
    """
    return canvas + (colour - canvas) * coverage[..., None]


def shade(canvas: jax.Array, factor: tuple[float, float, float], coverage: jax.Array) -> jax.Array:
    """Multiply a canvas by a tint where covered: shadows, blushes and lines keep the skin's hue."""
    return canvas * (1 + (jnp.array(factor, canvas.dtype) - 1) * coverage[..., None])
