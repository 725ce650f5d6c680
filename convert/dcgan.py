"""Convert a DCGAN generator of 64² to the generator of a bundle.

    emojax convert dcgan netG_epoch_24.pth --name dcgan

Takes the files that pytorch/examples `dcgan/main.py` writes. Nothing in a file is executed.
`python -m convert.dcgan` does the same, but not in a folder that has a convert.py of its own.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from convert import systems
from convert.generators import PICTURES, check_sizes, sizes
from convert.options import Options
from convert.reader import schema
from convert.report import file_source, save
from convert.rules import COUNTER, Ignored, Rule, apply, expected, norm, transposed_conv
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store.parts import DCGAN

if TYPE_CHECKING:
    from emojax.models.dcgan import DCGANConfig
    from emojax.store.weights import Array

BLOCKS = 4
"""Layers with batch normalisation: 4² to 32²."""

RULES = [
    *(
        Rule(rf"synthesis\.kernels\.{i}", f"main.{3 * i}.weight", transposed_conv)
        for i in range(BLOCKS + 1)
    ),
    *(rule for i in range(BLOCKS) for rule in norm(rf"synthesis\.norms\.{i}", f"main.{3 * i + 1}")),
]
IGNORED = [Ignored(r"main\.\d+\.num_batches_tracked", COUNTER)]


def convert(
    source: Mapping[str, np.ndarray],
) -> "tuple[DCGANConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of a state dict.

    Raises:
        UserError: tensors are missing, unknown or misshapen; all are named.
    """
    config = config_of(source)
    table, ignored = apply(RULES, IGNORED, expected(DCGAN, config), source)
    return config, table, ignored


def config_of(source: Mapping[str, np.ndarray]) -> "DCGANConfig":
    """Return the config that the shapes of a state dict tell.

    Raises:
        UserError: it is no such generator.
    """
    kernels = [source.get(f"main.{3 * i}.weight") for i in range(BLOCKS)]
    found = [kernel for kernel in kernels if kernel is not None and kernel.ndim == 4]
    if len(found) < BLOCKS:
        raise UserError("the state dict is not a DCGAN generator of 64²: it has too few layers")
    z_dim, channels = int(found[0].shape[0]), tuple(int(kernel.shape[1]) for kernel in found)
    check_sizes("the state dict", channels, z_dim, 0)
    return DCGAN.config_class()(channels, z_dim)


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder = options.folder
    saved = systems.load(options.file, "dcgan")
    config, table, ignored = convert(schema.table(saved, str(options.file)))
    source = file_source(options.file, "pytorch/examples", "the state dict", ignored) | PICTURES
    save(folder, DCGAN, config, table, source, **sizes(config))


if __name__ == "__main__":
    cli(main)
