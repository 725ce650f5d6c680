"""Convert a published StyleGAN2 generator to the generator of a bundle.

    emojax convert stylegan stylegan2-ffhq-config-f.pt --name ffhq
    emojax convert stylegan ffhq.pkl --name ffhq-nvlabs
    emojax convert stylegan psp_ffhq_encode.pt --name ffhq          the decoder in that file

Takes rosinality's .pt (g_ema, latent_avg), a bare generator state dict (.pt, .safetensors, .npz),
pSp, e4e and HyperStyle files (decoder.*) and NVlabs' .pkl (G_ema). Nothing in a file is executed.
`python -m convert.stylegan` does the same, but not in a folder that has a convert.py of its own.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from convert import systems
from convert.generators import (
    MEAN,
    averaged,
    check_filters,
    check_sizes,
    constant,
    facts_of,
    mapped_sizes,
    numbers,
)
from convert.options import Options
from convert.reader import checkpoint_file, schema
from convert.report import file_source, save
from convert.rules import Ignored, Rule, apply, conv, expected, flat, linear
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store.bundle import Bundle
from emojax.store.parts import STYLEGAN2

if TYPE_CHECKING:
    from emojax.models.stylegan2 import GeneratorConfig
    from emojax.store.weights import Array


class Found(NamedTuple):
    """A generator found in a file.

    Attributes:
        layout: whose key names the tensors have: "rosinality" or "nvlabs".
        where: the part of the file they come from.
        tensors: the state dict.
        latent_avg: the file's own mean latent [D], or None.
        conv_clamp: NVlabs' limit on convolution outputs, or None.
    """

    layout: str
    where: str
    tensors: dict[str, np.ndarray]
    latent_avg: np.ndarray | None = None
    conv_clamp: float | None = None


def find(saved: Any, file: str | Path) -> Found:
    """Recognise the layout of a loaded file and return its generator.

    Raises:
        UserError: there is no StyleGAN2 generator in it, or one of a kind emojax does not run.
    """
    if isinstance(saved, Mapping) and "G_ema" in saved:
        return _nvlabs(saved["G_ema"], "G_ema", file)
    if isinstance(saved, checkpoint_file.Record):
        return _nvlabs(saved, "the network", file)
    if isinstance(saved, Mapping):
        if isinstance(saved.get("g_ema"), Mapping):
            tensors = schema.table(saved["g_ema"], f"g_ema of {file}")
            return Found("rosinality", "g_ema", tensors, _mean(saved, file))
        if isinstance(saved.get("state_dict"), Mapping):
            state = schema.table(saved["state_dict"], f"state_dict of {file}")
            if tensors := part_of(state, "decoder."):
                where = "decoder.* of state_dict"
                return Found("rosinality", where, tensors, _mean(saved, file))
        if "synthesis.b4.const" in saved:
            return Found("nvlabs", "the state dict", schema.table(saved, str(file)))
        if "conv1.conv.weight" in saved:
            tensors = schema.table(saved, str(file))
            tensors.pop("latent_avg", None)
            return Found("rosinality", "the state dict", tensors, _mean(saved, file))
        inside = f"a dict of {', '.join(map(repr, list(saved)[:8])) or 'nothing':.200}"
    else:
        inside = f"a {type(saved).__name__}"
    raise UserError(
        f"{file} holds {inside}, wanted a StyleGAN2 generator: g_ema (rosinality), decoder.* "
        "(pSp, e4e, HyperStyle), G_ema (NVlabs) or a generator's state dict"
    )


def convert(
    found: Found,
) -> "tuple[GeneratorConfig, dict[str, Array], dict[str, str], str]":
    """Return config, table, {ignored key: reason}, and where the mean latent is from.

    Raises:
        UserError: tensors are missing, unknown or misshapen; all are named.
    """
    config = config_of(found)
    mean, origin = found.latent_avg, "the file"
    table, ignored = _applied(found, config)
    kernels = [key for key in ignored if key.endswith(("kernel", "resample_filter"))]
    check_filters(found.tensors, kernels, (1, 3, 3, 1))
    if found.layout == "nvlabs":
        rows = schema.code(found.tensors.get("mapping.w_avg"), found.where, "mapping.w_avg")
        mean = None if rows is None else rows.reshape(-1)
    if mean is not None and mean.shape != (config.style_dim,):
        raise UserError(
            f"the file's mean latent has {mean.size} values, its generator's w {config.style_dim}"
        )
    if mean is None:
        mean, origin = averaged(STYLEGAN2, config, table)
    table["latent_avg"] = np.asarray(mean, np.float32)
    return config, table, ignored, origin


def is_stored(found: Found, bundle: Bundle) -> bool:
    """Whether a generator is that of a bundle, equal in all tensors but the mean latent."""
    from emojax.store import weights  # late, as all that imports JAX

    config = config_of(found)
    stored = weights.read(bundle.folder(STYLEGAN2) / "weights")
    if weights.problems(expected(STYLEGAN2, config), stored):
        return False
    converted, _ = _applied(found, config)
    return all(np.array_equal(np.asarray(each), stored[key]) for key, each in converted.items())


def _applied(found: Found, config: "GeneratorConfig") -> "tuple[dict[str, Array], dict[str, str]]":
    """Return the table of a found generator, all but the mean latent, and what was left out."""
    wanted = expected(STYLEGAN2, config)
    wanted.pop("latent_avg")
    rules = rosinality_rules(config) if found.layout == "rosinality" else nvlabs_rules(config)
    return apply(rules, IGNORED[found.layout], wanted, found.tensors)


def config_of(found: Found) -> "GeneratorConfig":
    """Return the config that a generator's tensors have by their shapes.

    Raises:
        UserError: the tensors are not those of a generator with a skip chain of RGB pictures.
    """
    tensors = found.tensors
    try:
        if found.layout == "rosinality":
            blocks = numbers(tensors, r"to_rgbs\.(\d+)\..*")
            layers = ["conv1", *(f"convs.{2 * i + 1}" for i in range(len(blocks)))]
            channels = [
                _rows(tensors, f"{layer}.activate.bias", f"{layer}.conv.weight") for layer in layers
            ]
            affines = r"(?:conv1|convs\.\d+)\.conv\.modulation\.weight"
            mapping, first = r"style\.(\d+)\.\w+", "style.1"
        else:
            sizes = numbers(tensors, r"synthesis\.b(\d+)\.torgb\..*")
            layers = [f"synthesis.b{size}.conv1" for size in sizes]
            channels = [_rows(tensors, f"{layer}.bias", f"{layer}.weight") for layer in layers]
            affines = r"synthesis\.b\d+\.conv1\.affine\.weight"
            mapping, first = r"mapping\.fc(\d+)\.\w+", "mapping.fc0"
        style_dim = next(tensors[key].shape[1] for key in tensors if re.fullmatch(affines, key))
        weight = tensors.get(f"{first}.weight")
        z_dim = style_dim if weight is None else weight.shape[1]
        n_mlp = len(numbers(tensors, mapping))
    except (KeyError, StopIteration) as error:
        raise UserError(
            f"{found.where} is not a StyleGAN2 generator with a skip chain of RGB pictures: "
            f"it has no {error if error.args else 'modulated convolutions'}"
        ) from error
    except IndexError as error:
        raise UserError(
            f"{found.where} is not a StyleGAN2 generator: a weight or bias of it has too few axes"
        ) from error
    check_sizes(found.where, channels, style_dim, z_dim, n_mlp)
    return STYLEGAN2.config_class()(
        channels=tuple(map(int, channels)),
        style_dim=int(style_dim),
        z_dim=int(z_dim),
        n_mlp=n_mlp,
        conv_clamp=found.conv_clamp,
    )


def rosinality_rules(config: "GeneratorConfig") -> list[Rule]:
    """Return the table for rosinality's key names."""
    rules = [
        rule
        for i in range(config.n_mlp)
        for rule in _linear(rf"mapping\.layers\.{i}", f"style.{i + 1}")
    ]
    rules.append(Rule(r"synthesis\.const", "input.input", constant, lambda s: (1, s[2], *s[:2])))
    for i in range(len(config.noise_sizes)):
        source = "conv1" if i == 0 else f"convs.{i - 1}"
        target = rf"synthesis\.convs\.{i}"
        rules += [
            Rule(rf"{target}\.weight", f"{source}.conv.weight", conv, _stacked),
            *_linear(rf"{target}\.modulation", f"{source}.conv.modulation"),
            Rule(
                rf"{target}\.noise",
                f"noises.noise_{i}",
                lambda noise: noise[0, 0],
                lambda s: (1, 1, *s),
            ),
            Rule(rf"{target}\.noise_strength", f"{source}.noise.weight", flat, lambda _: (1,)),
            Rule(rf"{target}\.bias", f"{source}.activate.bias"),
        ]
    for i in range(len(config.channels)):
        source = "to_rgb1" if i == 0 else f"to_rgbs.{i - 1}"
        rules += _to_rgb(i, source, f"{source}.conv.weight", f"{source}.conv.modulation")
    return rules


