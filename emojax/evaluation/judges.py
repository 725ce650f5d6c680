"""The networks that measure pictures: classifier, features, attributes, and those of pairs."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from emojax.metrics import comparison, distance_network
from emojax.metrics.comparison import Networks
from emojax.metrics.features import inception_features
from emojax.models.efficientnet import EmotionNet
from emojax.models.inception import Inception
from emojax.runtime import xla_options
from emojax.runtime.batching import in_batches
from emojax.runtime.choices import Crop
from emojax.runtime.devices import mesh_for, over_samples
from emojax.scoring import classifier
from emojax.store.block_store import Arrays
from emojax.store.bundle import Bundle
from emojax.store.parts import ATTRIBUTES, EMOTION


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Judges:
    """Networks that measure a picture; a pytree.

    Attributes:
        emotion: the emotion classifier.
        distance: the network in whose features Fréchet distances are measured; may be missing.
        attributes: the attribute regressor; may be missing.
        pairs: those that compare two pictures; may be missing.
        crop: of the classifier; the other networks see the whole picture.
    """

    emotion: EmotionNet
    distance: Inception | EmotionNet | None
    attributes: EmotionNet | None
    pairs: Networks
    crop: Crop = dataclasses.field(default="face", metadata={"static": True})


def load_judges(bundle: Bundle, crop: Crop) -> Judges:
    """Return the measuring networks of a bundle; all but the classifier may be missing.

    Raises:
        UserError: there is no classifier, or a part is damaged.
    """
    distance = distance_network.part_of(bundle)
    return Judges(
        bundle.load(EMOTION),
        bundle.load(distance) if distance else None,
        bundle.load(ATTRIBUTES) if bundle.has(ATTRIBUTES) else None,
        comparison.load(bundle),
        crop,
    )


def measure(judges: Judges, pictures: np.ndarray, *, batch: int) -> Arrays:
    """Return the outputs of all networks for pictures.

    Args:
        judges: the networks.
        pictures: uint8 [N,S,S,3].
        batch: pictures at a time, split over the local devices; fewer are padded to as many, so
            that XLA compiles once.

    Returns:
        "logits" [N,K]; with the networks for them "features" [N,D] and "attributes" [N,A].
    """
    count, mesh = len(pictures), mesh_for(batch)
    run = _program(isinstance(judges.distance, Inception), mesh)
    judges = dataclasses.replace(judges, pairs=Networks())  # see `compare`
    padded = pictures[np.minimum(np.arange(max(count, batch)), count - 1)]
    found = in_batches(lambda rows: run(judges, rows), padded, batch, multiple_of=mesh.size)
    return {name: array[:count] for name, array in found.items()}


def compare(judges: Judges, pictures: np.ndarray, references: np.ndarray, *, batch: int) -> Arrays:
    """Return how alike pictures are to others, see `emojax.metrics.comparison.compare`."""
    return comparison.compare(judges.pairs, pictures, references, batch=batch)


@functools.cache
def _program(
    dense: bool, mesh: jax.sharding.Mesh
) -> Callable[[Judges, np.ndarray], dict[str, jax.Array]]:
    return over_samples(
        _outputs, mesh, (False, True), compiler_options=xla_options.options(dense=dense)
    )


def _outputs(judges: Judges, pictures: jax.Array) -> dict[str, jax.Array]:
    """Return logits, features and attributes of pictures uint8 [B,S,S,3]."""
    levels = pictures.astype(jnp.float32)
    faces = levels / 127.5 - 1.0
    found = {"logits": classifier.predict(judges.emotion, faces, crop=judges.crop).logits}
    if isinstance(judges.distance, Inception):
        found["features"] = inception_features(judges.distance, levels)
    elif judges.distance is not None:
        found["features"] = distance_network.pooled_features(judges.distance, levels)
    if judges.attributes is not None:
        found["attributes"] = judges.attributes(_whole(faces, judges.attributes))
    return found


def _whole(faces: jax.Array, model: EmotionNet) -> jax.Array:
    """Return whole pictures [-1, 1] as a network takes them."""
    return classifier.preprocess(faces, model.config.size, crop="full")
