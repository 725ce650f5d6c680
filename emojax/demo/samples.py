"""The sample pictures of the demo's bundle, and the file that names its ground truth."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from emojax.demo import batches
from emojax.demo.drawing.factors import with_emotion
from emojax.demo.photos import to_pixels
from emojax.evaluation import ground_truth
from emojax.faces import images
from emojax.runtime.files import replacing

SHOWN = {"source": (13, "neutral"), "target": (11, "happiness")}
"""Number and emotion of the person in each sample picture."""


def write(bundle: Path, resolution: int) -> None:
    """Write `samples/source.png` and `samples/target.png`, and `world.json`, into a bundle.

    Args:
        bundle: folder of the bundle.
        resolution: side of the pictures.
    """
    (bundle / "samples").mkdir(exist_ok=True)
    for name, (number, emotion) in SHOWN.items():
        images.write(bundle / "samples" / f"{name}.png", photo(number, emotion, resolution))
    named = {name: f"emojax.demo.truth:{name}" for name in (ground_truth.SOURCES, "drawings")}
    with replacing(bundle / ground_truth.FILE) as file:
        file.write_text(json.dumps(named) + "\n")


def photo(number: int, emotion: str, resolution: int) -> np.ndarray:
    """Draw a person of the photo domain with an emotion; uint8 [R, R, 3], no JPEG."""
    people, camera = jax.random.split(jax.random.fold_in(jax.random.key(0), number))
    face = jax.tree.map(lambda a: a[0], batches.photo_faces(people, count=1))
    faces = jax.tree.map(lambda a: jnp.asarray(a)[None], with_emotion(face, emotion))
    return to_pixels(batches.photographed(camera, batches.draw(faces, resolution))[0])
