"""Colours of skin, hair, irises and clothes: sRGB in [0, 1], mixed without linearising."""

import jax
import jax.numpy as jnp
import numpy as np

_SKIN = np.array(  # light to dark
    [
        [0.99, 0.86, 0.78],
        [0.94, 0.76, 0.65],
        [0.81, 0.61, 0.48],
        [0.62, 0.42, 0.30],
        [0.42, 0.28, 0.21],
    ],
    np.float32,
)
_HAIR = np.array(  # dark to light
    [
        [0.09, 0.075, 0.075],
        [0.22, 0.14, 0.10],
        [0.40, 0.26, 0.16],
        [0.72, 0.53, 0.30],
        [0.92, 0.80, 0.55],
    ],
    np.float32,
)


def _along(table: np.ndarray, position: jax.Array) -> jax.Array:
    """Interpolate the rows of a table; position 0 is the first row, 1 the last."""
    knots = np.linspace(0, 1, len(table), dtype=np.float32)
    return jnp.stack([jnp.interp(position, knots, channel) for channel in table.T])


def skin(tone: jax.Array, warmth: jax.Array) -> jax.Array:
    """Return a skin colour [3], light (tone 0) to dark (1), rosy (warmth > 0) or olive (< 0)."""
    return _along(_SKIN, tone) * (1 + warmth * jnp.array([0.5, -0.6, -1.0]))


def lips(skin_colour: jax.Array, redness: jax.Array) -> jax.Array:
    """Return a lip colour [3]: a darker red of the skin's, lipstick as redness approaches 1."""
    bare = skin_colour * jnp.array([0.90, 0.66, 0.64])
    return bare + (jnp.array([0.72, 0.16, 0.22]) - bare) * (0.1 + 0.6 * redness**2)


def hair(tone: jax.Array, redness: jax.Array) -> jax.Array:
    """Return a hair colour [3], black (tone 0) to blond (1); redness -1 is grey, 1 is ginger."""
    plain = _along(_HAIR, tone)
    grey = jnp.array([0.62, 0.62, 0.64]) * (0.65 + 0.55 * tone)
    ginger = jnp.array([0.66, 0.29, 0.12]) * (0.65 + 0.6 * tone)
    plain = plain + (grey - plain) * jax.nn.sigmoid(14 * (-redness - 0.7))
    return plain + (ginger - plain) * jax.nn.sigmoid(9 * (redness - 0.6))


def iris(blue: jax.Array, lightness: jax.Array) -> jax.Array:
    """Return an iris colour [3]: brown to hazel (blue 0), or green to blue (blue 1)."""
    brown = jnp.array([0.26, 0.14, 0.07]) + lightness * jnp.array([0.26, 0.22, 0.08])
    cool = jnp.array([0.30, 0.52, 0.36]) + lightness * jnp.array([0.00, 0.04, 0.42])
    return brown + (cool - brown) * blue


def cloth(hue: jax.Array) -> jax.Array:
    """Return a muted colour [3] of clothes for a hue from 0 to 1."""
    turns = hue + jnp.array([0.0, 0.36, 0.68])
    return 0.42 + 0.24 * jnp.cos(5.5 * turns)


def backdrop(lightness: jax.Array, red: jax.Array, blue: jax.Array) -> jax.Array:
    """Return a background colour [3]: grey plus `red` (green below zero) and `blue` (yellow)."""
    return lightness + jnp.stack([red - 0.3 * blue, -0.6 * red, blue + 0.1 * red])
