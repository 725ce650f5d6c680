"""Convert published HyperStyle files to the hyperstyle and w_encoder parts of a bundle.

    emojax convert hyperstyle hyperstyle_ffhq.pt --w-encoder faces_w_encoder.pt --name ffhq

As in the original, decoder and mean latent are the HyperStyle file's; of the other file only the
encoder is used. Nothing in a file is executed. `python -m convert.hyperstyle` does the same, but
not in a folder that has a convert.py of its own.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convert import psp, stylegan, systems
from convert.reader import schema
from convert.report import file_source, save
from convert.rules import Rule, apply, conv, expected, linear, norm
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store.parts import HYPERSTYLE, STYLEGAN2, W_ENCODER

if TYPE_CHECKING:
    from emojax.models.hyperstyle import HypernetConfig
    from emojax.store.weights import Array

ENCODER_TYPE = "SharedWeightsHyperNetResNet"
W_ENCODER_TYPES = ("WEncoder", "SingleStyleCodeEncoder", "BackboneEncoderUsingLastLayerIntoW")
"""Published names of one architecture: trunk, mean over the picture, linear layer."""


BLOCK = re.compile(r"refinement_blocks\.(\d{1,3})\.")
"""Beginning of the names of a refined layer's tensors."""


@dataclasses.dataclass(frozen=True)
class Options(psp.Options):
    """Flags of the command."""

    w_encoder: Path = dataclasses.field(kw_only=True)
    """The file of HyperStyle's W encoder, such as faces_w_encoder.pt."""


def main(options: Options) -> None:
    """Convert both files and print summaries."""
    folder = options.folder
    saved = psp.checked(systems.load(options.file, "hyperstyle"), options.file)
    encoder = psp.checked(systems.load(options.w_encoder, "hyperstyle"), options.w_encoder)
    if saved.encoder_type != ENCODER_TYPE:
        raise UserError(
            f"{options.file} holds a {saved.encoder_type:.100}: wanted HyperStyle's {ENCODER_TYPE}"
        )
    if encoder.encoder_type not in W_ENCODER_TYPES:
        raise UserError(
            f"{options.w_encoder} holds a {encoder.encoder_type:.100}: wanted HyperStyle's W "
            "encoder, such as faces_w_encoder.pt"
        )
    if saved.latent_avg is None:
        raise UserError(f"{options.file} has no latent_avg: wanted the published HyperStyle file")
    generator_config = psp.generator_config(saved, options.bundle)
    n_styles = generator_config.n_latent
    layers = schema.option(saved.options, "layers_to_tune", str, "")
    config, table, ignored = convert(saved.tensors, layers, generator_config.channels)
    w_config, w_table, w_ignored = psp.convert(encoder.tensors, "w", n_styles, saved.latent_avg)
    generator = psp.settle_generator(options, saved)
    source = file_source(
        options.w_encoder, encoder.encoder_type, "encoder.* of state_dict", w_ignored
    )
    source["generator_sha256"] = generator
    save(folder, W_ENCODER, w_config, w_table, source, codes=str(n_styles))
    source = file_source(options.file, ENCODER_TYPE, "hypernet.* of state_dict", ignored)
    source["generator_sha256"] = generator
    facts = {"layers": ",".join(map(str, config.layers)), "generator": f"sha256 {generator}"}
    save(folder, HYPERSTYLE, config, table, source, **facts)


def convert(
    state: Mapping[str, np.ndarray], layers: str, channels: tuple[int, ...]
) -> "tuple[HypernetConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of a hypernetwork.

    Args:
        state: the file's state dict; only `hypernet.*` is read.
        layers: `layers_to_tune` as stored, "0,2,3,..."; empty: all the file has blocks for.
        channels: the generator's, from 4² up.

    Raises:
        UserError: layers that cannot be tuned, or tensors missing, unknown, misshapen or not
            shared where they must be.
    """
    source = stylegan.part_of(state, "hypernet.")
    if not layers:
        blocks = {int(found[1]) for key in source if (found := BLOCK.match(key))}
        layers = ",".join(map(str, sorted(blocks)))
    try:
        indices = tuple(int(layer) for layer in layers.split(","))
        n_deltas = STYLEGAN2.config_class()(channels).n_deltas
        config = HYPERSTYLE.config_class()(indices, n_deltas=n_deltas, channels=channels)
    except ValueError as error:
        raise UserError(f"layers_to_tune {layers!r:.200} cannot be refined: {error}") from error
    source, aliases = without_aliases(source)
    table, ignored = apply(rules(config), psp.IGNORED, expected(HYPERSTYLE, config), source)
    return config, table, {**ignored, **aliases}


def without_aliases(
    source: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Leave out the further names of shared tensors; each block that uses them lists them again.

    Raises:
        UserError: a tensor of that name is not the shared one.
    """
    kept, aliases = {}, {}
    for key, array in source.items():
        before, _, name = key.rpartition(".hypernet.")
        shared = source.get(f"shared_weight_hypernet.{name}")
        if not before or shared is None:
            kept[key] = array
        elif array is shared or np.shares_memory(array, shared) or np.array_equal(array, shared):
            aliases[key] = "another name of a shared tensor"
        else:
            raise UserError(
                f"{key:.200} differs from shared_weight_hypernet.{name:.200}: the file is damaged"
            )
    return kept, aliases


