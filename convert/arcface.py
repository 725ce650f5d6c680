"""Convert ArcFace's IR-SE-50 to the identity part of a bundle.

    emojax convert arcface model_ir_se50.pth --name ffhq

Nothing in a file is executed. `python -m convert.arcface` does the same, but not in a folder that
has a convert.py of its own.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from convert import systems
from convert.irse import TRUNK, flattened
from convert.options import Options
from convert.reader import checkpoint_file, schema
from convert.report import file_source, save
from convert.rules import COUNTER, Ignored, Rule, apply, expected, norm
from emojax.runtime.cli import cli
from emojax.store.parts import IDENTITY

if TYPE_CHECKING:
    from emojax.models.arcface import ArcFaceConfig
    from emojax.store.weights import Array

RULES = [
    *TRUNK,
    *norm("norm1", "output_layer.0"),
    Rule(r"linear\.kernel", "output_layer.3.weight", flattened, lambda s: s[::-1]),
    Rule(r"linear\.bias", "output_layer.3.bias"),
    *norm("norm2", "output_layer.4"),
]
IGNORED = [Ignored(r".*\.num_batches_tracked", COUNTER)]


def convert(
    source: Mapping[str, np.ndarray],
) -> "tuple[ArcFaceConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of a published state dict.

    Raises:
        UserError: the tensors are not this network's; lists them.
    """
    config = IDENTITY.config_class()()
    table, left = apply(RULES, IGNORED, expected(IDENTITY, config), source)
    return config, table, left


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder = options.folder
    state = schema.table(
        checkpoint_file.state_dict(systems.load(options.file, "arcface")), str(options.file)
    )
    config, table, ignored = convert(state)
    source = file_source(options.file, "InsightFace_Pytorch", "the whole network", ignored)
    save(folder, IDENTITY, config, table, source, features=str(config.features))


if __name__ == "__main__":
    cli(main)
