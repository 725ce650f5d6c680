"""Convert the Inception network of FID to the inception part of a bundle.

    emojax convert inception pt_inception-2015-12-05-6726825d.pth --name ffhq

Nothing in a file is executed. `python -m convert.inception` does the same, but not in a folder that
has a convert.py of its own.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from convert import systems
from convert.options import Options as Common
from convert.reader import checkpoint_file, schema
from convert.report import file_source, save
from convert.rules import COUNTER, Ignored, Rule, apply, conv, expected, norm
from emojax.runtime.cli import cli
from emojax.store.parts import INCEPTION

if TYPE_CHECKING:
    from emojax.models.inception import InceptionConfig
    from emojax.store.weights import Array


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Flags of the command."""

    normalisation: Literal["cleanfid", "pytorch-fid"] = "cleanfid"
    """Whose FID to reproduce; features differ by 0.6 %."""


LAYERS = [  # our name as a regular expression; the published name
    *(
        (rf"stem\.{i}", f"Conv2d_{name}")
        for i, name in enumerate(("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3"))
    ),
    *(
        (rf"blocks5\.{i}\.{ours}", f"Mixed_5{letter}.{theirs}")
        for i, letter in enumerate("bcd")
        for ours, theirs in [
            (r"branches\.0\.layers\.0", "branch1x1"),
            *((rf"branches\.1\.layers\.{j}", f"branch5x5_{j + 1}") for j in range(2)),
            *((rf"branches\.2\.layers\.{j}", f"branch3x3dbl_{j + 1}") for j in range(3)),
            ("pool", "branch_pool"),
        ]
    ),
    (r"reduction6\.ends\.0", "Mixed_6a.branch3x3"),
    *(
        (rf"reduction6\.branches\.1\.layers\.{j}", f"Mixed_6a.branch3x3dbl_{j + 1}")
        for j in range(2)
    ),
    (r"reduction6\.ends\.1", "Mixed_6a.branch3x3dbl_3"),
    *(
        (rf"blocks6\.{i}\.{ours}", f"Mixed_6{letter}.{theirs}")
        for i, letter in enumerate("bcde")
        for ours, theirs in [
            (r"branches\.0\.layers\.0", "branch1x1"),
            *((rf"branches\.1\.layers\.{j}", f"branch7x7_{j + 1}") for j in range(3)),
            *((rf"branches\.2\.layers\.{j}", f"branch7x7dbl_{j + 1}") for j in range(5)),
            ("pool", "branch_pool"),
        ]
    ),
    (r"reduction7\.branches\.0\.layers\.0", "Mixed_7a.branch3x3_1"),
    (r"reduction7\.ends\.0", "Mixed_7a.branch3x3_2"),
    *(
        (rf"reduction7\.branches\.1\.layers\.{j}", f"Mixed_7a.branch7x7x3_{j + 1}")
        for j in range(3)
    ),
    (r"reduction7\.ends\.1", "Mixed_7a.branch7x7x3_4"),
    *(
        (rf"blocks7\.{i}\.{ours}", f"Mixed_7{letter}.{theirs}")
        for i, letter in enumerate("bc")
        for ours, theirs in [
            ("single", "branch1x1"),
            (r"trunks\.0\.layers\.0", "branch3x3_1"),
            *((rf"trunks\.1\.layers\.{j}", f"branch3x3dbl_{j + 1}") for j in range(2)),
            (r"rows\.0", "branch3x3_2a"),
            (r"columns\.0", "branch3x3_2b"),
            (r"rows\.1", "branch3x3dbl_3a"),
            (r"columns\.1", "branch3x3dbl_3b"),
            ("pool", "branch_pool"),
        ]
    ),
]

RULES = [
    rule
    for ours, theirs in LAYERS
    for rule in [
        Rule(rf"{ours}\.kernel", f"{theirs}.conv.weight", conv),
        *norm(ours, f"{theirs}.bn"),
    ]
]
IGNORED = [
    Ignored(r".*\.num_batches_tracked", COUNTER),
    Ignored(r"fc\.(weight|bias)", "the 1008 classes play no part in FID"),
    Ignored(r"AuxLogits\..*", "the auxiliary head is for training"),
]


def convert(
    source: Mapping[str, np.ndarray], config: "InceptionConfig | None" = None
) -> "tuple[InceptionConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of a published state dict.

    Args:
        source: the state dict.
        config: whose FID to reproduce; default: clean-fid's.

    Raises:
        UserError: the tensors are not this network's; lists them.
    """
    config = config or INCEPTION.config_class()()
    table, left = apply(RULES, IGNORED, expected(INCEPTION, config), source)
    return config, table, left


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder = options.folder
    state = schema.table(
        checkpoint_file.state_dict(systems.load(options.file, "inception")), str(options.file)
    )
    wanted = INCEPTION.config_class()(options.normalisation)
    config, table, ignored = convert(state, wanted)
    source = file_source(options.file, "pytorch-fid", "the whole network", ignored)
    facts = {"normalisation": config.normalisation}
    save(folder, INCEPTION, config, table, source, **facts)


if __name__ == "__main__":
    cli(main)
