"""Draw contact sheets of the demo world's faces."""

import dataclasses
import logging
import sys
from pathlib import Path

import tyro

from emojax.demo.contact_sheets import write_sheets
from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Config:
    """Draw contact sheets of the demo world.

    Example: python -m emojax.demo.faces --out sheets --resolution 128
    """

    out: Path
    """Folder for emotions.png, identities.png, zoom.png and photos.png."""
    resolution: int = 128
    """Side of a picture in pixels, 16 to 1024."""
    seed: int = 0
    """Whose faces."""


def main(config: Config) -> None:
    """Write the sheets and name them."""
    if not 16 <= config.resolution <= 1024:
        raise UserError(f"resolution {config.resolution} is not between 16 and 1024; choose 128")
    for file in write_sheets(config.out, config.resolution, config.seed):
        logging.getLogger(__name__).info("wrote %s", file)


if __name__ == "__main__":
    sys.exit(run_command(lambda: main(tyro.cli(Config))))
