"""Distances between pictures in networks of a bundle's own, in the place of LPIPS and ArcFace."""

import jax
import jax.numpy as jnp

from emojax.models.efficientnet import EmotionNet
from emojax.nn.pooling import area_mean
from emojax.scoring import classifier

_STAGES = (0, 1, 2, 3, 4)
"""Outputs that are compared: the stem's and those of the first stages, 1/2 to 1/16 of the side."""
_EPSILON = 1e-8
_LEAST = 1e-30
"""Of what is divided by; features of a network without training may be small."""
_WINDOW = 8
_FLAT = 1e-5
"""Added below the root, whose slope at a window without any variation is infinite."""


def distance(features: EmotionNet, a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the mean distance of pictures a and b [N,R,R,3] in [-1, 1], as LPIPS measures it.

    Features are divided by their norm over the channels at each pixel; the squared differences are
    summed over the channels and averaged over pixels, pictures and stages of the network.

    Args:
        features: the feature network.
        a: pictures; gradients pass inside [-1, 1].
        b: as many pictures.
    """
    x = classifier.preprocess(
        jnp.concatenate([a, b]), features.config.size, crop="full", as_uint8=False
    )
    found = features.stages_of(x)
    parts = []
    for stage in _STAGES:
        unit = found[stage] * jax.lax.rsqrt(
            jnp.sum(jnp.square(found[stage]), -1, keepdims=True) + _EPSILON
        )
        one, other = jnp.split(unit, 2)
        parts.append(jnp.mean(jnp.sum(jnp.square(one - other), -1)))
    return jnp.mean(jnp.stack(parts))


def identity(attributes: EmotionNet, a: jax.Array, b: jax.Array) -> jax.Array:
    """Return 1 - cosine of what the attribute regressor's trunk sees in pictures, mean over N.

    Args:
        attributes: the attribute regressor.
        a: pictures [N,R,R,3]; gradients pass inside [-1, 1].
        b: as many pictures.
    """
    x = classifier.preprocess(
        jnp.concatenate([a, b]), attributes.config.size, crop="full", as_uint8=False
    )
    seen = attributes.features(x)
    size = jnp.maximum(jnp.sum(jnp.square(seen), -1, keepdims=True), _LEAST)
    one, other = jnp.split(seen * jax.lax.rsqrt(size), 2)
    return jnp.mean(1 - jnp.sum(one * other, -1))


def edges(error: jax.Array) -> jax.Array:
    """Return the mean squared difference of neighbouring pixels of pictures [N,R,R,3].

    Of an error of pictures this is a loss that weighs fine detail; of pictures, their sharpness.
    """
    down = jnp.square(error[:, 1:] - error[:, :-1]).mean()
    return down + jnp.square(error[:, :, 1:] - error[:, :, :-1]).mean()


def softness(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return how differently pictures vary locally: the mean squared difference over windows.

    The variation of a window of 8 x 8 pixels is the root of the mean squared difference of its
    neighbouring pixels, so where in a window an edge lies does not count. A squared error of pixels
    prefers a blurred edge to a sharp one a pixel away; this does not.

    Args:
        a: pictures [N,R,R,3]; R a multiple of 8.
        b: as many pictures.
    """
    return jnp.mean(jnp.square(_variation(a) - _variation(b)))


def _variation(pictures: jax.Array) -> jax.Array:
    """Return the root mean square of the steps between neighbouring pixels [N,R/8,R/8,1]."""
    down = jnp.square(pictures[:, 1:, :-1] - pictures[:, :-1, :-1])
    across = jnp.square(pictures[:, :-1, 1:] - pictures[:, :-1, :-1])
    energy = jnp.pad(down + across, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    windows = area_mean(energy.mean(-1, keepdims=True), pictures.shape[1] // _WINDOW)
    return jnp.sqrt(windows + _FLAT)
