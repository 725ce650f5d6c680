"""Accuracy of the demo's networks, measured against ground truth on held-out faces."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax.demo import batches
from emojax.demo.drawing.expressions import ACTION_UNITS, EMOTIONS
from emojax.demo.photos import JPEG_QUALITY, jpeg, to_pixels
from emojax.demo.training.generator import psnr
from emojax.latents import arithmetic, directions, inversion
from emojax.latents.directions import Directions
from emojax.models.efficientnet import EmotionNet
from emojax.models.stylegan2 import Generator
from emojax.nn.pooling import area_mean
from emojax.runtime.choices import InverterName
from emojax.runtime.progress import progress
from emojax.scoring import classifier
from emojax.store.bundle import Bundle
from emojax.store.parts import ATTRIBUTES, EMOTION, STYLEGAN2
from emojax.training.feature_losses import edges

SEED = 1_000_003
"""Of the held-out faces; training uses seeds from the user's own upwards."""
STEPS = (5.0, 10.0, 20.0, 40.0)
"""Steps k along the directions that are tried."""
INVERTERS: tuple[InverterName, ...] = ("psp", "hyperstyle")
BATCH = 20
"""Faces at a time."""
MARGIN = 0.1
"""Of an attribute's normal range, on either side: 99 of 100 faces of a generator are then in it."""


def measure(bundle: Bundle, samples: int) -> dict[str, Any]:
    """Return the measured numbers by name: PSNR in dB, shares between 0 and 1.

    Args:
        bundle: with all parts.
        samples: held-out faces for each number, a multiple of `BATCH`.
    """
    generator, emotion = bundle.load(STYLEGAN2), bundle.load(EMOTION)
    found: dict[str, Any] = {}
    found |= _generator(generator, emotion, samples)
    found["classifier_on_drawn"] = _classifier(emotion, generator.config.size, samples)
    for name in INVERTERS:
        inverter = inversion.load(bundle, name)
        found[f"{name}_psnr_on_photos"] = _inverter(inverter, samples)
    ways = directions.load(bundle, bundle.sha256(STYLEGAN2))
    attributes = bundle.load(ATTRIBUTES)
    found["directions"] = _directions(ways, generator, attributes, samples)
    found["faces_at_range_ends"] = _faces_at_range_ends(ways, generator, attributes, samples)
    return found


def _generator(generator: Generator, emotion: EmotionNet, samples: int) -> dict[str, Any]:
    """Return the generator's PSNR and sharpness, the classifier's accuracy on it, and its emotions.

    Sharpness is the gradient energy of its pictures by that of the drawings of the same latents. A
    face counts as showing an emotion whose weight is above 0.6.
    """
    draw = jax.jit(lambda model, z: model(z))
    errors, right, counted, shown = [], 0, 0, np.zeros(len(EMOTIONS))
    energy = np.zeros(2)
    for key in _keys(0, samples, "generator"):
        z = batches.latents(key, count=BATCH)
        faces = batches.faces_of(z)
        pictures = draw(generator, z).clip(-1, 1)
        truth = batches.draw(faces, generator.config.size)
        errors.append(float(psnr(jnp.square(pictures - truth))))
        energy += [float(edges(pictures)), float(edges(truth))]
        found = classifier.classify(emotion, np.asarray(pictures)).probabilities.argmax(-1)
        wanted = batches.dominant(faces)
        counted += (wanted >= 0).sum()
        right += (found == wanted).sum()
        shown += np.bincount(found, minlength=len(EMOTIONS))
    shares = (shown / shown.sum()).round(4).tolist()
    return {
        "generator_psnr": float(np.mean(errors)),
        "generator_sharpness": float(energy[0] / energy[1]),
        "classifier_on_generated": float(right / counted),
        "generated_emotions": dict(zip(EMOTIONS, shares, strict=True)),
    }


def _classifier(emotion: EmotionNet, side: int, samples: int) -> float:
    """Return the classifier's accuracy on drawn faces whose emotions are balanced."""
    right = counted = 0
    for key in _keys(1, samples, "classifier"):
        faces = batches.balanced(key, count=BATCH)
        pictures = np.asarray(batches.draw(faces, side))
        found = classifier.classify(emotion, pictures).probabilities.argmax(-1)
        wanted = batches.dominant(faces)
        counted += (wanted >= 0).sum()
        right += (found == wanted).sum()
    return float(right / counted)


def _inverter(inverter: inversion.Inverter, samples: int) -> float:
    """Return the PSNR in dB of an inverter's reconstructions of the photo domain, at full size."""
    errors = []
    for number, key in enumerate(_keys(2, samples, inverter.method)):
        photos = photos_of(key, number, inverter.generator.config.size)
        found = inversion.invert(inverter, area_mean(photos, inverter.resolution), batch=BATCH)
        again = inversion.synthesize(inverter, found, batch=BATCH).clip(-1, 1)
        errors.append(float(psnr(jnp.square(again - photos))))
    return float(np.mean(errors))


def photos_of(key: jax.Array, number: int, side: int) -> np.ndarray:
    """Return a batch of the photo domain, JPEG included: [20, R, R, 3] in [-1, 1]."""
    people, camera = jax.random.split(key)
    faces = batches.photo_faces(people, count=BATCH)
    pixels = to_pixels(batches.photographed(camera, batches.draw(faces, side)))
    quality = np.random.default_rng((SEED, number)).integers(*JPEG_QUALITY, size=BATCH)
    through = [jpeg(each, int(q)) for each, q in zip(pixels, quality, strict=True)]
    return np.stack(through).astype(np.float32) / 127.5 - 1


