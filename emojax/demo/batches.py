"""Batches of random faces with labels for training and evaluation, drawn on the device."""

import functools
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from emojax.demo.drawing import colours, factors
from emojax.demo.drawing.expressions import ACTION_UNITS, EMOTIONS
from emojax.demo.drawing.factors import (
    EMOTION_OFFSETS,
    FACTORS,
    LATENT_SIZE,
    Params,
    params,
    sample_balanced,
)
from emojax.demo.drawing.render import render_batch
from emojax.demo.photos import photo_params, photograph, turned

SIDES: Final = ("left", "right")
EMOTION_ENTRIES: Final = len(EMOTIONS) - 1
"""Number of the latent's first entries, one for each emotion but neutral."""
SHIFT: Final = 2.0
"""What is added to one of these entries to make its emotion likely; rare ones stay rarer."""
BALANCED_SHIFT: Final = tuple(1.2 - offset for offset in EMOTION_OFFSETS.values())
"""The same for each emotion by itself, so that all become about equally frequent."""
ATTRIBUTES: Final = tuple(factor.name for factor in FACTORS) + tuple(
    f"au{unit}_{side}" for unit in ACTION_UNITS for side in SIDES
)
"""What the attribute regressor predicts: identity factors, then action units."""
TARGETS: Final = ATTRIBUTES + EMOTIONS
"""Regression targets of the networks in training: attributes, then emotion weights."""
W_TARGETS: Final = TARGETS + tuple(
    f"{part}_{colour}" for part in ("clothes", "hair") for colour in ("red", "green", "blue")
)
"""Regression targets of w. Colours bend with the factors, that of clothes turns almost once: a
generator that gets factors alone draws all clothes in a dull mean colour for thousands of steps."""

_CHANGED = 0.15  # mean difference of a 3x3 neighbourhood that gets the full extra weight
_UNIT_WEIGHT = 2.0  # loss weight of an action unit; an identity factor's is 1
_COLOUR_WEIGHT = 1.0  # of a colour
_EMOTION_WEIGHT = 1.2  # of an emotion, divided by its variance
_EMOTION_DEVIATIONS = (0.22, 0.12, 0.18, 0.13, 0.40, 0.30, 0.25, 0.23)
"""Standard deviations of the weights of EMOTIONS among expressive latents."""


@functools.partial(jax.jit, static_argnames="count")
def latents(key: jax.Array, *, count: int) -> jax.Array:
    """Draw normal latents [count, 64], scaled to unit mean square.

    StyleGAN2's mapping network normalises its input: a latent's length must carry no information.
    """
    z = jax.random.normal(key, (count, LATENT_SIZE))
    return z * jax.lax.rsqrt(jnp.mean(jnp.square(z), -1, keepdims=True))


@functools.partial(jax.jit, static_argnames=("count", "balance"))
def expressive_latents(key: jax.Array, *, count: int, balance: bool = False) -> jax.Array:
    """Draw latents as `latents` does, every second one shifted towards a random emotion.

    Among the faces of `latents` only one of 120 shows fear.

    Args:
        key: of the draw.
        count: N; the result is [N, 64].
        balance: shift by `BALANCED_SHIFT`, else by `SHIFT`.
    """
    normal, which = jax.random.split(key)
    z = latents(normal, count=count)
    entry = jax.random.randint(which, (count,), 0, EMOTION_ENTRIES)
    shift = jax.nn.one_hot(entry, EMOTION_ENTRIES)
    shift = shift * jnp.asarray(BALANCED_SHIFT if balance else SHIFT, jnp.float32)
    second = (jnp.arange(count)[:, None] % 2).astype(jnp.float32)
    z = z.at[:, :EMOTION_ENTRIES].add(shift * second)
    return z * jax.lax.rsqrt(jnp.mean(jnp.square(z), -1, keepdims=True))


@jax.jit
def faces_of(z: jax.Array) -> Params:
    """Return the faces of latents [N, 64]."""
    return jax.vmap(params)(z)


@functools.partial(jax.jit, static_argnames="emotion")
def with_emotion(faces: Params, emotion: str) -> Params:
    """Return N faces with one emotion at full intensity; see `factors.with_emotion`."""
    return jax.vmap(lambda face: factors.with_emotion(face, emotion))(faces)


@functools.partial(jax.jit, static_argnames="count")
def balanced(key: jax.Array, *, count: int) -> Params:
    """Draw faces: even rows with balanced emotions (`sample_balanced`), odd rows as `latents`."""
    natural_key, even_key = jax.random.split(key)
    natural = faces_of(latents(natural_key, count=count))
    even = jax.vmap(sample_balanced)(jax.random.split(even_key, count))
    return _chosen(jnp.arange(count) % 2 == 0, even, natural)


