"""Convert a published pSp or e4e encoder to the psp part of a bundle.

    emojax convert psp psp_ffhq_encode.pt --name ffhq
    emojax convert psp e4e_ffhq_encode.pt --name ffhq-e4e

The file's own decoder becomes the bundle's generator where there is none yet; where there is one,
the two must be equal. Nothing in a file is executed. `python -m convert.psp` does the same, but not
in a folder that has a convert.py of its own.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from convert import stylegan, systems
from convert.irse import TRUNK, flattened
from convert.options import Options as Common
from convert.reader import schema
from convert.report import file_source, save
from convert.rules import COUNTER, Ignored, Rule, apply, conv, expected, linear, norm
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store.bundle import Bundle
from emojax.store.parts import GENERATOR, PSP, STYLEGAN2, Part

if TYPE_CHECKING:
    from emojax.models import psp
    from emojax.models.psp import Architecture, EncoderConfig
    from emojax.models.stylegan2 import GeneratorConfig
    from emojax.store.weights import Array

OtherGenerator = Literal["refuse", "keep", "replace"]

ARCHITECTURES: "dict[str, Architecture]" = {
    "GradualStyleEncoder": "gradual",
    "Encoder4Editing": "e4e",
    "BackboneEncoderUsingLastLayerIntoW": "w",
    "BackboneEncoderUsingLastLayerIntoWPlus": "w_plus",
}
"""`opts.encoder_type` of the files, and our name of the architecture."""

IGNORED = [Ignored(r".*\.num_batches_tracked", COUNTER)]


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Flags of the command."""

    other_generator: OtherGenerator = "refuse"
    """What to do if the file's decoder is not the bundle's generator: refuse, keep the bundle's, or
    replace it."""


HEADS = [
    Rule(r"head\.lateral(\d)\.kernel", r"latlayer\1.weight", conv),
    Rule(r"head\.lateral(\d)\.bias", r"latlayer\1.bias"),
    *(
        rule
        for step in range(6)
        for rule in (
            Rule(
                rf"head\.heads\.(\d+)\.convs\.{step}\.kernel",
                rf"styles.\1.convs.{2 * step}.weight",
                conv,
            ),
            Rule(
                rf"head\.heads\.(\d+)\.convs\.{step}\.bias",
                rf"styles.\1.convs.{2 * step}.bias",
            ),
        )
    ),
    Rule(r"head\.heads\.(\d+)\.linear\.weight", r"styles.\1.linear.weight", linear),
    Rule(r"head\.heads\.(\d+)\.linear\.bias", r"styles.\1.linear.bias"),
    *norm(r"head\.norm", "output_layer_2.0"),
    Rule(r"head\.linear1\.kernel", "output_layer_2.3.weight", flattened, lambda s: s[::-1]),
    Rule(r"head\.linear1\.bias", "output_layer_2.3.bias"),
    Rule(r"head\.linear2?\.weight", "linear.weight", linear),
    Rule(r"head\.linear2?\.bias", "linear.bias"),
]

RULES = [*TRUNK, *HEADS, Rule("latent_avg", "latent_avg")]


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder, saved = options.folder, checked(systems.load(options.file, "psp"), options.file)
    colours = schema.option(saved.options, "input_nc", int, 3)
    if saved.encoder_type not in ARCHITECTURES or colours != 3:
        raise UserError(
            f"{options.file} holds a {saved.encoder_type:.60} of {colours} input channels: "
            f"wanted {', '.join(ARCHITECTURES)} of 3"
        )
    encoder = encoder_of(saved, generator_config(saved, options.bundle).n_latent)
    save_encoder(folder, PSP, options.file, encoder, settle_generator(options, saved))


class Encoder(NamedTuple):
    """A converted encoder.

    Attributes:
        layout: published name of its architecture.
        config: its dimensions.
        table: its weights.
        ignored: {key: reason} of the tensors left out.
    """

    layout: str
    config: "EncoderConfig"
    table: "dict[str, Array]"
    ignored: dict[str, str]


def encoder_of(saved: "Saved", n_styles: int) -> Encoder:
    """Convert the encoder of a file whose architecture is one of `ARCHITECTURES`.

    Raises:
        UserError: see `convert`.
    """
    added = schema.option(saved.options, "start_from_latent_avg", (bool, int), False)
    mean = saved.latent_avg if added else None
    found = convert(saved.tensors, ARCHITECTURES[saved.encoder_type], n_styles, mean)
    return Encoder(saved.encoder_type, *found)


