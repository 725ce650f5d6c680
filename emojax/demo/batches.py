"""Batches of drawn faces for training and judging, drawn on the device."""

import functools
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from emojax.demo.drawing import factors
from emojax.demo.drawing.expressions import ACTION_UNITS, EMOTIONS
from emojax.demo.drawing.factors import (
    EMOTION_OFFSETS,
    FACTORS,
    LATENT_SIZE,
    Identity,
    Params,
    params,
    sample_balanced,
)
from emojax.demo.drawing.render import render_batch
from emojax.demo.photos import photo_params, photograph

SIDES: Final = ("left", "right")
FELT: Final = len(EMOTIONS) - 1
"""The latent's first entries: how ready the face is for each emotion but neutral."""
READIER: Final = 2.0
"""By how much an expressive latent is readier: rare emotions come oftener, and stay the rarer."""
EVENLY: Final = tuple(1.2 - offset for offset in EMOTION_OFFSETS.values())
"""By how much for each emotion, so that all come about as often."""
ATTRIBUTES: Final = tuple(factor.name for factor in FACTORS) + tuple(
    f"au{unit}_{side}" for unit in ACTION_UNITS for side in SIDES
)
"""What the world's own judge tells of a face: the identity's factors, then the action units."""
TARGETS: Final = ATTRIBUTES + EMOTIONS
"""What networks are taught of a face: attributes, then emotions."""

_CHANGED = 0.15  # mean difference of a pixel's neighbourhood that counts as a change
_UNITS, _EMOTIONS = 2.0, 1.2  # weights of a target, a factor's being 1; an emotion's per variance
_DEVIATIONS = (0.22, 0.12, 0.18, 0.13, 0.40, 0.30, 0.25, 0.23)
"""Standard deviations of the weights of EMOTIONS among expressive latents."""


@functools.partial(jax.jit, static_argnames="count")
def latents(key: jax.Array, *, count: int) -> jax.Array:
    """Draw normal latents [count, 64] of unit mean square.

    StyleGAN2's mapping network sees a latent's direction only, so its length must mean nothing.
    """
    z = jax.random.normal(key, (count, LATENT_SIZE))
    return z * jax.lax.rsqrt(jnp.mean(jnp.square(z), -1, keepdims=True))


@functools.partial(jax.jit, static_argnames=("count", "evenly"))
def expressive_latents(key: jax.Array, *, count: int, evenly: bool = False) -> jax.Array:
    """Draw latents as `latents` does, every second one readier for one emotion than it would be.

    Networks that learn from `latents` alone would see one frightened face in 120.

    Args:
        key: of the draw.
        count: N; the result is [N, 64].
        evenly: readier by `EVENLY`, else by `READIER`.
    """
    normal, which = jax.random.split(key)
    z = latents(normal, count=count)
    ready = jax.nn.one_hot(jax.random.randint(which, (count,), 0, FELT), FELT)
    ready = ready * jnp.asarray(EVENLY if evenly else READIER, jnp.float32)
    second = (jnp.arange(count)[:, None] % 2).astype(jnp.float32)
    z = z.at[:, :FELT].add(ready * second)
    return z * jax.lax.rsqrt(jnp.mean(jnp.square(z), -1, keepdims=True))


@jax.jit
def described(z: jax.Array) -> Params:
    """Describe the faces of latents [N, 64]."""
    return jax.vmap(params)(z)


@functools.partial(jax.jit, static_argnames="emotion")
def with_emotion(faces: Params, emotion: str) -> Params:
    """Give N faces one emotion in full; see `factors.with_emotion`."""
    return jax.vmap(lambda face: factors.with_emotion(face, emotion))(faces)


@functools.partial(jax.jit, static_argnames="count")
def balanced(key: jax.Array, *, count: int) -> Params:
    """Describe faces, every second one from `sample_balanced`, the others as often as they are."""
    often, seldom = jax.random.split(key)
    natural = described(latents(often, count=count))
    even = jax.vmap(sample_balanced)(jax.random.split(seldom, count))
    second = jnp.arange(count) % 2 == 0

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(second.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, even, natural)


@functools.partial(jax.jit, static_argnames="count")
def strangers(key: jax.Array, *, count: int) -> Params:
    """Describe people of the photo world."""
    return jax.vmap(photo_params)(jax.random.split(key, count))


