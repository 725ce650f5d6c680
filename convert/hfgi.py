"""Convert HFGI's published file to the hfgi and hfgi_encoder parts of a bundle.

    emojax convert hfgi ckpt.pt --name ffhq

The file's own decoder becomes the bundle's generator where there is none yet; where there is one,
the two must be equal. Nothing in a file is executed. `python -m convert.hfgi` does the same, but
not in a folder that has a convert.py of its own.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from convert import psp, systems
from convert.irse import stem, units
from convert.psp import Options
from convert.report import file_source, save
from convert.rules import Rule, apply, conv, expected
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store.parts import HFGI, HFGI_ENCODER

if TYPE_CHECKING:
    from emojax.models.hfgi import HFGIConfig
    from emojax.models.stylegan2 import GeneratorConfig
    from emojax.store.weights import Array

PREFIXES = ("residue.", "grid_align.")
"""Beginnings of the names of the two networks' tensors: consultation encoder and aligner."""

STAGES = {
    r"aligner\.down(\d)": r"grid_align.conv_layer\1",
    r"aligner\.up(\d)": r"grid_align.dconv_layer\1",
    r"consultation\.down(\d)": r"residue.conv_layer\1",
}

RULES = [
    *stem(r"aligner\.stem", "grid_align.conv_layer1"),
    *stem(r"consultation\.stem", "residue.conv_layer1"),
    *(rule for ours, theirs in STAGES.items() for rule in units(rf"{ours}\.(\d)", rf"{theirs}.\2")),
    *(
        rule
        for ours, theirs in (("conv1", 0), ("conv2", 2))
        for rule in (
            Rule(
                rf"consultation\.(scale|shift)\.{ours}\.weight",
                rf"residue.condition_\g<1>3.{theirs}.weight",
                conv,
            ),
            Rule(
                rf"consultation\.(scale|shift)\.{ours}\.bias",
                rf"residue.condition_\g<1>3.{theirs}.bias",
            ),
        )
    ),
]


def main(options: Options) -> None:
    """Convert one file and print a summary of each part."""
    folder, file = options.folder, options.file
    saved = psp.checked(systems.load(file, "hfgi"), file)
    if saved.encoder_type != "Encoder4Editing":
        raise UserError(
            f"{file} holds a {saved.encoder_type:.60}: wanted HFGI's file with an Encoder4Editing"
        )
    generator_config = psp.generator_config(saved, options.bundle)
    encoder = psp.encoder_of(saved, generator_config.n_latent)
    config, table, ignored = convert(saved.tensors, generator_config)
    generator = psp.settle_generator(options, saved)
    psp.save_encoder(folder, HFGI_ENCODER, file, encoder, generator)
    source = file_source(file, "HFGI", "residue.* and grid_align.* of state_dict", ignored)
    source["generator_sha256"] = generator
    facts = {"fused at": f"{config.resolution // 4}²", "generator": f"sha256 {generator}"}
    save(folder, HFGI, config, table, source, **facts)


def convert(
    state: Mapping[str, np.ndarray], generator: "GeneratorConfig"
) -> "tuple[HFGIConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of aligner and consultation encoder.

    Args:
        state: the file's state dict; only `residue.*` and `grid_align.*` are read.
        generator: config of the generator whose features they change.

    Raises:
        UserError: tensors are missing, unknown or misshapen (all are named), or the generator draws
            smaller pictures than the networks take.
    """
    source = {name: array for name, array in state.items() if name.startswith(PREFIXES)}
    config = HFGI.config_class()()
    if generator.size < config.resolution:
        raise UserError(
            f"HFGI's networks take pictures of {config.resolution}², the generator draws "
            f"{generator.size}²: wanted the generator in HFGI's own file"
        )
    fused = generator.channels[config.fused // 2 + 1]
    config = HFGI.config_class()(channels=fused)
    table, ignored = apply(RULES, psp.IGNORED, expected(HFGI, config), source)
    return config, table, ignored


if __name__ == "__main__":
    cli(main)
