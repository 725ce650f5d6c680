"""The classifier's, the judge's and the feature network's parts of the recipe."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.demo import batches
from emojax.demo.training.loop import Figures, Stage
from emojax.demo.training.recipe import Profile
from emojax.models.efficientnet import EmotionNet
from emojax.scoring import classifier

_STATISTICS = 0.6  # the rest of the steps fine-tunes with the statistics the network will use


def emotion(profile: Profile, seed: int) -> Stage:
    """Learn the soft emotion labels of drawn faces, half of them photographed."""

    def loss(
        model: EmotionNet, frozen: None, batch: tuple[batches.Params, jax.Array]
    ) -> tuple[jax.Array, Figures]:
        faces, pictures = batch
        x = classifier.preprocess(pictures, model.config.size, as_uint8=False)
        logits = model(x)
        entropy = -jnp.sum(faces.emotion * jax.nn.log_softmax(logits), -1).mean()
        right = logits.argmax(-1) == faces.emotion.argmax(-1)
        return entropy, {"right": jnp.mean(right.astype(jnp.float32))}

    return _stage(profile, "emotion", seed, loss)


def attributes(profile: Profile, seed: int) -> Stage:
    """Learn identity factors and action units: the judge of everything else, used by nothing."""
    return _stage(profile, "attributes", seed, _regression(batches.attributes))


def features(profile: Profile, seed: int) -> Stage:
    """Learn attributes and emotions, for the features that come of it."""
    return _stage(profile, "features", seed, _regression(batches.targets))


def _regression(targets: Callable[[batches.Params], jax.Array]) -> Callable:
    def loss(
        model: EmotionNet, frozen: None, batch: tuple[batches.Params, jax.Array]
    ) -> tuple[jax.Array, Figures]:
        faces, pictures = batch
        x = classifier.preprocess(pictures, model.config.size, crop="full", as_uint8=False)
        return jnp.mean(jnp.square(model(x) - targets(faces))), {}

    return loss


def _stage(profile: Profile, name: str, seed: int, loss: Callable) -> Stage:
    length = profile.lengths[name]

    def draw(key: jax.Array) -> tuple[batches.Params, jax.Array]:
        who, camera = jax.random.split(key)
        faces = batches.balanced(who, count=length.batch)
        pictures = batches.draw(faces, profile.resolution)
        photos = batches.photographed(camera, pictures)
        third = jnp.arange(length.batch)[:, None, None, None] % 4 < 2  # of either kind of face
        return faces, jnp.where(third, photos, pictures)

    model = EmotionNet(getattr(profile, name), rngs=nnx.Rngs(seed))
    return Stage(name, model, draw, loss, None, length.steps, length.rate, statistics=_STATISTICS)
