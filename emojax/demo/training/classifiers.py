"""Stages of the emotion classifier, the attribute regressor and the feature network."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.demo import batches
from emojax.demo.drawing.factors import Params
from emojax.demo.training.recipe import Profile
from emojax.models.efficientnet import EmotionNet
from emojax.scoring import classifier
from emojax.training.loop import Metrics, Stage

_STATISTICS = 0.6
"""Share of the steps with batch statistics; the rest fine-tunes with the running ones."""

Batch = tuple[Params, jax.Array]
"""Faces, and their pictures."""


def emotion(profile: Profile, _needed: Sequence[Any], seed: int) -> Stage:
    """Return the emotion classifier's stage: cross-entropy with soft labels."""

    def loss(model: EmotionNet, _: None, batch: Batch) -> tuple[jax.Array, Metrics]:
        faces, pictures = batch
        x = classifier.preprocess(pictures, model.config.size, as_uint8=False)
        logits = model(x)
        entropy = -jnp.sum(faces.emotion * jax.nn.log_softmax(logits), -1).mean()
        right = logits.argmax(-1) == faces.emotion.argmax(-1)
        return entropy, {"right": jnp.mean(right.astype(jnp.float32))}

    return _stage(profile, "emotion", seed, loss)


def attributes(profile: Profile, _needed: Sequence[Any], seed: int) -> Stage:
    """Return the stage of the attribute regressor, which is for evaluation only."""
    return _stage(profile, "attributes", seed, _regression(batches.attributes))


def features(profile: Profile, _needed: Sequence[Any], seed: int) -> Stage:
    """Return the feature network's stage: regression of attributes and emotion weights."""
    return _stage(profile, "features", seed, _regression(batches.targets))


def photographed_rows(count: int) -> jax.Array:
    """Return which of `count` rows are photographed, [count] bool: rows 0, 1, 4, 5, 8, ...

    These are half of the rows, and half of each kind of row of `batches.balanced`, whose even rows
    have balanced emotions.
    """
    return jnp.arange(count) % 4 < 2


def _regression(targets: Callable[[Params], jax.Array]) -> Callable[..., Any]:
    def loss(model: EmotionNet, _: None, batch: Batch) -> tuple[jax.Array, Metrics]:
        faces, pictures = batch
        x = classifier.preprocess(pictures, model.config.size, crop="full", as_uint8=False)
        return jnp.mean(jnp.square(model(x) - targets(faces))), {}

    return loss


def _stage(profile: Profile, name: str, seed: int, loss: Callable[..., Any]) -> Stage:
    length = profile.lengths[name]

    def draw(key: jax.Array, _: None) -> Batch:
        people, camera = jax.random.split(key)
        faces = batches.balanced(people, count=length.batch)
        pictures = batches.draw(faces, profile.seen)
        photos = batches.photographed(camera, pictures)
        chosen = photographed_rows(length.batch)[:, None, None, None]
        return faces, jnp.where(chosen, photos, pictures)

    model = EmotionNet(getattr(profile, name), rngs=nnx.Rngs(seed))
    return Stage(name, model, draw, loss, None, length.steps, length.rate, statistics=_STATISTICS)
