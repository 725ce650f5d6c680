"""Measure the demo world's networks against the truth, on faces none of them has seen.

Prints the figures, and with --write keeps them in the bundle as report.json.

Example: python -m emojax.demo.report --samples 2000
"""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from emojax.demo import batches as world
from emojax.demo.drawing.expressions import ACTION_UNITS, EMOTIONS
from emojax.demo.photos import JPEG_QUALITY, jpeg
from emojax.demo.training.generator import psnr
from emojax.latents import arithmetic, directions, inversion
from emojax.models.efficientnet import EmotionNet
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing
from emojax.scoring import classifier as emotions
from emojax.store import bundle
from emojax.store.parts import ATTRIBUTES, EMOTION, GENERATOR

SEED = 1_000_003  # training draws from seeds counted up from the user's own
STEPS = (5.0, 10.0, 20.0, 40.0)
"""How far the directions are tried: the paper's k."""
_BATCH = 20


@dataclasses.dataclass(frozen=True)
class Options:
    """Which bundle, and how many faces."""

    bundle: str = bundle.DEFAULT
    """Name or folder of the bundle."""
    samples: int = 2000
    """Held-out faces for each figure; a multiple of 20."""
    write: bool = False
    """Keep the figures in the bundle as report.json."""


def main(options: Options) -> None:
    """Measure everything the bundle has the parts for, and print one line a figure."""
    if options.samples < _BATCH or options.samples % _BATCH:
        raise UserError(f"--samples is {options.samples}, wanted a multiple of {_BATCH}")
    found = bundle.find(options.bundle)
    figures = measure(found, options.samples)
    for name, value in figures.items():
        print(f"{name}: {value if isinstance(value, dict) else round(value, 4)}")
    if options.write:
        with replacing(bundle.destination(options.bundle) / "report.json") as file:
            file.write_text(json.dumps({"samples": options.samples, **figures}, indent=2) + "\n")


def measure(found: bundle.Bundle, samples: int) -> dict[str, Any]:
    """Return the figures by name: PSNR in dB, shares between 0 and 1.

    Args:
        found: the bundle.
        samples: held-out faces for each figure.
    """
    generator, classifier = found.load(GENERATOR), found.load(EMOTION)
    side = generator.config.size
    figures: dict[str, Any] = {}
    figures |= _generator(generator, classifier, samples)
    figures["classifier_on_drawn"] = _classifier(classifier, side, samples)
    for method in ("psp", "hyperstyle"):
        inverter = inversion.load(found, method)
        figures[f"{method}_psnr_on_photos"] = _inverter(inverter, samples)
    figures["directions"] = _directions(found, generator, samples)
    return figures


def _generator(generator: Any, classifier: EmotionNet, samples: int) -> dict[str, Any]:
    """How well the generator draws, how well its pictures are judged, and how often it shows what.

    Faces count as having an emotion where it weighs over .6 of the truth.
    """
    draw = jax.jit(lambda model, z: model(z))
    errors, right, counted, shown = [], 0, 0, np.zeros(len(EMOTIONS))
    for key in _keys(0, samples, "generator"):
        z = world.latents(key, count=_BATCH)
        faces = world.described(z)
        pictures = draw(generator, z)
        truth = world.draw(faces, generator.config.size)
        errors.append(float(psnr(jnp.square(pictures.clip(-1, 1) - truth))))
        found = emotions.classify(classifier, np.asarray(pictures)).probabilities.argmax(-1)
        wanted = world.dominant(faces)
        counted += (wanted >= 0).sum()
        right += (found == wanted).sum()
        shown += np.bincount(found, minlength=len(EMOTIONS))
    shares = (shown / shown.sum()).round(4).tolist()
    return {
        "generator_psnr": float(np.mean(errors)),
        "classifier_on_generated": float(right / counted),
        "generated_emotions": dict(zip(EMOTIONS, shares, strict=True)),
    }


