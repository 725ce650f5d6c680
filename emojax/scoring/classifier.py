"""Facial emotion recognition: pictures to emotion probabilities.

Source: av-savchenko/hsemotion `facial_emotions.py`, `HSEmotionRecognizer`: RGB face, Pillow
bilinear to the network's size whatever the aspect, /255, ImageNet mean and deviation.

`predict` and `probabilities` are pure, differentiable functions for use inside a larger jitted
program; `classify` takes NumPy pictures of any number.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emojax.faces import images
from emojax.models.efficientnet import DEVIATION, EIGHT, MEAN, SEVEN, EmotionConfig, EmotionNet
from emojax.nn.resize import resize
from emojax.runtime import xla_options
from emojax.runtime.batching import in_batches
from emojax.runtime.choices import Crop
from emojax.runtime.devices import mesh_for, over_samples
from emojax.runtime.errors import UserError

__all__ = [
    "EIGHT",
    "SEVEN",
    "Crop",
    "EmotionConfig",
    "EmotionNet",
    "Prediction",
    "classify",
    "index",
    "predict",
    "preprocess",
    "probabilities",
]

FACE = (35 / 256, 223 / 256, 32 / 256, 220 / 256)
"""Top, bottom, left, right of the face in an FFHQ-aligned picture: pSp's identity crop."""


class Prediction(NamedTuple):
    """Outputs of the classifier for B pictures.

    Attributes:
        logits: [B,K], in the order of the network's `config.classes`.
        probabilities: [B,K], softmax of the logits.
        features: [B,C], the pooled features before the last layer.
        valence_arousal: [B,2] for a `va_mtl` network, else None.
    """

    logits: jax.Array
    probabilities: jax.Array
    features: jax.Array
    valence_arousal: jax.Array | None

    @property
    def scores(self) -> jax.Array:
        """[B,S]: the probabilities, then valence and arousal, named as in `config.scores`."""
        return self._with_regressed(self.probabilities)

    @property
    def outputs(self) -> jax.Array:
        """[B,S]: the logits, then valence and arousal."""
        return self._with_regressed(self.logits)

    def _with_regressed(self, classes: jax.Array) -> jax.Array:
        if self.valence_arousal is None:
            return classes
        arrays = jnp if isinstance(classes, jax.Array) else np
        return arrays.concatenate([classes, self.valence_arousal], axis=-1)


def window(size: int | tuple[int, int], crop: Crop) -> tuple[int, int, int, int] | None:
    """Return top, bottom, left, right of what a crop keeps of a picture; None for all of it.

    Raises:
        UserError: there is no such crop.
    """
    if crop not in ("face", "full"):
        raise UserError(f"crop is {crop!r}, wanted 'face' or 'full'")
    if crop == "full":
        return None
    height, width = (size, size) if isinstance(size, int) else size
    top, bottom, left, right = FACE
    return round(top * height), round(bottom * height), round(left * width), round(right * width)


def preprocess(
    pictures: jax.Array, size: int, *, crop: Crop = "face", as_uint8: bool = True
) -> jax.Array:
    """Crop, resize and normalise pictures for the network.

    Args:
        pictures: [B,H,W,3] in [-1, 1]; values outside are clipped.
        size: side of the result.
        crop: "face" cuts [35:223, 32:220] of 256 out of an FFHQ-aligned picture of any size;
            "full" takes the picture as it is (already a face box).
        as_uint8: round to 8 bits where the original has an 8-bit picture: before resizing and after
            each of Pillow's two passes. False lets gradients pass.

    Returns:
        [B,size,size,3], normalised by ImageNet's mean and deviation.

    Raises:
        UserError: unknown crop.
    """
    levels = (jnp.clip(pictures, -1.0, 1.0).astype(jnp.float32) + 1.0) * 127.5
    levels = jnp.round(levels) if as_uint8 else levels
    height, width = pictures.shape[1:3]
    if box := window((height, width), crop):
        levels = levels[:, box[0] : box[1], box[2] : box[3]]
    return (resize(levels, size, size, "bilinear", as_uint8=as_uint8) / 255 - MEAN) / DEVIATION


def predict(
    model: EmotionNet, pictures: jax.Array, *, crop: Crop = "face", as_uint8: bool = True
) -> Prediction:
    """Return logits, probabilities and features of pictures [B,H,W,3] in [-1, 1].

    Args:
        model: the classifier.
        pictures: see `preprocess`, as are the options.
        crop: see `preprocess`.
        as_uint8: see `preprocess`.
    """
    config = model.config
    features = model.features(preprocess(pictures, config.size, crop=crop, as_uint8=as_uint8))
    outputs, count = model.classifier(features), len(config.classes)
    logits = outputs[:, :count]
    extra = outputs[:, count:] if config.valence_arousal else None
    return Prediction(logits, jax.nn.softmax(logits), features, extra)


def probabilities(
    model: EmotionNet, pictures: jax.Array, *, crop: Crop = "face", as_uint8: bool = True
) -> jax.Array:
    """Return the probabilities [B,K] of pictures [B,H,W,3] in [-1, 1]; see `predict`."""
    return predict(model, pictures, crop=crop, as_uint8=as_uint8).probabilities


def index(model: EmotionNet, emotion: str) -> int:
    """Return the number of an emotion among the network's classes; upper or lower case.

    Raises:
        UserError: it is none of them; the message lists them.
    """
    known = [name.lower() for name in model.config.classes]
    if emotion.lower() not in known:
        raise UserError(f"no emotion {emotion!r}: this network knows {', '.join(known)}")
    return known.index(emotion.lower())


def classify(
    model: EmotionNet,
    pictures: np.ndarray,
    *,
    crop: Crop = "face",
    batch: int | None = None,
    devices: int | None = None,
) -> Prediction:
    """Classify any number of pictures, in batches of one shape, split over the local devices.

    Args:
        model: the classifier.
        pictures: [N,H,W,3], uint8 or float in [-1, 1]; N may be 0.
        crop: see `preprocess`.
        batch: pictures at a time, on all devices together; by default 2 on CPUs (their activations
            stay in the cache) and 64 elsewhere.
        devices: most of the local devices to use; default: all.

    Returns:
        NumPy arrays with N rows.

    Raises:
        UserError: the pictures have another shape, type or range.
    """
    pictures = np.asarray(pictures)
    if pictures.dtype != np.uint8:  # 8-bit pictures are converted on the device
        pictures = images.as_float(pictures)
    if pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise UserError(f"pictures are {list(pictures.shape)}, wanted [N,H,W,3] of one size")
    batch = batch or (2 if jax.default_backend() == "cpu" else 64)
    mesh = mesh_for(batch, devices)
    run = _program(crop, mesh)
    if not len(pictures):
        none = np.zeros((mesh.size, *pictures.shape[1:]), pictures.dtype)
        none = jax.eval_shape(run, model, none)
        return jax.tree.map(lambda rows: np.zeros((0, *rows.shape[1:]), rows.dtype), none)
    return in_batches(lambda rows: run(model, rows), pictures, batch, multiple_of=mesh.size)


@functools.cache
def _program(crop: Crop, mesh: jax.sharding.Mesh) -> Callable[[EmotionNet, np.ndarray], Prediction]:
    def run(model: EmotionNet, pictures: jax.Array) -> Prediction:
        if pictures.dtype == jnp.uint8:
            pictures = pictures.astype(jnp.float32) / 127.5 - 1.0
        return predict(model, pictures, crop=crop)

    return over_samples(run, mesh, (False, True), compiler_options=xla_options.options(dense=False))