def shared_w1(array: np.ndarray) -> np.ndarray:
    """[C, in·3·3] to [C, 3, 3, in]."""
    return array.reshape(len(array), -1, 3, 3).transpose(0, 2, 3, 1)


def shared_b1(array: np.ndarray) -> np.ndarray:
    """[in·3·3] to [3, 3, in]."""
    return array.reshape(-1, 3, 3).transpose(1, 2, 0)


def flat_rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[C, ...] to [C, product of the others]."""
    return shape[0], math.prod(shape[1:])


def flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[...] to [product]."""
    return (math.prod(shape),)


def rules(config: "HypernetConfig") -> list[Rule]:
    """Return the table of a hypernetwork."""
    length = config.widths[-1]
    table = [
        Rule(r"conv\.kernel", "conv1.weight", conv),
        *norm("norm", "bn1"),
        Rule(r"prelu\.weight", "relu.weight"),
        Rule(r"body\.(\d+)\.conv(\d)\.kernel", r"body.\1.conv\2.weight", conv),
        *norm(r"body\.(\d+)\.norm(\d)", r"body.\1.bn\2"),
        Rule(r"body\.(\d+)\.shortcut\.conv\.kernel", r"body.\1.downsample.0.weight", conv),
        *norm(r"body\.(\d+)\.shortcut\.norm", r"body.\1.downsample.1"),
        Rule(r"shared\.w1", "shared_weight_hypernet.w1", shared_w1, flat_rows),
        Rule(r"shared\.b1", "shared_weight_hypernet.b1", shared_b1, flat),
        Rule(
            r"shared\.w2",
            "shared_weight_hypernet.w2",
            lambda a: a.reshape(length, -1, length),
            flat_rows,
        ),
        Rule(r"shared\.b2", "shared_weight_hypernet.b2", lambda a: a.reshape(-1, length), flat),
    ]
    for block, layer in enumerate(config.layers):
        table += block_rules(block, layer, config)
    return table


def block_rules(block: int, layer: int, config: "HypernetConfig") -> list[Rule]:
    """Return the lines of one refined layer, block `block` of the network."""
    inputs, outputs = config.kernel(layer)

    def kernel(array: np.ndarray) -> np.ndarray:
        return array.reshape(outputs, inputs, -1).transpose(2, 1, 0).reshape(-1, inputs * outputs)

    def bias(array: np.ndarray) -> np.ndarray:
        return array.reshape(outputs, inputs).T.reshape(-1)

    def published(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (inputs * outputs, shape[0], 1, 1)

    ours, theirs = rf"blocks\.{block}", f"refinement_blocks.{layer}"
    table = [
        Rule(rf"{ours}\.output\.kernel", f"{theirs}.output.1.weight", kernel, published),
        Rule(rf"{ours}\.output\.bias", f"{theirs}.output.1.bias", bias, flat),
        Rule(rf"{ours}\.linear\.weight", f"{theirs}.linear.weight", linear),
        Rule(rf"{ours}\.linear\.bias", f"{theirs}.linear.bias"),
    ]
    for step in range(5):
        source = f"{theirs}.convs.{2 * step}"
        table += [
            Rule(rf"{ours}\.convs\.{step}\.kernel", f"{source}.weight", conv),
            Rule(rf"{ours}\.convs\.{step}\.bias", f"{source}.bias"),
        ]
    return table


if __name__ == "__main__":
    cli(main)
