"""What a face expresses: pictures to emotion probabilities, as one differentiable array program.

Source: av-savchenko/hsemotion `facial_emotions.py`, `HSEmotionRecognizer`: RGB face, Pillow
bilinear to the network's size whatever the aspect, /255, ImageNet mean and deviation.

`judge` and `probabilities` are pure functions for use inside a larger jitted program; `classify`
takes NumPy pictures of any number.
"""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emojax.models.efficientnet import EIGHT, SEVEN, EmotionConfig, EmotionNet
from emojax.nn.resize import resize
from emojax.runtime import xla_options
from emojax.runtime.errors import UserError

__all__ = [
    "EIGHT",
    "SEVEN",
    "EmotionConfig",
    "EmotionNet",
    "Judgement",
    "classify",
    "index",
    "judge",
    "preprocess",
    "probabilities",
]

Crop = Literal["face", "full"]

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

FACE = (35 / 256, 223 / 256, 32 / 256, 220 / 256)
"""Top, bottom, left, right of the face in an FFHQ-aligned picture: pSp's identity crop."""


class Judgement(NamedTuple):
    """What the network says of B pictures.

    Attributes:
        logits: [B,K], in the order of the network's `config.classes`.
        probabilities: [B,K], softmax of the logits.
        features: [B,C], the pooled features before the classifier.
        valence_arousal: [B,2] for a `va_mtl` network, else None.
    """

    logits: jax.Array
    probabilities: jax.Array
    features: jax.Array
    valence_arousal: jax.Array | None


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
            each of Pillow's two passes. Turn it off for gradients.

    Returns:
        [B,size,size,3], normalised by ImageNet's mean and deviation.
    """
    levels = (jnp.clip(pictures, -1.0, 1.0).astype(jnp.float32) + 1.0) * 127.5
    levels = jnp.round(levels) if as_uint8 else levels
    height, width = pictures.shape[1:3]
    if box := window((height, width), crop):
        levels = levels[:, box[0] : box[1], box[2] : box[3]]
    return (resize(levels, size, size, "bilinear", as_uint8=as_uint8) / 255 - MEAN) / DEVIATION


def judge(
    model: EmotionNet, pictures: jax.Array, *, crop: Crop = "face", as_uint8: bool = True
) -> Judgement:
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
    return Judgement(logits, jax.nn.softmax(logits), features, extra)


def probabilities(
    model: EmotionNet, pictures: jax.Array, *, crop: Crop = "face", as_uint8: bool = True
) -> jax.Array:
    """Return the probabilities [B,K] of pictures [B,H,W,3] in [-1, 1]; see `judge`."""
    return judge(model, pictures, crop=crop, as_uint8=as_uint8).probabilities


def index(model: EmotionNet, emotion: str) -> int:
    """Return the place of an emotion among the network's classes, whatever its case.

    Raises:
        UserError: the network does not know it; lists those it knows.
    """
    known = [name.lower() for name in model.config.classes]
    if emotion.lower() not in known:
        raise UserError(f"no emotion {emotion!r}: this network knows {', '.join(known)}")
    return known.index(emotion.lower())


def classify(
    model: EmotionNet, pictures: np.ndarray, *, crop: Crop = "face", batch: int | None = None
) -> Judgement:
    """Judge any number of pictures, in padded batches of one shape so that XLA compiles once.

    Args:
        model: the classifier.
        pictures: [N,H,W,3], uint8 or float in [-1, 1]; N may be 0.
        crop: see `preprocess`.
        batch: pictures at a time; by default 2 on CPUs (their activations stay in the cache) and
            64 elsewhere.

    Returns:
        NumPy arrays with N rows.

    Raises:
        UserError: the pictures have another shape.
    """
    if pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise UserError(f"pictures are {list(pictures.shape)}, wanted [N,H,W,3] of one size")
    batch = batch or (2 if jax.default_backend() == "cpu" else 64)
    run, parts = _program(crop), []
    for start in range(0, max(len(pictures), 1), batch):
        part = pictures[start : start + batch]
        padded = np.pad(part, ((0, batch - len(part)), (0, 0), (0, 0), (0, 0)))
        result = run(model, padded)
        count = len(part)
        parts.append(jax.tree.map(lambda rows, n=count: np.asarray(rows)[:n], result))
    return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)


@functools.cache
def _program(crop: Crop) -> Callable[[EmotionNet, np.ndarray], Judgement]:
    def run(model: EmotionNet, pictures: jax.Array) -> Judgement:
        if pictures.dtype == jnp.uint8:
            pictures = pictures.astype(jnp.float32) / 127.5 - 1.0
        return judge(model, pictures, crop=crop)

    return jax.jit(run, compiler_options=xla_options.options(dense=False))
