"""Drawn faces as TFDS data sets, written and read without TensorFlow.

    from emojax.demo.drawn_faces import prepare
    source = prepare("data", domain="photo", resolution=64).as_data_source("test")
    source[0]["image"], source[0]["emotion"]

`python -m emojax.demo.dataset` does the first step.
"""

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from emojax.demo import truth
from emojax.demo.drawing.expressions import ACTION_UNITS, EMOTIONS
from emojax.runtime.errors import UserError

Domain = Literal["generator", "photo"]
"""generator: plain drawings, what generators are trained on; photo: see `emojax.demo.photos`."""

_DRAWN_AT_ONCE = 16
_SEEDS = {"train": 1, "test": 2}


@dataclasses.dataclass(kw_only=True)  # TFDS's own base is not frozen, so this cannot be
class DrawnFacesConfig(tfds.core.BuilderConfig):
    """One of the two domains at one resolution.

    Attributes:
        domain: "generator" or "photo".
        resolution: side of the pictures in pixels.
        train: number of faces in the split "train".
        test: number of faces in the split "test".
    """

    domain: Domain = "generator"
    resolution: int = 64
    train: int = 20_000
    test: int = 2_000


class DrawnFaces(tfds.core.GeneratorBasedBuilder):
    """Drawn faces with known emotions and action units."""

    # TFDS 4.9.10 finds this itself only with importlib_resources, which it does not ask for
    code_path = tfds.core.Path(__file__)
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012, TFDS's own annotation
    BUILDER_CONFIGS: Final = [
        DrawnFacesConfig(name=f"{domain}_{resolution}", domain=domain, resolution=resolution)
        for domain in get_args(Domain)
        for resolution in (64, 128)
    ]

    @property
    def config(self) -> DrawnFacesConfig:
        """The chosen config."""
        return cast(DrawnFacesConfig, self.builder_config)

    def _info(self) -> tfds.core.DatasetInfo:
        side = self.config.resolution
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
        config, count = self.config, getattr(self.config, split)
        made = truth.sources if config.domain == "photo" else truth.drawings
        people = made(config.resolution, _SEEDS[split])
        for start in range(0, count, _DRAWN_AT_ONCE):
            ids = range(start, min(start + _DRAWN_AT_ONCE, count))
            faces, pictures = people.draw(ids)
            for row, number in enumerate(ids):
                yield (
                    number,
                    {
                        "image": _png(pictures[row]),
                        "label": int(faces.emotion[row].argmax()),
                        "emotion": faces.emotion[row],
                        "action_units": faces.action_units[row],
                    },
                )


def _png(pixels: np.ndarray) -> io.BytesIO:
    """Encode a picture ourselves: TFDS encodes arrays with TensorFlow, but takes files as is."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    file.seek(0)
    return file


def prepare(
    data_dir: str | Path,
    *,
    domain: Domain = "generator",
    resolution: int = 64,
    train: int = 20_000,
    test: int = 2_000,
) -> DrawnFaces:
    """Write a data set unless it is there, and return its builder, ready for `as_data_source`.

    Args:
        data_dir: folder of TFDS data sets.
        domain: which faces.
        resolution: side of the pictures in pixels.
        train: number of faces in the split "train".
        test: number of faces in the split "test".

    Raises:
        UserError: unknown domain, or a number below one.
    """
    if domain not in get_args(Domain):
        raise UserError(f"domain is {domain!r}, wanted one of {', '.join(get_args(Domain))}")
    if min(resolution, train, test) < 1:
        raise UserError(
            f"resolution {resolution}, train {train} and test {test} must be at least 1: "
            "choose positive numbers"
        )
    name = f"{domain}_{resolution}_{train}_{test}"
    config = DrawnFacesConfig(
        name=name, domain=domain, resolution=resolution, train=train, test=test
    )
    builder = DrawnFaces(data_dir=str(data_dir), config=config, file_format="array_record")
    builder.download_and_prepare()
    return builder