def nvlabs_rules(config: "GeneratorConfig") -> list[Rule]:
    """Return the table for NVlabs' key names (stylegan2-ada-pytorch)."""
    rules = [
        rule
        for i in range(config.n_mlp)
        for rule in _linear(rf"mapping\.layers\.{i}", f"mapping.fc{i}")
    ]
    rules.append(Rule(r"synthesis\.const", "synthesis.b4.const", constant))
    for i, size in enumerate(config.noise_sizes):
        source = f"synthesis.b{size}.conv{1 if i % 2 == 0 else 0}"
        target = rf"synthesis\.convs\.{i}"
        rules += [
            Rule(rf"{target}\.weight", f"{source}.weight", conv),
            *_linear(rf"{target}\.modulation", f"{source}.affine"),
            Rule(rf"{target}\.noise", f"{source}.noise_const"),
            Rule(rf"{target}\.noise_strength", f"{source}.noise_strength", flat),
            Rule(rf"{target}\.bias", f"{source}.bias"),
        ]
    for i in range(len(config.channels)):
        source = f"synthesis.b{4 * 2**i}.torgb"
        rules += _to_rgb(i, source, f"{source}.weight", f"{source}.affine")
    return rules


IGNORED = {
    "rosinality": [Ignored(r".*\.kernel", "the fixed [1, 3, 3, 1] filter, checked")],
    "nvlabs": [
        Ignored(r".*\.resample_filter", "the fixed [1, 3, 3, 1] filter, checked"),
        Ignored(r"mapping\.w_avg", MEAN),
    ],
}


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder = options.folder
    found = find(systems.load(options.file, "stylegan"), options.file)
    config, table, ignored, origin = convert(found)
    source = file_source(options.file, found.layout, found.where, ignored)
    source |= facts_of(table, origin)
    save(folder, STYLEGAN2, config, table, source, **mapped_sizes(config, origin))


