"""Write a film of a drawn face whose pose and light move: a sample for `emojax video`.

    python -m emojax.demo.film --out face.mp4
    python -m emojax.demo.film --out friend.mp4 --person 5 --emotion surprise --rises

The face is drawn frame by frame, with a camera's noise and a soft tone as sound; where it is, and
how the same film looks with another expression, is known (`emojax.demo.scene`).
"""

import dataclasses
from pathlib import Path

from emojax.film import writing
from emojax.runtime.choices import EMOTIONS
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.progress import progress


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.demo.film`."""

    out: Path
    """File to write: .mp4, .mov, .mkv, .gif or .webp."""
    seconds: float = 4.0
    """Length of the film."""
    person: int = 13
    """Number of the person."""
    emotion: str = "neutral"
    """The expression."""
    rises: bool = False
    """Let the expression rise from neutral and fall again, every two seconds."""
    width: int = 320
    """Of the frames, in pixels, 64 to 1024; the height is three quarters of it."""
    rate: int = 25
    """Frames a second."""


def main(options: Options) -> None:
    """Draw and write the film."""
    writing.check_name(options.out)
    if options.emotion not in EMOTIONS:
        raise UserError(f"--emotion is {options.emotion!r}, wanted one of {', '.join(EMOTIONS)}")
    if not 64 <= options.width <= 1024:
        raise UserError(f"--width is {options.width}, wanted 64 to 1024")
    if options.rate < 1 or not 1 <= options.seconds * options.rate <= 100_000:
        raise UserError(
            f"--seconds {options.seconds:g} at --rate {options.rate} is no film: wanted 1 to "
            "100,000 frames"
        )
    count = round(options.seconds * options.rate)
    with progress("drawing", count, "frames") as shown:
        from emojax.demo.scene import Scene, write

        scene = Scene(
            person=options.person,
            emotion=options.emotion,
            rises=options.rises,
            width=options.width,
            height=options.width * 3 // 4,
            rate=options.rate,
        )
        write(scene, count, options.out, advance=shown.advance)
    print(f"{count} frames: {options.out}")


if __name__ == "__main__":
    cli(main)
