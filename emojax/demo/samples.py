"""The pictures a newcomer transfers between, and the note that the bundle's world is known."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from emojax.demo import batches
from emojax.demo.drawing.factors import with_emotion
from emojax.evaluation import ground_truth
from emojax.runtime.files import replacing

PEOPLE = {"source": (13, "neutral"), "target": (11, "happiness")}
"""Whom the sample pictures show, by number, and what they feel."""


def write(bundle: Path, resolution: int) -> None:
    """Write `samples/source.png` and `samples/target.png`, and `world.json`, into a bundle.

    Args:
        bundle: folder of the bundle.
        resolution: side of the pictures.
    """
    (bundle / "samples").mkdir(exist_ok=True)
    for name, (number, emotion) in PEOPLE.items():
        with replacing(bundle / "samples" / f"{name}.png") as file:
            Image.fromarray(portrait(number, emotion, resolution)).save(file)
    named = {name: f"emojax.demo.truth:{name}" for name in (ground_truth.SOURCES, "drawings")}
    with replacing(bundle / ground_truth.FILE) as file:
        file.write_text(json.dumps(named) + "\n")


def portrait(number: int, emotion: str, resolution: int) -> np.ndarray:
    """Photograph one person of the photo world with an emotion; uint8 [R, R, 3], no JPEG."""
    people, camera = jax.random.split(jax.random.fold_in(jax.random.key(0), number))
    face = jax.tree.map(lambda a: a[0], batches.strangers(people, count=1))
    faces = jax.tree.map(lambda a: jnp.asarray(a)[None], with_emotion(face, emotion))
    photo = batches.photographed(camera, batches.draw(faces, resolution))[0]
    return np.round(127.5 * (np.asarray(photo) + 1)).astype(np.uint8)