def _linear(target: str, source: str) -> list[Rule]:
    return [
        Rule(rf"{target}\.weight", f"{source}.weight", linear),
        Rule(rf"{target}\.bias", f"{source}.bias"),
    ]


def _to_rgb(i: int, source: str, weight: str, modulation: str) -> list[Rule]:
    target = rf"synthesis\.to_rgbs\.{i}"
    return [
        Rule(rf"{target}\.weight", weight, conv, _stacked),
        *_linear(rf"{target}\.modulation", modulation),
        Rule(rf"{target}\.bias", f"{source}.bias", flat, lambda s: (1, *s, 1, 1)),
    ]


def _stacked(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of rosinality's modulated kernel, 1OIHW, of ours, HWIO."""
    return (1, *(shape[axis] for axis in (3, 2, 0, 1)))


def _rows(tensors: Mapping[str, np.ndarray], bias: str, weight: str) -> int:
    """Return a layer's output channels from whichever of its tensors is there."""
    if bias in tensors:
        return tensors[bias].shape[0]
    return tensors[weight].shape[-4]


def part_of(state: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the tensors whose names begin with a prefix, named without it."""
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }


def _mean(saved: Mapping[str, Any], file: str | Path) -> np.ndarray | None:
    """Return the one mean latent [D] of a file; None where it has none or one a layer."""
    rows = schema.code(saved.get("latent_avg"), str(file))
    return rows[0] if rows is not None and (rows == rows[0]).all() else None


def _nvlabs(network: Any, where: str, file: str | Path) -> Found:
    if not isinstance(network, checkpoint_file.Record):
        raise UserError(
            f"{file}: {where} is a {type(network).__name__}, wanted a pickled generator"
        )
    state = schema.attributes(network)
    made_with = schema.attributes(state.get("_init_kwargs"))
    synthesis = schema.attributes(made_with.get("synthesis_kwargs"))
    architecture = schema.option(synthesis, "architecture", str, "skip")
    classes = schema.option(state, "c_dim", int, 0)
    colours = schema.option(state, "img_channels", int, 3)
    if classes or architecture != "skip" or colours != 3:
        raise UserError(
            f"{file}: {where} is a generator with {classes} classes, architecture "
            f"{architecture[:50]!r} and {colours} colours; wanted an unconditional RGB one with "
            "skip connections"
        )
    clamp: float | None = schema.option(synthesis, "conv_clamp", (int, float), None)
    if clamp is not None and not 0 < clamp < 1e30:
        raise UserError(f"{file}: {where} clamps convolutions to {clamp:.3g}, wanted over 0")
    tensors = schema.table(checkpoint_file.state_dict(network), where)
    return Found("nvlabs", where, tensors, conv_clamp=None if clamp is None else float(clamp))


if __name__ == "__main__":
    cli(main)
