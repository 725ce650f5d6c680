"""The drawn faces as TFDS data sets, written and read without TensorFlow.

from emojax.demo.dataset import prepare
source = prepare("data", world="photo", resolution=64).as_data_source("test")
source[0]["image"], source[0]["emotion"]
"""

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from emojax.demo.drawing.expressions import ACTION_UNITS, EMOTIONS
from emojax.demo.drawing.factors import Params, params, sample
from emojax.demo.drawing.render import render_batch
from emojax.demo.photos import JPEG_QUALITY, jpeg, photo_params, photograph
from emojax.runtime.errors import UserError

WORLDS: Final = ("generator", "photo")
_BATCH = 16
_SEEDS = {"train": 1, "test": 2}


@dataclasses.dataclass(kw_only=True)  # TFDS's own base is not frozen, so this cannot be
class FacesConfig(tfds.core.BuilderConfig):
    """One of the two worlds at one resolution.

    Attributes:
        world: "generator" (what generators learn from) or "photo" (what inverters are tried on).
        resolution: side of the pictures in pixels.
        train, test: number of faces in the splits.
    """

    world: str = "generator"
    resolution: int = 64
    train: int = 20_000
    test: int = 2_000


class DrawnFaces(tfds.core.GeneratorBasedBuilder):
    """Drawn faces with known emotions and action units."""

    # TFDS 4.9.10 finds this itself only with importlib_resources, which it does not ask for
    code_path = tfds.core.Path(__file__)
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: Final = {"1.0.0": "First release."}
    BUILDER_CONFIGS: Final = [
        FacesConfig(name=f"{world}_{resolution}", world=world, resolution=resolution)
        for world in WORLDS
        for resolution in (64, 128)
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        side = self.builder_config.resolution
        features = {
            "image": tfds.features.Image(shape=(side, side, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=EMOTIONS),
            "emotion": tfds.features.Tensor(shape=(len(EMOTIONS),), dtype=np.float32),
            "action_units": tfds.features.Tensor(shape=(len(ACTION_UNITS), 2), dtype=np.float32),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager  # nothing to download
        return {split: self._generate_examples(split) for split in _SEEDS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.builder_config
        photo = config.world == "photo"
        people = jax.jit(jax.vmap(_photo_face if photo else _generator_face, (None, 0)))
        take = jax.jit(jax.vmap(_photo, (None, 0, 0)))
        key = jax.random.key(_SEEDS[split])
        count = getattr(config, split)
        for start in range(0, count, _BATCH):
            ids = np.arange(start, start + _BATCH, dtype=np.uint32)
            faces = people(key, ids)
            pictures = render_batch(faces, resolution=config.resolution)
            pictures = np.asarray(take(key, ids, pictures) if photo else pictures)
            faces = jax.device_get(faces)
            for i in range(min(_BATCH, count - start)):
                pixels = np.round(127.5 * (pictures[i] + 1)).astype(np.uint8)
                if photo:
                    quality = np.random.default_rng((_SEEDS[split], start + i)).integers
                    pixels = jpeg(pixels, int(quality(*JPEG_QUALITY)))
                yield (
                    start + i,
                    {
                        "image": _png(pixels),
                        "label": int(faces.emotion[i].argmax()),
                        "emotion": faces.emotion[i],
                        "action_units": faces.action_units[i],
                    },
                )


def _png(pixels: np.ndarray) -> io.BytesIO:
    """Encode a picture ourselves: TFDS encodes arrays with TensorFlow, and takes files as is."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    file.seek(0)
    return file


def _generator_face(key: jax.Array, sample_id: jax.Array) -> Params:
    return params(sample(jax.random.fold_in(key, sample_id)))


def _photo_face(key: jax.Array, sample_id: jax.Array) -> Params:
    return photo_params(jax.random.fold_in(key, sample_id))


def _photo(key: jax.Array, sample_id: jax.Array, picture: jax.Array) -> jax.Array:
    camera = jax.random.fold_in(jax.random.fold_in(key, sample_id), 1)
    return photograph(camera, picture)


def prepare(
    data_dir: str | Path,
    *,
    world: str = "generator",
    resolution: int = 64,
    train: int = 20_000,
    test: int = 2_000,
) -> DrawnFaces:
    """Write a data set unless it is there, and return its builder, ready for `as_data_source`.

    Args:
        data_dir: folder of TFDS data sets.
        world: one of `WORLDS`.
        resolution: side of the pictures in pixels.
        train, test: number of faces in the splits.

    Raises:
        UserError: unknown world, or a size below one.
    """
    if world not in WORLDS:
        raise UserError(f"unknown world {world!r}; choose one of {', '.join(WORLDS)}")
    if min(resolution, train, test) < 1:
        raise UserError(
            f"resolution {resolution}, train {train} and test {test} must be at least 1; "
            "choose positive sizes"
        )
    name = f"{world}_{resolution}_{train}_{test}"
    config = FacesConfig(name=name, world=world, resolution=resolution, train=train, test=test)
    builder = DrawnFaces(data_dir=str(data_dir), config=config, file_format="array_record")
    builder.download_and_prepare()
    return builder
