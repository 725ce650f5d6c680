"""Convert the networks of LPIPS to parts of a bundle: a backbone, or the weights for one.

    emojax convert lpips alexnet-owt-7be5be79.pth --name ffhq
    emojax convert lpips alex.pth --name ffhq
    emojax convert lpips vgg16-397923af.pth --name ffhq
    emojax convert lpips vgg.pth --name ffhq

Backbones are torchvision's AlexNet and VGG16, weights those of LPIPS 0.1; each distance needs its
two files. Nothing in a file is executed. `python -m convert.lpips` does the same, but not in a
folder that has a convert.py of its own.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from convert import systems
from convert.options import Options
from convert.reader import checkpoint_file, schema
from convert.report import file_source, save
from convert.rules import Ignored, Rule, apply, conv, expected, flat
from emojax.runtime.cli import cli
from emojax.store.parts import ALEXNET, LPIPS_ALEXNET, LPIPS_VGG16, VGG16, Part

if TYPE_CHECKING:
    from emojax.models.lpips import Architecture
    from emojax.store.weights import Array

BACKBONES: "dict[Architecture, tuple[Part[Any, Any], Part[Any, Any]]]" = {
    "alexnet": (ALEXNET, LPIPS_ALEXNET),
    "vgg16": (VGG16, LPIPS_VGG16),
}
"""The part of each backbone, and that of its weights."""

PARTS = {part.name: part for pair in BACKBONES.values() for part in pair}
"""The parts that this converter makes, by name."""

WEIGHTS = [Rule(r"weights\.(\d+)", r"lin\1.model.1.weight", flat, lambda s: (1, *s, 1, 1))]
IGNORED = [
    Ignored(r"classifier\..*", "the 1000 classes play no part in LPIPS"),
    Ignored(r"lins\..*", "the same weights a second time"),
]


def convert(
    part: Part[Any, Any], source: Mapping[str, np.ndarray]
) -> "tuple[Any, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of a published state dict.

    Args:
        part: one of `PARTS`.
        source: the state dict.

    Raises:
        UserError: the tensors are not this network's; lists them.
    """
    config, rules = config_and_rules(part)
    table, left = apply(rules, IGNORED, expected(part, config), source)
    return config, table, left


def config_and_rules(part: Part[Any, Any]) -> tuple[Any, list[Rule]]:
    """Return the config and the conversion table of one of `PARTS`."""
    from emojax.models.lpips import LAYERS, BackboneConfig  # late: imports JAX

    backbones: dict[str, Architecture] = {
        each.name: name for name, pair in BACKBONES.items() for each in pair
    }
    architecture = backbones[part.name]
    config, rules = BackboneConfig(architecture), []
    for index, layer in enumerate(LAYERS[architecture]):
        key = f"features.{layer.number}"
        rules.append(Rule(rf"convs\.{index}\.kernel", f"{key}.weight", conv))
        rules.append(Rule(rf"convs\.{index}\.bias", f"{key}.bias"))
    if part in (LPIPS_ALEXNET, LPIPS_VGG16):
        return part.config_class()(config.taps), WEIGHTS
    return config, rules


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder = options.folder
    saved = systems.load(options.file, "lpips")
    part = PARTS[systems.needed(saved, "lpips", options.file).parts[0]]
    state = schema.table(checkpoint_file.state_dict(saved), str(options.file))
    config, table, ignored = convert(part, state)
    where = "the whole network" if part in (LPIPS_ALEXNET, LPIPS_VGG16) else "features.*"
    layout = "LPIPS 0.1" if part in (LPIPS_ALEXNET, LPIPS_VGG16) else "torchvision"
    source = file_source(options.file, layout, where, ignored)
    save(folder, part, config, table, source, holds=part.about)


if __name__ == "__main__":
    cli(main)