def _directions(
    found: Directions, generator: Generator, attributes: EmotionNet, samples: int
) -> dict[str, dict[str, float]]:
    """Return how often each direction changes the action units in the right way, and at which k.

    The action units are the attribute regressor's predictions. Right is a positive inner product
    with the difference to the same person's with that emotion at full intensity. Only faces in
    which the emotion's weight is below 0.5 count. Each emotion has the step that is right most
    often.
    """
    right, counted = np.zeros((len(EMOTIONS), len(STEPS))), np.zeros((len(EMOTIONS), 1))
    count = max(1, samples // BATCH // 10)  # 32 edits a face
    for key in _keys(3, count * BATCH, "directions"):
        z = batches.latents(key, count=BATCH)
        faces, codes = batches.faces_of(z), _codes_of(generator, z)
        before = _action_units(generator, attributes, codes)
        for e, emotion in enumerate(EMOTIONS):
            asked = faces.emotion[:, e] < 0.5
            counted[e] += asked.sum()
            way = batches.with_emotion(faces, emotion).action_units - before
            for s, moved in enumerate(_edits(codes, found, emotion)):
                change = _action_units(generator, attributes, moved) - before
                right[e, s] += np.sum(asked & (jnp.sum(change * way, (1, 2)) > 0))
    right /= counted
    return {
        emotion: {"right": round(float(right[e].max()), 4), "k": STEPS[right[e].argmax()]}
        for e, emotion in enumerate(EMOTIONS)
    }


def _edits(codes: jax.Array, found: Directions, emotion: str) -> Iterator[jax.Array]:
    """Yield codes [N, L, D] moved along a direction by each of `STEPS`."""
    for step in STEPS:
        yield arithmetic.edit(codes, found, {emotion: step})


def _faces_at_range_ends(
    found: Directions, generator: Generator, attributes: EmotionNet, samples: int
) -> dict[str, float | list[float]]:
    """Return the share of faces that look like faces at the ends of the usable ranges.

    A picture looks like a face where every attribute that the regressor predicts of it lies in its
    normal range: between the smallest and the largest that it predicts of drawings with balanced
    emotions, wider by `MARGIN`.

    Returns:
        By emotion: shares at the lower and the upper end. "unmoved": share of the same faces before
        the edit. "all": mean over all ends.
    """
    low, high = np.inf, -np.inf
    for key in _keys(4, samples, "normal ranges"):
        drawn = batches.draw(batches.balanced(key, count=BATCH), generator.config.size)
        read = np.asarray(_attributes(attributes, drawn))
        low, high = np.minimum(low, read.min(0)), np.maximum(high, read.max(0))
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)

    def share(codes: jax.Array) -> float:
        read = np.asarray(_attributes_of_codes(generator, attributes, codes))
        return float(((read >= low) & (read <= high)).all(1).mean())

    count = max(1, samples // BATCH // 10)  # 16 edits a face
    unmoved, ends = 0.0, np.zeros((len(EMOTIONS), 2))
    for key in _keys(5, count * BATCH, "ends of ranges"):
        codes = _codes_of(generator, batches.latents(key, count=BATCH))
        unmoved += share(codes)
        for e, emotion in enumerate(EMOTIONS):
            for side, k in enumerate(found.usable_range(emotion)):
                ends[e, side] += share(arithmetic.edit(codes, found, {emotion: k}))
    ends = ends / count
    shares = dict(zip(EMOTIONS, ends.round(4).tolist(), strict=True))
    return {"unmoved": round(unmoved / count, 4), "all": round(float(ends.mean()), 4), **shares}


@jax.jit
def _codes_of(generator: Generator, z: jax.Array) -> jax.Array:
    """Return the codes [N, L, D] of latents."""
    return generator.w_plus(generator.mapping(z))


@jax.jit
def _attributes(attributes: EmotionNet, pictures: jax.Array) -> jax.Array:
    """Predict the attributes [N, A] of pictures [N, R, R, 3] in [-1, 1]."""
    x = classifier.preprocess(pictures, attributes.config.size, crop="full", as_uint8=False)
    return attributes(x)


@jax.jit
def _attributes_of_codes(
    generator: Generator, attributes: EmotionNet, codes: jax.Array
) -> jax.Array:
    """Predict the attributes [N, A] of the pictures of codes [N, L, D]."""
    return _attributes(attributes, generator.synthesis(codes).clip(-1, 1))


def _action_units(generator: Generator, attributes: EmotionNet, codes: jax.Array) -> np.ndarray:
    """Predict the action units [N, 16, 2] of the pictures of codes [N, L, D]."""
    read = _attributes_of_codes(generator, attributes, codes)[:, -2 * len(ACTION_UNITS) :]
    return np.asarray(read).reshape(len(codes), len(ACTION_UNITS), 2)


def _keys(part: int, samples: int, doing: str) -> Iterator[jax.Array]:
    """Yield the key of each batch of a measurement, and show progress."""
    with progress(f"measuring {doing}", samples, "faces") as shown:
        for key in jax.random.split(jax.random.key(SEED + part), samples // BATCH):
            yield key
            shown.advance(BATCH)
