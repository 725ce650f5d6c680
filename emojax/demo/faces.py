"""Draw contact sheets of the demo's faces.

    python -m emojax.demo.faces --out sheets
    python -m emojax.demo.faces --out sheets --resolution 128 --seed 1

Writes emotions.png (six people with each emotion), identities.png, zoom.png (one person, larger)
and photos.png (the photo domain: other light and poses, hats, noise).
"""

import dataclasses
import logging
from pathlib import Path

from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.demo.faces`."""

    out: Path
    """Folder for the four sheets."""
    resolution: int = 128
    """Side of a picture in pixels, 16 to 1024."""
    seed: int = 0
    """Of the people."""


def main(options: Options) -> None:
    """Write the sheets and print their names."""
    if not 16 <= options.resolution <= 1024:
        raise UserError(f"--resolution is {options.resolution}, wanted 16 to 1024")
    from emojax.demo.contact_sheets import write_sheets

    for file in write_sheets(options.out, options.resolution, options.seed):
        logging.getLogger(__name__).info("wrote %s", file)


if __name__ == "__main__":
    cli(main)
