"""Measure the accuracy of the demo's networks against ground truth, on held-out faces.

    python -m emojax.demo.report --samples 2000
    python -m emojax.demo.report --bundle /tmp/try --write

Prints a table. With --write the numbers are stored in the bundle as report.json.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import write_json
from emojax.store import bundle

BATCH = 20
"""--samples is a multiple of this."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.demo.report`."""

    bundle: str = bundle.DEFAULT
    """Name or folder of the bundle."""
    samples: int = 2000
    """Held-out faces for each number; a multiple of 20."""
    write: bool = False
    """Store the numbers in the bundle as report.json."""


def main(options: Options) -> None:
    """Measure all parts of the bundle and print a table."""
    if options.samples < BATCH or options.samples % BATCH:
        raise UserError(f"--samples is {options.samples}, wanted a multiple of {BATCH}")
    place = bundle.find(options.bundle)
    from emojax.demo import measurements

    found = measurements.measure(place, options.samples)
    print(table(found, options.samples))
    if options.write:
        write_json(
            bundle.destination(options.bundle) / "report.json",
            {"samples": options.samples, **found},
        )


def table(found: Mapping[str, Any], samples: int) -> str:
    """Return the numbers of `measurements.measure` as text for a terminal.

    Args:
        found: what `measure` returned.
        samples: held-out faces.
    """
    lines = [
        f"{samples:,} held-out faces",
        "",
        f"generator, PSNR to the drawing          {found['generator_psnr']:6.2f} dB",
        f"generator, gradient energy by drawings' {found['generator_sharpness']:6.1%}",
        f"pSp, PSNR on the photo domain           {found['psp_psnr_on_photos']:6.2f} dB",
        f"HyperStyle, PSNR on the photo domain    {found['hyperstyle_psnr_on_photos']:6.2f} dB",
        f"classifier, accuracy on drawn faces     {found['classifier_on_drawn']:6.1%}",
        f"classifier, accuracy on generated faces {found['classifier_on_generated']:6.1%}",
        "",
        f"{'emotion':<10} {'generated':>9}  {'direction right':>15}  {'at k':>4}  "
        f"{'faces at ends of range':>22}",
    ]
    ends = found["faces_at_range_ends"]
    for emotion, share in found["generated_emotions"].items():
        direction = found["directions"][emotion]
        lines.append(
            f"{emotion:<10} {share:>9.1%}  {direction['right']:>15.1%}  {direction['k']:>4g}  "
            f"{ends[emotion][0]:>14.1%} {ends[emotion][1]:>7.1%}"
        )
    lines += [
        "",
        "generated: share of the generator's faces that the classifier gives this emotion.",
        "direction right: share of faces in which an edit changes the predicted action units",
        "towards this person's own with that emotion, at the step k with the highest share.",
        "faces at ends of range: share of faces, moved to the lower and the upper end of a",
        "direction's usable range, whose attributes are all predicted within those of drawings;",
        f"{ends['all']:.1%} on average, {ends['unmoved']:.1%} of the same faces unmoved.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    cli(main)