@jax.jit
def photographed(key: jax.Array, pictures: jax.Array) -> jax.Array:
    """Take a photo of each drawn picture [N, R, R, 3], [-1, 1] to [-1, 1]; no JPEG."""
    return jax.vmap(photograph)(jax.random.split(key, len(pictures)), pictures)


@jax.jit
def tinted(key: jax.Array, pictures: jax.Array) -> jax.Array:
    """Change exposure, white balance and contrast of pictures [N, R, R, 3] a little.

    What inverters are trained with: less than the photo world does, and nothing else it does.
    """
    exposure, balance, contrast = jax.random.split(key, 3)
    count = len(pictures)
    gain = jnp.exp(0.08 * jax.random.normal(exposure, (count, 1, 1, 1)))
    gain = gain * jnp.exp(0.05 * jax.random.normal(balance, (count, 1, 1, 3)))
    gamma = jnp.exp(0.10 * jax.random.normal(contrast, (count, 1, 1, 1)))
    light = gain * ((pictures + 1) / 2).clip(1e-4, 1) ** gamma
    return 2 * light.clip(0, 1) - 1


def draw(faces: Params, resolution: int) -> jax.Array:
    """Draw N faces: pictures [N, R, R, 3] in [-1, 1]."""
    return render_batch(faces, resolution=resolution)


def attributes(faces: Params) -> jax.Array:
    """Return what `ATTRIBUTES` names for N faces, [N, A].

    Factors are scaled to [-1, 1] over their range (beyond it in the photo world), action units
    are activations.
    """
    scaled = [
        2 * (getattr(faces.identity, factor.name) - factor.low) / (factor.high - factor.low) - 1
        for factor in FACTORS
    ]
    units = faces.action_units.reshape(len(faces.action_units), -1)
    return jnp.concatenate([jnp.stack(scaled, -1), units], -1)


def targets(faces: Params) -> jax.Array:
    """Return attributes and emotion weights of N faces, [N, A + 8], as `TARGETS` names them."""
    return jnp.concatenate([attributes(faces), faces.emotion], -1)


def target_weights() -> np.ndarray:
    """Weights [A + 8] of errors in `targets`: each emotion, common or rare, counts the same."""
    units = len(ATTRIBUTES) - len(FACTORS)
    same = [np.full(len(FACTORS), 1.0), np.full(units, _UNITS)]
    return np.concatenate([*same, _EMOTIONS / np.square(_DEVIATIONS)]).astype(np.float32)


def face_weights(resolution: int, extra: float = 2.0) -> np.ndarray:
    """Weights [R, R, 1] of mean one: a pixel of the face counts up to 1 + extra times the rest."""
    along = (np.arange(resolution) + 0.5) / resolution * 2 - 1
    x, y = np.meshgrid(along, along)
    distance = np.sqrt((x / 0.55) ** 2 + ((y - 0.1) / 0.7) ** 2)
    weights = 1 + extra * np.clip(3 * (1.15 - distance), 0, 1)
    return (weights / weights.mean())[..., None].astype(np.float32)


def expression_weights(faces: Params, pictures: jax.Array, extra: float = 4.0) -> jax.Array:
    """Weights [N, R, R, 1] of pixels, more where the expression shows.

    An expression is a few hundredths of a picture's error, and all that emotions are read off.

    Args:
        faces: N faces.
        pictures: what `draw` makes of them, [N, R, R, 3].
        extra: `face_weights` times up to 1 + extra, where the neutral face looks otherwise.
    """
    side = pictures.shape[1]
    neutral = draw(with_emotion(faces, "neutral"), side)
    change = jnp.abs(pictures - neutral).mean(-1, keepdims=True)
    near = jax.lax.reduce_window(change, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME") / 9
    return face_weights(side) * (1 + extra * (near / _CHANGED).clip(0, 1))


def dominant(faces: Params, above: float = 0.6) -> np.ndarray:
    """Return the index of each face's emotion where its weight is above a share, else -1; [N]."""
    weights = np.asarray(faces.emotion)
    return np.where(weights.max(-1) > above, weights.argmax(-1), -1)


__all__ = [
    "ATTRIBUTES",
    "EMOTIONS",
    "TARGETS",
    "Identity",
    "Params",
    "attributes",
    "balanced",
    "described",
    "dominant",
    "draw",
    "expression_weights",
    "expressive_latents",
    "face_weights",
    "latents",
    "photographed",
    "strangers",
    "target_weights",
    "targets",
    "tinted",
    "with_emotion",
]