@functools.partial(jax.jit, static_argnames="count")
def photo_faces(key: jax.Array, *, count: int) -> Params:
    """Draw faces of the photo domain."""
    return jax.vmap(photo_params)(jax.random.split(key, count))


@jax.jit
def half_turned(faces: Params) -> Params:
    """Return N faces, two of every four with a pose and light that the generator seldom draws."""
    which = jnp.arange(len(faces.identity.yaw)) // 2 % 2 == 1
    return _chosen(which, faces._replace(identity=turned(faces.identity)), faces)


def _chosen(which: jax.Array, some: Params, others: Params) -> Params:
    """Return `some` where `which` [N] is true, else `others`."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, some, others)


@jax.jit
def photographed(key: jax.Array, pictures: jax.Array) -> jax.Array:
    """Apply a random camera to each drawn picture [N, R, R, 3] in [-1, 1]; see `photograph`."""
    return jax.vmap(photograph)(jax.random.split(key, len(pictures)), pictures)


@jax.jit
def tinted(key: jax.Array, pictures: jax.Array) -> jax.Array:
    """Change exposure, white balance and gamma of pictures [N, R, R, 3] at random.

    The only augmentation of the inverters' training, weaker than the photo domain's.
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
    """Return the attributes [N, A] of N faces, in the order of `ATTRIBUTES`.

    Factors are scaled so that their range in `FACTORS` is [-1, 1]; the photo domain exceeds it.
    Action units are activations.
    """
    scaled = [
        2 * (getattr(faces.identity, factor.name) - factor.low) / (factor.high - factor.low) - 1
        for factor in FACTORS
    ]
    units = faces.action_units.reshape(len(faces.action_units), -1)
    return jnp.concatenate([jnp.stack(scaled, -1), units], -1)


def targets(faces: Params) -> jax.Array:
    """Return attributes and emotion weights of N faces, [N, A + 8], in the order of `TARGETS`."""
    return jnp.concatenate([attributes(faces), faces.emotion], -1)


def w_targets(faces: Params) -> jax.Array:
    """Return what w of N faces shall tell, [N, A + 14], in the order of `W_TARGETS`.

    Colours are scaled to a variance of about one.
    """
    who = faces.identity
    clothes = 6 * (jax.vmap(colours.cloth)(who.clothes) - 0.42)
    hair = 5 * (jax.vmap(colours.hair)(who.hair_tone, who.hair_redness) - 0.35)
    return jnp.concatenate([targets(faces), clothes, hair], -1)


def w_target_weights() -> np.ndarray:
    """Return loss weights [A + 14] for `w_targets`."""
    colour = np.full(len(W_TARGETS) - len(TARGETS), _COLOUR_WEIGHT, np.float32)
    return np.append(target_weights(), colour)


def target_weights() -> np.ndarray:
    """Return loss weights [A + 8] for `targets`; an emotion's is divided by its variance."""
    units = len(ATTRIBUTES) - len(FACTORS)
    same = [np.full(len(FACTORS), 1.0), np.full(units, _UNIT_WEIGHT)]
    return np.concatenate([*same, _EMOTION_WEIGHT / np.square(_EMOTION_DEVIATIONS)]).astype(
        np.float32
    )


def face_weights(resolution: int, extra: float = 2.0) -> np.ndarray:
    """Return pixel weights [R, R, 1] of mean 1, up to 1 + extra times higher on the face."""
    along = (np.arange(resolution) + 0.5) / resolution * 2 - 1
    x, y = np.meshgrid(along, along)
    distance = np.sqrt((x / 0.55) ** 2 + ((y - 0.1) / 0.7) ** 2)
    weights = 1 + extra * np.clip(3 * (1.15 - distance), 0, 1)
    return (weights / weights.mean())[..., None].astype(np.float32)


def expression_weights(faces: Params, pictures: jax.Array, extra: float = 4.0) -> jax.Array:
    """Return pixel weights [N, R, R, 1], higher where the expression changes the picture.

    Expressions change few pixels: without the weights they are a few per cent of the pixel loss.

    Args:
        faces: N faces.
        pictures: of these faces, as `draw` returns them, [N, R, R, 3].
        extra: `face_weights` are multiplied by up to 1 + extra where the face differs from the same
            face with a neutral expression.
    """
    side = pictures.shape[1]
    neutral = draw(with_emotion(faces, "neutral"), side)
    change = jnp.abs(pictures - neutral).mean(-1, keepdims=True)
    near = jax.lax.reduce_window(change, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME") / 9
    return face_weights(side) * (1 + extra * (near / _CHANGED).clip(0, 1))


def dominant(faces: Params, above: float = 0.6) -> np.ndarray:
    """Return the index [N] of each face's strongest emotion, or -1 where its weight is too low."""
    weights = np.asarray(faces.emotion)
    return np.where(weights.max(-1) > above, weights.argmax(-1), -1)