def save_encoder(
    folder: Path,
    part: "Part[psp.Encoder, EncoderConfig]",
    file: Path,
    encoder: Encoder,
    generator: str,
) -> None:
    """Write an encoder as a part of a bundle whose generator has this hash."""
    source = file_source(file, encoder.layout, "encoder.* of state_dict", encoder.ignored)
    source["generator_sha256"] = generator
    facts = {"codes": str(encoder.config.n_styles), "generator": f"sha256 {generator}"}
    save(folder, part, encoder.config, encoder.table, source, **facts)


def convert(
    state: Mapping[str, np.ndarray],
    architecture: "Architecture",
    n_styles: int,
    latent_avg: np.ndarray | None,
) -> "tuple[EncoderConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of an encoder.

    Args:
        state: the file's state dict; only `encoder.*` is read.
        architecture: see `emojax.models.psp.EncoderConfig`.
        n_styles: codes that the generator takes.
        latent_avg: [L,D] or [1,D], added to the encoder's output; None where nothing is.

    Raises:
        UserError: tensors are missing, unknown or misshapen; all are named.
    """
    source = stylegan.part_of(state, "encoder.")
    rows = 0
    if latent_avg is not None:
        source["latent_avg"], rows = latent_avg, len(latent_avg)
        if rows not in (1, n_styles):
            raise UserError(f"latent_avg has {rows} rows: wanted 1 or the generator's {n_styles}")
    config = PSP.config_class()(architecture, n_styles=n_styles, average_rows=rows)
    table, ignored = apply(RULES, IGNORED, expected(PSP, config), source)
    return config, table, ignored


class Saved(NamedTuple):
    """A file of the pSp family, its parts of the types that they should have.

    Attributes:
        file: its path.
        tensors: the state dict.
        options: training options.
        encoder_type: published name of the architecture, "" where none is stored.
        latent_avg: mean codes as rows [n, D], or None.
        contents: all that was loaded.
    """

    file: Path
    tensors: dict[str, np.ndarray]
    options: Mapping[str, Any]
    encoder_type: str
    latent_avg: np.ndarray | None
    contents: Mapping[str, Any]

    @property
    def decoder(self) -> stylegan.Found | None:
        """The file's own generator."""
        if any(name.startswith("decoder.") for name in self.tensors):
            return stylegan.find(self.contents, self.file)
        return None


def checked(contents: Any, file: Path) -> Saved:
    """Return a loaded file of the pSp family, its parts checked by type.

    Raises:
        UserError: the file is no checkpoint of the pSp family, or a part is of another type.
    """
    held = contents if isinstance(contents, Mapping) else {}
    options = schema.attributes(held.get("opts"))
    if not options or not isinstance(held.get("state_dict"), Mapping):
        inside = ", ".join(map(repr, list(held)[:8])) or f"a {type(contents).__name__}"
        raise UserError(
            f"{file} holds {inside:.100}: wanted a file of pSp, e4e, HyperStyle or HFGI with "
            "state_dict and opts"
        )
    tensors = schema.table(held["state_dict"], f"state_dict of {file}")
    encoder_type = schema.option(options, "encoder_type", str, "")
    mean = schema.code(held.get("latent_avg"), str(file))
    return Saved(file, tensors, options, encoder_type, mean, held)


def generator_config(saved: Saved, bundle: Bundle) -> "GeneratorConfig":
    """Return the config of the file's decoder, or without one of the bundle's generator.

    Raises:
        UserError: there is neither.
    """
    if found := saved.decoder:
        return stylegan.config_of(found)
    return bundle.config(STYLEGAN2)


def settle_generator(options: Options, saved: Saved) -> str:
    """Make sure that a file's decoder is the bundle's generator, and return the latter's hash.

    The decoder is written where the bundle has no generator. Where it has one, all tensors must be
    equal; the mean latent may differ, since files of this family do not keep it with the decoder.

    Raises:
        UserError: they are different generators and `--other-generator` is "refuse", or there is
            neither.
    """
    bundle, file, other = options.bundle, options.file, options.other_generator
    if (found := saved.decoder) is None:
        return bundle.sha256(GENERATOR)
    if bundle.has(GENERATOR):
        if other == "keep" or stylegan.is_stored(found, bundle):
            return bundle.sha256(GENERATOR)
        if other == "refuse":
            raise UserError(
                f"the decoder in {file} is not the generator of {bundle}: choose another --name, "
                "or --other-generator replace (take the file's) or keep (the bundle's)"
            )
    config, table, ignored, origin = stylegan.convert(found)
    source = file_source(file, found.layout, found.where, ignored)
    source["mean_latent"] = {"from": origin}
    facts = {"resolution": f"{config.size}²"}
    return save(options.folder, GENERATOR, config, table, source, **facts)["weights_sha256"]


if __name__ == "__main__":
    cli(main)
