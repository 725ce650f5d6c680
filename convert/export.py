"""Write a part of a bundle as a .safetensors file under its published names.

    emojax export weights generator --bundle ffhq --out generator.safetensors
    emojax export weights psp --bundle ffhq --out psp.safetensors

What was trained or tuned here goes to other tools: the names, shapes and numbers are those of the
published PyTorch file. `emojax convert` takes networks of the published sizes back, bit for bit the
same; the embedded demo's encoders are smaller.

generator: rosinality's StyleGAN2, DualStyleGAN's authors' and others' too; StyleGAN, ProgressiveGAN
and DCGAN in the layout of the file they were converted from. psp, w_encoder, hyperstyle, hfgi,
dualstylegan_encoder: `state_dict` of the authors' file, with the bundle's generator as its
decoder.*, latent_avg, and their opts as JSON in the header. The others: the state dict. Counters of
training steps are 0. Tensors that conversion does not keep, such as Inception's last layer, are
named on the terminal and in the header. `python -m convert.export` does the same.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tyro

from convert.contents import CONTENTS, NEEDED, Contents, PartName, not_kept
from emojax.runtime.choices import DEFAULT_BUNDLE
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError, shortened
from emojax.runtime.files import make_folder, replacing, sha256
from emojax.runtime.progress import progress
from emojax.store import bundle, parts
from emojax.store.bundle import Bundle

NOT_WRITTEN = {
    "features": "is trained by emojax alone, so it has no published names",
    "attributes": "is trained by emojax alone, so it has no published names",
    "style_sampler": "has a file of two state dicts, and a .safetensors holds only one",
    "hfgi_encoder": "is in the same file as HFGI's other networks: export hfgi",
}
"""Parts that no file can be written of, and why."""

TYPES = {"float32": "F32", "int64": "I64"}
"""Names of dtypes in .safetensors."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of the command."""

    part: tyro.conf.Positional[
        PartName | Literal["features", "attributes", "style_sampler", "hfgi_encoder"]
    ]
    """The part to write; hfgi: with its encoder. The last four are not written: it says why."""
    bundle: str = DEFAULT_BUNDLE
    """Name or folder of a bundle."""
    out: Path | None = None
    """The file to write; default: PART.safetensors."""


def main(options: Options) -> None:
    """Write the file and print what it holds."""
    if options.part in NOT_WRITTEN:
        raise UserError(f"the part {options.part} {NOT_WRITTEN[options.part]}")
    place = bundle.find(options.bundle)
    out = options.out or Path(f"{options.part}.safetensors")
    if out.is_dir():
        raise UserError(f"--out is the folder {out}: wanted a file in it")
    place.check(*NEEDED.get(options.part, (parts.PARTS[options.part],)))
    with progress(f"exporting {options.part}"):
        held = _held(options.part, place)
        absent = not_kept(held, place.metadata(parts.PARTS[options.part]))
        make_folder(out.parent)
        write(out, held, absent)
    count = sum(array.size for array in held.tensors.values())
    print(f"{len(held.tensors)} tensors, {count:,} numbers: {out}")
    for names, reason in absent.items():
        print(f"without {names}, which conversion does not keep: {reason}")
    print(f"sha256 {sha256(out)}")


def _held(part: str, place: Bundle) -> Contents:
    try:
        return CONTENTS[part](place)
    except UserError:
        raise
    except (ValueError, LookupError) as error:
        raise UserError(
            f"the {part} of bundle {place} is not of the published form, which its layout "
            f"is for ({shortened(error, 100)}): export another part"
        ) from error


def write(file: Path, held: Contents, absent: Mapping[str, str]) -> None:
    """Write a .safetensors file, aside and then renamed.

    Args:
        file: to write or replace.
        held: what it holds.
        absent: see `not_kept`.

    Raises:
        UserError: the file cannot be written.
    """
    about = {"format": "pt"}
    if held.options is not None:
        about["opts"] = json.dumps(held.options)
    if absent:
        about["not_kept"] = json.dumps(absent)
    header: dict[str, Any] = {"__metadata__": about}
    end = 0
    for name, array in held.tensors.items():
        start, end = end, end + array.nbytes
        entry = {"dtype": TYPES[array.dtype.name], "shape": list(array.shape)}
        header[name] = entry | {"data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(file) as aside, aside.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for array in held.tensors.values():
            stream.write(array.tobytes())


if __name__ == "__main__":
    cli(main)
