"""Convert a published StyleGAN2 generator to the generator of a bundle.

    emojax convert stylegan stylegan2-ffhq-config-f.pt --name ffhq
    emojax convert stylegan ffhq.pkl --name ffhq-nvlabs
    emojax convert stylegan psp_ffhq_encode.pt --name ffhq          the decoder in that file

Takes rosinality's .pt (g_ema, latent_avg), a bare generator state dict (.pt, .safetensors, .npz),
pSp, e4e and HyperStyle files (decoder.*) and NVlabs' .pkl (G_ema). Nothing in a file is executed.
`python -m convert.stylegan` does the same, but not in a folder that has a convert.py of its own.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from convert import systems
from convert.options import Options
from convert.reader import checkpoint_file, schema
from convert.report import file_source, save
from convert.rules import Ignored, Rule, apply, conv, expected, flat, linear
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store.bundle import Bundle
from emojax.store.parts import GENERATOR

if TYPE_CHECKING:
    from emojax.models.stylegan2 import GeneratorConfig
    from emojax.store.weights import Array, Arrays

MEAN_SAMPLES = 100_000
"""Codes that the mean latent is averaged over where a file holds none, as in the originals."""


MOST_RESOLUTIONS = 10
"""From 4² to 2048²; the published networks have at most 9."""

MOST_LAYERS = 64
"""Of a mapping network; the published ones have 8."""

WIDEST = 8192
"""Channels of a layer; the published networks have at most 512."""


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
    _check_filters(found.tensors, ignored)
    if found.layout == "nvlabs":
        rows = schema.code(found.tensors.get("mapping.w_avg"), found.where, "mapping.w_avg")
        mean = None if rows is None else rows.reshape(-1)
    if mean is not None and mean.shape != (config.style_dim,):
        raise UserError(
            f"the file's mean latent has {mean.size} values, its generator's w {config.style_dim}"
        )
    if mean is None:
        mean, origin = _averaged(config, table), f"{MEAN_SAMPLES} mapped samples, seed 0"
    table["latent_avg"] = np.asarray(mean, np.float32)
    return config, table, ignored, origin


def is_stored(found: Found, bundle: Bundle) -> bool:
    """Whether a generator is that of a bundle, equal in all tensors but the mean latent."""
    from emojax.store import weights  # late, as all that imports JAX

    config = config_of(found)
    stored = weights.read(bundle.folder(GENERATOR) / "weights")
    if weights.problems(expected(GENERATOR, config), stored):
        return False
    converted, _ = _applied(found, config)
    return all(np.array_equal(np.asarray(each), stored[key]) for key, each in converted.items())


def _applied(found: Found, config: "GeneratorConfig") -> "tuple[dict[str, Array], dict[str, str]]":
    """Return the table of a found generator, all but the mean latent, and what was left out."""
    wanted = expected(GENERATOR, config)
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
            blocks = _numbers(tensors, r"to_rgbs\.(\d+)\..*")
            layers = ["conv1", *(f"convs.{2 * i + 1}" for i in range(len(blocks)))]
            channels = [
                _rows(tensors, f"{layer}.activate.bias", f"{layer}.conv.weight") for layer in layers
            ]
            affines = r"(?:conv1|convs\.\d+)\.conv\.modulation\.weight"
            mapping, first = r"style\.(\d+)\.\w+", "style.1"
        else:
            sizes = _numbers(tensors, r"synthesis\.b(\d+)\.torgb\..*")
            layers = [f"synthesis.b{size}.conv1" for size in sizes]
            channels = [_rows(tensors, f"{layer}.bias", f"{layer}.weight") for layer in layers]
            affines = r"synthesis\.b\d+\.conv1\.affine\.weight"
            mapping, first = r"mapping\.fc(\d+)\.\w+", "mapping.fc0"
        style_dim = next(tensors[key].shape[1] for key in tensors if re.fullmatch(affines, key))
        weight = tensors.get(f"{first}.weight")
        z_dim = style_dim if weight is None else weight.shape[1]
        n_mlp = len(_numbers(tensors, mapping))
    except (KeyError, StopIteration) as error:
        raise UserError(
            f"{found.where} is not a StyleGAN2 generator with a skip chain of RGB pictures: "
            f"it has no {error if error.args else 'modulated convolutions'}"
        ) from error
    except IndexError as error:
        raise UserError(
            f"{found.where} is not a StyleGAN2 generator: a weight or bias of it has too few axes"
        ) from error
    _check_sizes(found.where, channels, style_dim, z_dim, n_mlp)
    return GENERATOR.config_class()(
        channels=tuple(map(int, channels)),
        style_dim=int(style_dim),
        z_dim=int(z_dim),
        n_mlp=n_mlp,
        conv_clamp=found.conv_clamp,
    )


def _check_sizes(where: str, channels: Sequence[int], *sizes: int) -> None:
    """Refuse a network that would take minutes to build, or none at all.

    Raises:
        UserError: it has over 9 resolutions (1024²), or a size of 0 or over 8192.
    """
    every = (*channels, *sizes[:-1])
    if not 1 <= len(channels) <= MOST_RESOLUTIONS or sizes[-1] > MOST_LAYERS:
        raise UserError(
            f"{where} is a generator of {len(channels)} resolutions and {sizes[-1]} mapping "
            f"layers, wanted at most {MOST_RESOLUTIONS} and {MOST_LAYERS}"
        )
    if not all(0 < size <= WIDEST for size in every):
        raise UserError(
            f"{where} is a generator with layers {min(every)} to {max(every)} wide, wanted 1 to "
            f"{WIDEST}"
        )


def rosinality_rules(config: "GeneratorConfig") -> list[Rule]:
    """Return the table for rosinality's key names."""
    rules = [
        rule
        for i in range(config.n_mlp)
        for rule in _linear(rf"mapping\.layers\.{i}", f"style.{i + 1}")
    ]
    rules.append(Rule(r"synthesis\.const", "input.input", _constant))
    for i in range(len(config.noise_sizes)):
        source = "conv1" if i == 0 else f"convs.{i - 1}"
        target = rf"synthesis\.convs\.{i}"
        rules += [
            Rule(rf"{target}\.weight", f"{source}.conv.weight", conv),
            *_linear(rf"{target}\.modulation", f"{source}.conv.modulation"),
            Rule(rf"{target}\.noise", f"noises.noise_{i}", lambda noise: noise[0, 0]),
            Rule(rf"{target}\.noise_strength", f"{source}.noise.weight", flat),
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
    rules.append(Rule(r"synthesis\.const", "synthesis.b4.const", _constant))
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
        Ignored(r"mapping\.w_avg", "the mean latent, kept as latent_avg"),
    ],
}


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder = options.folder
    found = find(systems.load(options.file, "stylegan"), options.file)
    config, table, ignored, origin = convert(found)
    source = file_source(options.file, found.layout, found.where, ignored)
    source["pictures"] = "photographs"  # what `Bundle.shows` says of the generator
    source["mean_latent"] = {
        "from": origin,
        "values": [round(float(v), 6) for v in np.asarray(table["latent_avg"])],
    }
    save(
        folder,
        GENERATOR,
        config,
        table,
        source,
        resolution=f"{config.size}²",
        channels=" ".join(map(str, config.channels)),
        style=f"{config.style_dim} wide, {config.n_mlp} mapping layers",
        mean_latent=f"from {origin}",
    )


