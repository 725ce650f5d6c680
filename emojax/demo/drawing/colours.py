"""Colours of skin, hair, irises and cloth, as RGB in [0, 1] (sRGB values, mixed as they are)."""

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
    """Colour [3] at a position from 0 (first row) to 1 (last row), linear between rows."""
    knots = np.linspace(0, 1, len(table), dtype=np.float32)
    return jnp.stack([jnp.interp(position, knots, channel) for channel in table.T])


def skin(tone: jax.Array, warmth: jax.Array) -> jax.Array:
    """Skin [3] from light (tone 0) to dark (1), rosy or olive by warmth."""
    return _along(_SKIN, tone) * (1 + warmth * jnp.array([0.5, -0.6, -1.0]))


def lips(skin_colour: jax.Array, redness: jax.Array) -> jax.Array:
    """Lips [3]: the skin's own darker red, or lipstick as redness nears 1."""
    bare = skin_colour * jnp.array([0.90, 0.66, 0.64])
    return bare + (jnp.array([0.72, 0.16, 0.22]) - bare) * (0.1 + 0.6 * redness**2)


def hair(tone: jax.Array, redness: jax.Array) -> jax.Array:
    """Hair [3] from black (tone 0) to blond (1); redness -1 is grey, 1 is ginger."""
    plain = _along(_HAIR, tone)
    grey = jnp.array([0.62, 0.62, 0.64]) * (0.65 + 0.55 * tone)
    ginger = jnp.array([0.66, 0.29, 0.12]) * (0.65 + 0.6 * tone)
    plain = plain + (grey - plain) * jax.nn.sigmoid(14 * (-redness - 0.7))
    return plain + (ginger - plain) * jax.nn.sigmoid(9 * (redness - 0.6))


def iris(blue: jax.Array, lightness: jax.Array) -> jax.Array:
    """Iris [3]: brown to hazel (blue 0) or green to blue (1)."""
    brown = jnp.array([0.26, 0.14, 0.07]) + lightness * jnp.array([0.26, 0.22, 0.08])
    cool = jnp.array([0.30, 0.52, 0.36]) + lightness * jnp.array([0.00, 0.04, 0.42])
    return brown + (cool - brown) * blue


def cloth(hue: jax.Array) -> jax.Array:
    """Cloth [3] of muted colours, `hue` from 0 to 1."""
    turns = hue + jnp.array([0.0, 0.36, 0.68])
    return 0.42 + 0.24 * jnp.cos(5.5 * turns)


def backdrop(lightness: jax.Array, red: jax.Array, blue: jax.Array) -> jax.Array:
    """Backdrop [3] about a grey; `red` runs to green and `blue` to yellow below zero."""
    return lightness + jnp.stack([red - 0.3 * blue, -0.6 * red, blue + 0.1 * red])
