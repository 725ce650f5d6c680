"""Convert a published ProgressiveGAN generator to the generator of a bundle.

    emojax convert pggan pggan_celebahq1024.pth --name pggan
    emojax convert pggan celebaHQ_s6_i80000-6196db68.pth --name pggan256

Takes genforce's files (generator_smooth) and those of pytorch_GAN_zoo (avgG). Nothing in a file is
executed. `python -m convert.pggan` does the same, but not in a folder that has a convert.py of its
own.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from convert import systems
from convert.generators import GROWN, LOWER, PICTURES, check_sizes, sizes
from convert.options import Options
from convert.reader import schema
from convert.report import file_source, save
from convert.rules import Ignored, Rule, apply, conv, expected
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store.parts import PGGAN

if TYPE_CHECKING:
    from emojax.models.pggan import ProgressiveGANConfig, Variant
    from emojax.store.weights import Array

IGNORED: "dict[Variant, list[Ignored]]" = {
    "nvidia": [
        Ignored(r"output\d+\.(weight|bias)", LOWER),
        Ignored(r"lod", GROWN),
    ],
    "gan_zoo": [Ignored(r"toRGBLayers\.\d+\.module\.(weight|bias)", LOWER)],
}


class Found(NamedTuple):
    """A generator found in a file.

    Attributes:
        variant: whose key names and function it has.
        where: the part of the file that it comes from.
        tensors: the state dict.
    """

    variant: "Variant"
    where: str
    tensors: dict[str, np.ndarray]


def find(saved: Any, file: str | Path) -> Found:
    """Recognise the layout of a loaded file and return its generator.

    Raises:
        UserError: there is no ProgressiveGAN generator in it.
    """
    where, held = systems.nested(saved)
    tensors = schema.table(held, f"{where} of {file}")
    if "formatLayer.module.weight" in tensors:
        return Found("gan_zoo", where, tensors)
    if "layer0.weight" in tensors:
        return Found("nvidia", where, tensors)
    raise UserError(
        f"{file} holds no ProgressiveGAN generator: wanted generator_smooth (genforce) or avgG "
        "(pytorch_GAN_zoo)"
    )


def convert(
    found: Found,
) -> "tuple[ProgressiveGANConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason}.

    Raises:
        UserError: tensors are missing, unknown or misshapen; all are named.
    """
    config = config_of(found)
    wanted = expected(PGGAN, config)
    table, ignored = apply(rules(config), IGNORED[found.variant], wanted, found.tensors)
    return config, table, ignored


def config_of(found: Found) -> "ProgressiveGANConfig":
    """Return the config that a generator's tensors have by their shapes.

    Raises:
        UserError: the tensors are not those of such a generator.
    """
    tensors, channels = found.tensors, []
    while (bias := tensors.get(f"{_layer(found.variant, 2 * len(channels) + 1)}.bias")) is not None:
        channels.append(bias.size)
    first = tensors.get(f"{_layer(found.variant, 0)}.weight")
    if first is None or first.ndim < 2 or len(channels) < 2:
        raise UserError(f"{found.where} is not a ProgressiveGAN generator: it has too few layers")
    z_dim = int(first.shape[1])
    check_sizes(found.where, channels, z_dim, 0)
    return PGGAN.config_class()(tuple(map(int, channels)), found.variant, z_dim)


def _layer(variant: "Variant", index: int) -> str:
    """Return the published name of a layer; the first is 0, and each resolution has two."""
    if variant == "nvidia":
        return f"layer{index}"
    if index < 2:
        return "groupScale0.0.module" if index else "formatLayer.module"
    block, half = divmod(index - 2, 2)
    return f"scaleLayers.{block}.{half}.module"


def rules(config: "ProgressiveGANConfig") -> list[Rule]:
    """Return the conversion table."""
    variant, zoo = config.variant, config.variant == "gan_zoo"
    first, target = _layer(variant, 0), r"synthesis\.first"
    table = [
        Rule(rf"{target}\.weight", f"{first}.weight", _turned, lambda s: (s[3], *s[:3])),
        Rule(rf"{target}\.bias", f"{first}.bias"),
    ]
    if zoo:
        table = [
            Rule(rf"{target}\.weight", f"{first}.weight", _pixels, lambda s: (16 * s[3], s[0])),
            Rule(rf"{target}\.bias", f"{first}.bias", _pixels_of_bias, lambda s: (16 * s[2],)),
        ]
    for i in range(2 * len(config.channels) - 1):
        layer, target = _layer(variant, i + 1), rf"synthesis\.convs\.{i}"
        table.append(Rule(rf"{target}\.weight", f"{layer}.weight", conv))
        table.append(Rule(rf"{target}\.bias", f"{layer}.bias"))
    for i, resolution in enumerate(range(len(config.channels) - 2, len(config.channels))):
        layer = f"toRGBLayers.{resolution}.module" if zoo else f"output{resolution}"
        table.append(Rule(rf"synthesis\.to_rgbs\.{i}\.weight", f"{layer}.weight", conv))
        table.append(Rule(rf"synthesis\.to_rgbs\.{i}\.bias", f"{layer}.bias"))
    return table


def _turned(kernel: np.ndarray) -> np.ndarray:
    """4x4 convolution [out, in, 4, 4] of one padded pixel to the linear layer [in, 4, 4, out]."""
    return kernel[:, :, ::-1, ::-1].transpose(1, 2, 3, 0)


def _pixels(weight: np.ndarray) -> np.ndarray:
    """Weight [out·16, in] of a linear layer to [in, 4, 4, out]."""
    return weight.reshape(-1, 4, 4, weight.shape[1]).transpose(3, 1, 2, 0)


def _pixels_of_bias(bias: np.ndarray) -> np.ndarray:
    """Bias [out·16] of a linear layer to [4, 4, out]."""
    return bias.reshape(-1, 4, 4).transpose(1, 2, 0)


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder = options.folder
    found = find(systems.load(options.file, "pggan"), options.file)
    config, table, ignored = convert(found)
    layout = {"nvidia": "genforce", "gan_zoo": "pytorch_GAN_zoo"}[found.variant]
    source = file_source(options.file, layout, found.where, ignored) | PICTURES
    save(folder, PGGAN, config, table, source, **sizes(config))


if __name__ == "__main__":
    cli(main)
