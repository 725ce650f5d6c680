"""Convert published files, any of them in any order, to one bundle.

    emojax convert stylegan2-ffhq-config-f.pt psp_ffhq_encode.pt --name ffhq
    emojax convert ~/Downloads/*.pt --name ffhq

Each file is recognised by what is in it, whatever its name: StyleGAN2 and the generators before it,
pSp or e4e, HyperStyle and its W encoder, HFGI, DualStyleGAN, HSEmotion, the Inception of FID,
ArcFace, the networks of LPIPS. All are looked at before anything is written. Nothing in a file is
executed. DualStyleGAN's encoder is laid out as pSp's and taken for one: give that to 'emojax
convert dualstylegan'. `emojax convert KIND FILE` converts one kind and has more flags; `emojax
convert` lists the kinds. `python -m convert.file_set` does the same.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from convert import (
    arcface,
    dcgan,
    dualstylegan,
    emotion,
    hfgi,
    hyperstyle,
    inception,
    lpips,
    pggan,
    psp,
    stylegan,
    stylegan1,
    systems,
)
from convert.options import SeveralFiles, destination
from convert.psp import OtherGenerator
from convert.systems import HYPERSTYLE, W_ENCODER, System
from emojax.runtime.cli import cli
from emojax.runtime.errors import LONGEST, UserError, shortened
from emojax.runtime.progress import progress
from emojax.store import bundle

log = logging.getLogger(__name__)

EXAMPLES = {"hyperstyle": "hyperstyle_ffhq.pt", "w_encoder": "faces_w_encoder.pt"}
"""Published names of the two files that need each other."""


GENERATORS: dict[str | None, Any] = {
    "stylegan": stylegan,
    "stylegan1": stylegan1,
    "pggan": pggan,
    "dcgan": dcgan,
}
"""Converters of generators, by name."""

ALONE = {"emotion": emotion, "inception": inception, "identity": arcface} | dict.fromkeys(
    lpips.PARTS, lpips
)
"""Converters of parts that need no other part, by the name of the part."""


STYLE_PARTS = ("dualstylegan", "style_sampler", "styles")
"""What DualStyleGAN's converter makes of files that tell it from others."""


@dataclasses.dataclass(frozen=True)
class Options(SeveralFiles):
    """Flags of the command."""

    other_generator: OtherGenerator = "refuse"
    """What to do if an encoder's decoder is not the bundle's generator: refuse, keep the bundle's,
    or replace it."""


def main(options: Options) -> None:
    """Convert the files and print a summary of each."""
    if not options.files:
        raise UserError("no file given: wanted published files, such as psp_ffhq_encode.pt")
    target = Target(options.name, options.checkpoints, options.other_generator)
    found = {}
    with progress("recognising", len(options.files), "files") as shown:
        for file in options.files:
            found[file] = system_of(file)
            shown.advance()
    convert(found, target)
    print(f"use it  --bundle {bundle.name_of(target.folder)}")


@dataclasses.dataclass(frozen=True)
class Target:
    """The bundle that files are converted into.

    Attributes:
        name: of the bundle.
        checkpoints: folder that holds it; None: see `emojax.store.bundle.destination`.
        other_generator: see `convert.psp.Options`.
    """

    name: str
    checkpoints: Path | None = None
    other_generator: OtherGenerator = "refuse"

    @property
    def folder(self) -> Path:
        """Folder of the bundle.

        Raises:
            UserError: the name is that of the embedded bundle.
        """
        return destination(self.name, self.checkpoints)

    @property
    def bundle(self) -> bundle.Bundle:
        """The bundle as it is; a new one has no parts."""
        return bundle.look_up(self.name if self.checkpoints is None else self.folder.absolute())


def system_of(file: Path) -> System:
    """Return the system of a file that can become a part of a bundle.

    Raises:
        UserError: it cannot be read, or is no such file; says what it holds.
    """
    system = systems.system_in(file)
    if system is None:
        raise UserError(
            f"{file} holds no network that is known here: wanted published files of StyleGAN2, "
            "StyleGAN, ProgressiveGAN, DCGAN, pSp, e4e, HyperStyle, HFGI, DualStyleGAN, HSEmotion, "
            "FID's Inception, ArcFace or LPIPS"
        )
    if not system.parts:
        raise UserError(f"{file} holds {system.about}: {systems.remedy(system)}")
    return system


def convert(found: Mapping[Path, System], target: Target) -> None:
    """Convert files whose systems are known, generator first, and print a summary of each.

    Raises:
        UserError: two files hold the same part, HyperStyle's two files are not both there, or a
            converter refuses one. The first two are noticed before anything is written.
    """
    for step in steps(by_part(found), target):
        step.run()


def by_part(found: Mapping[Path, System]) -> dict[str, Path]:
    """Return the file of each part.

    Raises:
        UserError: see `convert`.
    """
    chosen: dict[str, Path] = {}
    hyperstyle_whole = {"hyperstyle", "w_encoder"} <= {p for s in found.values() for p in s.parts}
    for file, system in found.items():
        # of two published forms of HyperStyle's W encoder, one is also a pSp encoder
        stands_in = system is systems.PSP_W and HYPERSTYLE in found.values()
        parts = W_ENCODER.parts if stands_in and not hyperstyle_whole else system.parts
        for part in parts:
            if part in chosen:
                raise UserError(
                    f"{chosen[part]} and {file} are both for the part {part}: give one of them"
                )
            chosen[part] = file
    if ("hyperstyle" in chosen) != ("w_encoder" in chosen):
        here, other = (
            ("hyperstyle", W_ENCODER) if "hyperstyle" in chosen else ("w_encoder", HYPERSTYLE)
        )
        raise UserError(
            f"{chosen[here]} is of no use without {other.about}: give that file too, such as "
            f"{EXAMPLES[other.parts[0]]}"
        )
    return chosen


class Step(NamedTuple):
    """One conversion.

    Attributes:
        files: that it reads.
        convert: does it, and prints a summary.
    """

    files: tuple[Path, ...]
    convert: Callable[[], None]

    def run(self) -> None:
        """Do it, and say so before and after."""
        log.info("converting %s", shortened(", ".join(file.name for file in self.files), LONGEST))
        self.convert()
        print(flush=True)


def steps(chosen: Mapping[str, Path], target: Target) -> Iterator[Step]:
    """Yield the conversions of files by part, each after those that it needs."""
    common = {"name": target.name, "checkpoints": target.checkpoints}
    encoder = {**common, "other_generator": target.other_generator}
    if file := chosen.get("generator"):
        converter = GENERATORS[system_of(file).converter]
        yield Step((file,), partial(converter.main, converter.Options(file, **common)))
    if file := chosen.get("psp"):
        yield Step((file,), partial(psp.main, psp.Options(file, **encoder)))
    if file := chosen.get("hyperstyle"):
        other = chosen["w_encoder"]
        both = hyperstyle.Options(file, **encoder, w_encoder=other)
        yield Step((file, other), partial(hyperstyle.main, both))
    if file := chosen.get("hfgi"):
        yield Step((file,), partial(hfgi.main, hfgi.Options(file, **encoder)))
    if files := tuple(chosen[part] for part in STYLE_PARTS if part in chosen):
        yield Step(files, partial(dualstylegan.main, dualstylegan.Options(files, **common)))
    for part, converter in ALONE.items():
        if file := chosen.get(part):
            yield Step((file,), partial(converter.main, converter.Options(file, **common)))


if __name__ == "__main__":
    cli(main)