def _linear(target: str, source: str) -> list[Rule]:
    return [
        Rule(rf"{target}\.weight", f"{source}.weight", linear),
        Rule(rf"{target}\.bias", f"{source}.bias"),
    ]


def _to_rgb(i: int, source: str, weight: str, modulation: str) -> list[Rule]:
    target = rf"synthesis\.to_rgbs\.{i}"
    return [
        Rule(rf"{target}\.weight", weight, conv),
        *_linear(rf"{target}\.modulation", modulation),
        Rule(rf"{target}\.bias", f"{source}.bias", flat),
    ]


def _constant(array: np.ndarray) -> np.ndarray:
    """(1, C, 4, 4) or (C, 4, 4) to [4, 4, C]."""
    return array.reshape(array.shape[-3:]).transpose(1, 2, 0)


def _numbers(tensors: Mapping[str, np.ndarray], pattern: str) -> list[int]:
    """Return the distinct numbers that the keys matching a pattern carry, sorted."""
    return sorted({int(match[1]) for key in tensors if (match := re.fullmatch(pattern, key))})


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


def _check_filters(tensors: Mapping[str, np.ndarray], ignored: Mapping[str, str]) -> None:
    """Raise UserError where a file resamples with another filter than [1, 3, 3, 1]."""
    wanted = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    for key in ignored:
        if key.endswith(("kernel", "resample_filter")):
            if not schema.is_real(tensors[key].dtype):
                raise UserError(f"{key} is {tensors[key].dtype}, wanted a filter of real numbers")
            array = np.asarray(tensors[key], np.float64)
            fits = array.shape == (4, 4) and array.sum() > 0
            if not fits or not np.allclose(array / array.sum(), wanted, atol=1e-6):
                raise UserError(f"{key} is not the [1, 3, 3, 1] filter emojax resamples with")


def _averaged(config: "GeneratorConfig", table: "Arrays") -> np.ndarray:
    """Return the mean code of mapped samples [D]."""
    import jax  # late, as all that imports JAX

    from emojax.models.stylegan2 import Generator, mean_latent
    from emojax.store import weights

    zero = np.zeros(config.style_dim, np.float32)
    model = weights.load(weights.abstract(Generator, config), {**table, "latent_avg": zero})
    average = jax.jit(mean_latent, static_argnames="samples")
    return np.asarray(average(model, jax.random.key(0), samples=MEAN_SAMPLES))


if __name__ == "__main__":
    cli(main)
