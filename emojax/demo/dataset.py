"""Write a data set of drawn faces with known emotions, for TFDS, without TensorFlow.

    python -m emojax.demo.dataset --data-dir data
    python -m emojax.demo.dataset --data-dir data --domain photo --resolution 128 --train 5000

Each example has an image, its strongest emotion (label), emotion weights and action units. It is
read with `tfds.builder("drawn_faces/NAME", data_dir=...)` after importing emojax.demo.drawn_faces.
"""

import dataclasses
from pathlib import Path
from typing import Literal

from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.demo.dataset`."""

    data_dir: Path
    """Folder of TFDS data sets."""
    domain: Literal["generator", "photo"] = "generator"
    """generator: plain drawings, as the demo's generator is trained on. photo: other light and
    poses, hats, earrings, noise and JPEG, for evaluation."""
    resolution: int = 64
    """Side of the pictures in pixels."""
    train: int = 20_000
    """Faces of the split "train"."""
    test: int = 2_000
    """Faces of the split "test"."""


def main(options: Options) -> None:
    """Write the data set unless it is there."""
    for name in ("resolution", "train", "test"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} is {getattr(options, name)}, wanted 1 or more")
    from emojax.demo.drawn_faces import prepare

    builder = prepare(**dataclasses.asdict(options))
    print(f"{builder.info.full_name}: {builder.data_path}")


if __name__ == "__main__":
    cli(main)
