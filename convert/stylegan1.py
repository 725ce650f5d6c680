"""Convert a published StyleGAN generator (the first StyleGAN) to the generator of a bundle.

    emojax convert stylegan1 stylegan_ffhq1024.pth --name stylegan1
    emojax convert stylegan1 stylegan_ffhq.pth --name stylegan1
    emojax convert stylegan1 stylegan-1024px-new.model --name rosinality
    emojax convert stylegan1 karras2019stylegan-ffhq-1024x1024.for_g_all.pt --name stylegan1

Takes the files of genforce (generator_smooth), InterfaceGAN, rosinality (g_running) and
lernapparat. The last two hold no noise pictures, which are drawn with a fixed seed, and no mean
code, which is averaged. Nothing in a file is executed. `python -m convert.stylegan1` does the same,
but not in a folder that has a convert.py of its own.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from convert import systems
from convert.generators import (
    GROWN,
    LOWER,
    MEAN,
    averaged,
    check_filters,
    check_sizes,
    constant,
    facts_of,
    mapped_sizes,
    numbers,
)
from convert.inverse import inverted
from convert.options import Options
from convert.reader import schema
from convert.report import file_source, save
from convert.rules import (
    Ignored,
    Rule,
    Shape,
    apply,
    conv,
    expected,
    flat,
    linear,
    pointwise,
    same,
    transposed_conv,
)
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store.parts import STYLEGAN1

if TYPE_CHECKING:
    from emojax.models.stylegan1 import StyleGAN1Config, Variant
    from emojax.store.weights import Array

Names = dict[str, str]
"""Published keys, without "weight" and "bias" where a layer has both."""

FUSED_AT = 5
"""Index of the resolution 128², from which on up-convolutions are fused."""


class Layout(NamedTuple):
    """Where the published files of one kind keep their tensors.

    Attributes:
        variant: which function they are the weights of.
        layer: (index of a layer) to its keys: "convolution", "bias", "strength", "style",
            "style bias" and "noise".
        const: key of the constant input.
        rgb: (index of a resolution) to the key of ToRGB's weight and of its bias.
        mapping: (index of a layer) to the key of its weight and of its bias.
        mapping_keys: regular expression for the keys of the mapping's weights.
        mean: key of the mean code; "" where there is none.
        fused: transform of the kernels of fused up-convolutions.
        strength: the published shape of the noise strengths [C].
        filters: (index of a resolution from 1 on) to the keys of its fixed filters.
        ignored: keys that may be left over.
    """

    variant: "Variant"
    layer: Callable[[int], Names]
    const: str
    rgb: Callable[[int], tuple[str, str]]
    mapping: Callable[[int], tuple[str, str]]
    mapping_keys: str
    mean: str = ""
    fused: Callable[[np.ndarray], np.ndarray] = conv
    strength: Callable[[Shape], Shape] = lambda shape: shape
    filters: Callable[[int], tuple[str, ...]] = lambda i: (f"synthesis.layer{2 * i}.blur.kernel",)
    ignored: tuple[Ignored, ...] = ()


def _genforce(index: int) -> Names:
    key = f"synthesis.layer{index}"
    return {
        "convolution": f"{key}.weight",
        "bias": f"{key}.bias",
        "strength": f"{key}.apply_noise.weight",
        "noise": f"{key}.apply_noise.noise",
        "style": f"{key}.style.weight",
        "style bias": f"{key}.style.bias",
    }


def _interfacegan(index: int) -> Names:
    key = f"synthesis.layer{index}"
    fused = index % 2 == 0 and index // 2 >= FUSED_AT
    return {
        "convolution": f"{key}.weight" if fused else f"{key}.conv.weight",
        "bias": f"{key}.epilogue.bias",
        "strength": f"{key}.epilogue.apply_noise.weight",
        "noise": f"{key}.epilogue.apply_noise.noise",
        "style": f"{key}.epilogue.style_mod.dense.linear.weight",
        "style bias": f"{key}.epilogue.style_mod.dense.wscale.bias",
    }


def _rosinality(index: int) -> Names:
    block, half = divmod(index, 2)
    key = f"generator.progression.{block}"
    weight, layer = "weight_orig", f"{key}.conv2.conv"
    if half == 0:
        fused = block >= FUSED_AT
        weight, layer = ("weight", f"{key}.conv1.0") if fused else (weight, f"{key}.conv1.1.conv")
    return {
        "convolution": f"{layer}.{weight}",
        "bias": f"{layer}.bias",
        "strength": f"{key}.noise{half + 1}.weight_orig",
        "style": f"{key}.adain{half + 1}.style.linear.weight_orig",
        "style bias": f"{key}.adain{half + 1}.style.linear.bias",
    }


def _rosinality_filters(index: int) -> tuple[str, ...]:
    key = f"generator.progression.{index}.conv1.{1 if index >= FUSED_AT else 2}"
    return f"{key}.weight", f"{key}.weight_flip"


def _lernapparat_filters(index: int) -> tuple[str, ...]:
    side = 4 * 2**index
    return (f"g_synthesis.blocks.{side}x{side}.conv0_up.intermediate.kernel",)


def _lernapparat(index: int) -> Names:
    block, half = divmod(index, 2)
    key = f"g_synthesis.blocks.{4 * 2**block}x{4 * 2**block}"
    layer = f"{key}.{'conv1' if half else 'conv0_up'}" if block else f"{key}.conv" if half else key
    return {
        "convolution": f"{layer}.weight",
        "bias": f"{layer}.bias",
        "strength": f"{key}.epi{half + 1}.top_epi.noise.weight",
        "style": f"{key}.epi{half + 1}.style_mod.lin.weight",
        "style bias": f"{key}.epi{half + 1}.style_mod.lin.bias",
    }


LOD = "synthesis.lod"
"""Key of how far a network of genforce's or InterfaceGAN's has grown."""
BLUR = "the fixed [1, 2, 1] filter, checked"
KEPT = (
    Ignored(r"synthesis\.layer\d+\.blur\.kernel", BLUR),
    Ignored(r"truncation\.w_avg", MEAN),
    Ignored(LOD.replace(".", r"\."), GROWN),
)
"""What genforce's and InterfaceGAN's files hold beside the weights."""
LAYOUTS = {
    "genforce": Layout(
        "nvidia",
        _genforce,
        "synthesis.layer0.const",
        lambda i: (f"synthesis.output{i}.weight", f"synthesis.output{i}.bias"),
        lambda i: (f"mapping.dense{i}.weight", f"mapping.dense{i}.bias"),
        r"mapping\.dense(\d+)\.weight",
        mean="truncation.w_avg",
        ignored=(
            Ignored(r"synthesis\.output\d+\.(weight|bias)", LOWER),
            *KEPT,
        ),
    ),
    "interfacegan": Layout(
        "nvidia",
        _interfacegan,
        "synthesis.layer0.first_layer",
        lambda i: (f"synthesis.output{i}.conv.weight", f"synthesis.output{i}.bias"),
        lambda i: (f"mapping.dense{i}.linear.weight", f"mapping.dense{i}.wscale.bias"),
        r"mapping\.dense(\d+)\.linear\.weight",
        mean="truncation.w_avg",
        fused=same,  # [k, k, in, out] already
        ignored=(
            Ignored(r"synthesis\.output\d+\.(conv\.weight|bias)", LOWER),
            *KEPT,
            Ignored(r"truncation\.truncation", "psi by layer, which is chosen when drawing"),
        ),
    ),
    "rosinality": Layout(
        "rosinality",
        _rosinality,
        "generator.progression.0.conv1.input",
        lambda i: (f"generator.to_rgb.{i}.conv.weight_orig", f"generator.to_rgb.{i}.conv.bias"),
        lambda i: (f"style.{2 * i + 1}.linear.weight_orig", f"style.{2 * i + 1}.linear.bias"),
        r"style\.(\d+)\.linear\.weight_orig",
        fused=transposed_conv,
        strength=lambda shape: (1, *shape, 1, 1),
        filters=_rosinality_filters,
        ignored=(
            Ignored(r"generator\.to_rgb\.\d+\.conv\.(weight_orig|bias)", LOWER),
            Ignored(r"generator\.progression\.\d+\.conv1\.[12]\.weight(_flip)?", BLUR),
        ),
    ),
    "lernapparat": Layout(
        "lernapparat",
        _lernapparat,
        "g_synthesis.blocks.4x4.const",
        lambda _: ("g_synthesis.torgb.weight", "g_synthesis.torgb.bias"),
        lambda i: (f"g_mapping.dense{i}.weight", f"g_mapping.dense{i}.bias"),
        r"g_mapping\.dense(\d+)\.weight",
        filters=_lernapparat_filters,
        ignored=(Ignored(r"g_synthesis\.blocks\..*\.intermediate\.kernel", BLUR),),
    ),
}
"""The published layouts by whose they are."""


class Found(NamedTuple):
    """A generator found in a file.

    Attributes:
        layout: a name in `LAYOUTS`.
        where: the part of the file that it comes from.
        tensors: the state dict.
        latent_avg: the file's own mean latent [D], or None.
    """

    layout: str
    where: str
    tensors: dict[str, np.ndarray]
    latent_avg: np.ndarray | None = None


def find(saved: Any, file: str | Path) -> Found:
    """Recognise the layout of a loaded file and return its generator.

    Raises:
        UserError: there is no StyleGAN generator in it.
    """
    where, held = systems.nested(saved)
    tensors = schema.table(held, f"{where} of {file}")
    for name, layout in LAYOUTS.items():
        if layout.const in tensors:
            rows = schema.code(tensors.get(layout.mean), where, layout.mean)
            return Found(name, where, tensors, None if rows is None else rows.reshape(-1))
    raise UserError(
        f"{file} holds no StyleGAN generator: wanted generator_smooth (genforce), g_running "
        "(rosinality), or the state dict of InterfaceGAN or lernapparat"
    )


def convert(
    found: Found,
) -> "tuple[StyleGAN1Config, dict[str, Array], dict[str, str], str]":
    """Return config, table, {ignored key: reason}, and where the mean latent is from.

    Raises:
        UserError: tensors are missing, unknown or misshapen; all are named.
    """
    layout, config = LAYOUTS[found.layout], config_of(found)
    wanted = expected(STYLEGAN1, config)
    mean, origin = found.latent_avg, "the file"
    if mean is not None and mean.shape != (config.style_dim,):
        raise UserError(
            f"the file's mean latent has {mean.size} values, its generator's w {config.style_dim}"
        )
    drawn = {} if "noise" in layout.layer(0) else _noise(config)
    wanted = {name: each for name, each in wanted.items() if name not in drawn}
    wanted.pop("latent_avg")
    table, ignored = apply(_rules(layout, config), layout.ignored, wanted, found.tensors)
    check_filters(found.tensors, [key for key in ignored if ignored[key] == BLUR], (1, 2, 1))
    table |= drawn
    if mean is None:
        mean, origin = averaged(STYLEGAN1, config, table)
    table["latent_avg"] = np.asarray(mean, np.float32)
    return config, table, ignored, origin


def config_of(found: Found) -> "StyleGAN1Config":
    """Return the config that a generator's tensors have by their shapes.

    Raises:
        UserError: the tensors are not those of such a generator.
    """
    layout, tensors = LAYOUTS[found.layout], found.tensors
    channels: list[int] = []
    while (strength := tensors.get(layout.layer(2 * len(channels))["strength"])) is not None:
        channels.append(strength.size)
    style, first = tensors.get(layout.layer(0)["style"]), tensors.get(layout.mapping(0)[0])
    if style is None or style.ndim != 2 or first is None or first.ndim != 2:
        raise UserError(f"{found.where} is not a StyleGAN generator: its first layers are missing")
    style_dim, z_dim = style.shape[1], first.shape[1]
    n_mlp = len(numbers(tensors, layout.mapping_keys))
    check_sizes(found.where, channels, style_dim, z_dim, n_mlp)
    return STYLEGAN1.config_class()(
        tuple(map(int, channels)), layout.variant, int(style_dim), int(z_dim), n_mlp
    )


def _rules(layout: Layout, config: "StyleGAN1Config") -> list[Rule]:
    """Return the conversion table of a layout."""
    rules = [Rule(r"synthesis\.const", layout.const, constant, lambda s: (1, s[2], *s[:2]))]
    for i in range(config.n_mlp):
        weight, bias = layout.mapping(i)
        rules.append(Rule(rf"mapping\.layers\.{i}\.weight", weight, linear))
        rules.append(Rule(rf"mapping\.layers\.{i}\.bias", bias))
    for i in range(config.n_latent):
        keys, target = layout.layer(i), rf"synthesis\.layers\.{i}"
        fused = i % 2 == 0 and i // 2 >= FUSED_AT
        rules += [
            Rule(rf"{target}\.weight", keys["convolution"], layout.fused if fused else conv),
            Rule(rf"{target}\.bias", keys["bias"]),
            Rule(rf"{target}\.noise_strength", keys["strength"], flat, layout.strength),
            Rule(rf"{target}\.style\.weight", keys["style"], linear),
            Rule(rf"{target}\.style\.bias", keys["style bias"]),
        ]
        if "noise" in keys:
            noise = rf"synthesis\.noise\.{i}", keys["noise"]
            rules.append(Rule(*noise, lambda picture: picture[0, 0], lambda s: (1, 1, *s)))
    weight, bias = layout.rgb(len(config.channels) - 1)
    rules.append(Rule(r"synthesis\.to_rgb\.weight", weight, pointwise))
    rules.append(Rule(r"synthesis\.to_rgb\.bias", bias))
    return rules


def layout_of(config: "StyleGAN1Config", name: str) -> Layout:
    """Return the layout of a name, or where there is none one of the same function."""
    fitting = [each for each in LAYOUTS.values() if each.variant == config.variant]
    return LAYOUTS.get(name, fitting[0])


def published(
    config: "StyleGAN1Config", layout: Layout, table: "Mapping[str, Array]"
) -> dict[str, np.ndarray]:
    """Return the tensors that the published file of a generator holds, as far as they were kept.

    Args:
        config: the network's.
        layout: of the file.
        table: the network's weights.
    """
    kept = {name: np.asarray(array) for name, array in table.items()}
    mean = kept.pop("latent_avg")
    if "noise" not in layout.layer(0):
        kept = {name: array for name, array in kept.items() if name not in _noise(config)}
    tensors = inverted(kept, _rules(layout, config))
    taps = np.array([1, 2, 1], np.float32) / np.float32(4)
    for i in range(1, len(config.channels)):
        tensors |= dict.fromkeys(layout.filters(i), np.outer(taps, taps)[None, None])
    if layout.mean:
        tensors |= {layout.mean: mean, LOD: np.zeros((), np.float32)}
    return tensors


def _noise(config: "StyleGAN1Config") -> dict[str, np.ndarray]:
    """Draw the noise pictures that a file does not hold, the same every time."""
    return {
        f"synthesis.noise.{i}": np.random.RandomState(i).standard_normal((side, side)).astype("f4")
        for i, side in enumerate(config.noise_sizes)
    }


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder = options.folder
    found = find(systems.load(options.file, "stylegan1"), options.file)
    config, table, ignored, origin = convert(found)
    source = file_source(options.file, found.layout, found.where, ignored)
    source |= facts_of(table, origin)
    noise = "from the file" if "noise" in LAYOUTS[found.layout].layer(0) else "drawn, seed 0"
    facts = mapped_sizes(config, origin) | {"noise": noise}
    save(folder, STYLEGAN1, config, table, source, **facts)


if __name__ == "__main__":
    cli(main)