def _classifier(classifier: EmotionNet, side: int, samples: int) -> float:
    """Share of drawn faces with a dominant emotion, all eight among them, that are told right."""
    right = counted = 0
    for key in _keys(1, samples, "classifier"):
        faces = world.balanced(key, count=_BATCH)
        pictures = np.asarray(world.draw(faces, side))
        found = emotions.classify(classifier, pictures).probabilities.argmax(-1)
        wanted = world.dominant(faces)
        counted += (wanted >= 0).sum()
        right += (found == wanted).sum()
    return float(right / counted)


def _inverter(inverter: inversion.Inverter, samples: int) -> float:
    """PSNR of reconstructions of the photo world, JPEG and all, in dB."""
    errors = []
    for i, key in enumerate(_keys(2, samples, inverter.method)):
        photos = photos_of(key, i, inverter.resolution)
        found = inversion.invert(inverter, photos, batch=_BATCH)
        again = inversion.synthesize(inverter, found, batch=_BATCH).clip(-1, 1)
        errors.append(float(psnr(jnp.square(again - photos))))
    return float(np.mean(errors))


def photos_of(key: jax.Array, number: int, side: int) -> np.ndarray:
    """Return 20 photos [20, R, R, 3] in [-1, 1] of the photo world, through the JPEG codec."""
    people, camera = jax.random.split(key)
    photos = world.photographed(camera, world.draw(world.strangers(people, count=_BATCH), side))
    pixels = np.round(127.5 * (np.asarray(photos) + 1)).astype(np.uint8)
    quality = np.random.default_rng((SEED, number)).integers(*JPEG_QUALITY, size=_BATCH)
    through = [jpeg(each, int(q)) for each, q in zip(pixels, quality, strict=True)]
    return np.stack(through).astype(np.float32) / 127.5 - 1


def _directions(place: bundle.Bundle, generator: Any, samples: int) -> dict[str, dict[str, float]]:
    """Share of faces in which a direction moves the judge's action units the right way.

    Right means: towards those of the same person with that emotion in full, habits and crooked
    smiles included. Along the emotion's EMFACS combination itself would ask of a smile that it
    grow on its way to contempt. Counted are faces that do not show the emotion yet: less than half
    of the truth. Each emotion at its best step.
    """
    found = directions.load(place, place.sha256(GENERATOR))
    judge = place.load(ATTRIBUTES)

    @jax.jit
    def units(generator: Any, judge: EmotionNet, codes: jax.Array) -> jax.Array:
        pictures = generator.synthesis(codes)
        x = emotions.preprocess(pictures, judge.config.size, crop="full", as_uint8=False)
        read = judge(x)[:, -2 * len(ACTION_UNITS) :]
        return read.reshape(len(codes), len(ACTION_UNITS), 2)

    codes_of = jax.jit(lambda model, z: model.w_plus(model.mapping(z)))
    right, counted = np.zeros((len(EMOTIONS), len(STEPS))), np.zeros((len(EMOTIONS), 1))
    batches = max(1, samples // _BATCH // 10)  # 32 edits a face
    for key in tqdm(jax.random.split(jax.random.key(SEED + 3), batches), desc="directions"):
        z = world.latents(key, count=_BATCH)
        faces, codes = world.described(z), codes_of(generator, z)
        before = units(generator, judge, codes)
        for e, emotion in enumerate(EMOTIONS):
            asked = faces.emotion[:, e] < 0.5
            counted[e] += asked.sum()
            way = world.with_emotion(faces, emotion).action_units - before
            for s, step in enumerate(STEPS):
                moved = arithmetic.edit(codes, found, {emotion: step})
                change = units(generator, judge, moved) - before
                right[e, s] += np.sum(asked & (jnp.sum(change * way, (1, 2)) > 0))
    right /= counted
    return {
        emotion: {"right": round(float(right[e].max()), 4), "k": STEPS[right[e].argmax()]}
        for e, emotion in enumerate(EMOTIONS)
    }


def _keys(part: int, samples: int, label: str) -> Iterator[jax.Array]:
    keys = jax.random.split(jax.random.key(SEED + part), samples // _BATCH)
    return iter(tqdm(keys, desc=label))


if __name__ == "__main__":
    cli(main)
