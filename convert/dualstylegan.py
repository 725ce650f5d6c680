"""Convert DualStyleGAN's published files to parts of a bundle, which 'emojax stylize' uses.

    emojax convert dualstylegan generator.pt encoder.pt refined_exstyle_code.npy --name cartoon
    emojax convert dualstylegan sampler.pt --name cartoon

One bundle holds one style's generator. Each file is recognised by what is in it: generator.pt, the
encoder to Z+ (encoder.pt; encoder_wplus.pt with --codes w+), style codes (exstyle_code.npy,
refined_exstyle_code.npy, instyle_code.npy), sampler.pt. Nothing in a file is executed.
`python -m convert.dualstylegan` does the same, but not in a folder that has a convert.py of its
own.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convert import psp, stylegan, systems
from convert.generators import MOST_LAYERS, check_filters, numbers, sizes
from convert.options import SeveralFiles
from convert.reader import schema
from convert.report import file_source, save
from convert.rules import Ignored, Rule, apply, conv, expected, linear, norm
from emojax.latents import styles
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError, shortened
from emojax.runtime.files import make_folder
from emojax.store import bundle
from emojax.store.parts import DUALSTYLEGAN, DUALSTYLEGAN_ENCODER, STYLE_SAMPLER

if TYPE_CHECKING:
    from emojax.models.dualstylegan import DualStyleGANConfig, SamplerConfig
    from emojax.store.weights import Array

Space = Literal["z+", "w+"]

MOST_STYLES = 10_000
"""In one file; the published ones have a few hundred."""

SAMPLER_RULES = [
    rule
    for ours, theirs in (("structure", "structure"), ("colour", "color"))
    for rule in (
        *(
            Rule(rf"{ours}\.linear{i}\.kernel", f"{theirs}.{name}.weight", linear)
            for i, name in ((1, "lin1"), (2, "lin2"), (3, "lin_out"))
        ),
        *norm(rf"{ours}\.norm1", f"{theirs}.bn1"),
        *norm(rf"{ours}\.norm2", f"{theirs}.bn2"),
    )
]


@dataclasses.dataclass(frozen=True)
class Options(SeveralFiles):
    """Flags of the command."""

    codes: Space = "z+"
    """What the encoder among the files gives: z+ as encoder.pt, or w+ as encoder_wplus.pt. Nothing
    in a file tells."""


def main(options: Options) -> None:
    """Convert the files, and print a summary of each."""
    if not options.files:
        raise UserError(f"no file given: wanted {systems.WANTED['dualstylegan']}")
    folder, found = options.folder, {}
    for file in options.files:
        saved = systems.load(file, "dualstylegan")
        system = systems.needed(saved, "dualstylegan", file)
        if system in found:
            raise UserError(
                f"{found[system][0]} and {file} are both {system.about}: give one of them"
            )
        found[system] = file, saved
    steps = {
        systems.DUALSTYLEGAN: _save_generator,
        systems.PSP: _save_encoder,
        systems.STYLE_SAMPLER: _save_sampler,
        systems.STYLES: _save_styles,
    }
    for number, (system, (file, saved)) in enumerate(found.items()):
        if number:
            print(flush=True)
        steps[system](file, saved, folder, options)
    _hint(folder)


def _hint(folder: Path) -> None:
    """Say what the bundle still lacks for stylizing photographs."""
    place = bundle.look_up(folder.absolute())
    lacking = [
        (there, name)
        for there, name in (
            (place.has(DUALSTYLEGAN), "generator.pt"),
            (place.has(DUALSTYLEGAN_ENCODER), "encoder.pt"),
            (place.file(styles.FILE) is not None, "refined_exstyle_code.npy"),
        )
        if not there
    ]
    if lacking:
        print(f"to come    {', '.join(name for _, name in lacking)}, as files of this command")


def _save_generator(file: Path, saved: Any, folder: Path, _options: Options) -> None:
    state = saved.get("g_ema", saved)
    config, table, ignored = convert(schema.table(state, f"the generator in {file}"))
    source = file_source(file, "DualStyleGAN", "g_ema" if "g_ema" in saved else "it", ignored)
    facts = {"structure": f"{config.structure} of {config.n_latent} rows"}
    save(folder, DUALSTYLEGAN, config, table, source, **sizes(config), **facts)


def convert(
    state: Mapping[str, np.ndarray],
) -> "tuple[DualStyleGANConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of a generator's state dict.

    Raises:
        UserError: tensors are missing, unknown or misshapen; all are named.
    """
    config = config_of(state)
    ignored = [Ignored(r".*\.kernel", "the fixed [1, 3, 3, 1] filter, checked")]
    table, left = apply(rules(config), ignored, expected(DUALSTYLEGAN, config), state)
    check_filters(state, left, (1, 3, 3, 1))
    return config, table, left


def config_of(state: Mapping[str, np.ndarray]) -> "DualStyleGANConfig":
    """Return the config that a generator's tensors have by their names and shapes.

    Raises:
        UserError: the StyleGAN2 inside is none, or the numbers of layers do not go together.
    """
    inside = stylegan.Found("rosinality", "generator.*", stylegan.part_of(state, "generator."))
    plain = stylegan.config_of(inside)
    structure = len(numbers(state, r"res\.(\d+)\.conv\.0\.weight"))
    layers = len(numbers(state, r"style\.(\d+)\.weight"))
    if not 0 < structure < plain.n_latent or not 0 < layers <= MOST_LAYERS:
        raise UserError(
            f"the file has {structure} residual blocks and {layers} layers that transform styles: "
            f"wanted DualStyleGAN's, 1 to {plain.n_latent - 1} blocks, and 2 layers"
        )
    config = DUALSTYLEGAN.config_class()
    fields = {field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)}
    return config(**fields, structure=structure, structure_mlp=layers)


def rules(config: "DualStyleGANConfig") -> list[Rule]:
    """Return the table of a generator's published names."""
    inside = [
        rule._replace(source=f"generator.{rule.source}")
        for rule in stylegan.rosinality_rules(config)
    ]
    transform = [
        rule
        for i in range(config.structure_mlp)
        for rule in _linear(rf"transform\.layers\.{i}", f"style.{i + 1}")
    ]
    colours = [
        rule
        for i in range(config.n_latent - config.structure)
        for rule in _linear(rf"colours\.{i}", f"res.{config.structure + i}")
    ]
    blocks = [
        rule
        for ours, theirs in (("1", ""), ("2", "2"))
        for rule in (
            *_linear(rf"blocks\.(\d+)\.norm{ours}", rf"res.\1.norm{theirs}.style"),
            Rule(rf"blocks\.(\d+)\.conv{ours}\.weight", rf"res.\1.conv{theirs}.0.weight", conv),
            Rule(rf"blocks\.(\d+)\.conv{ours}\.bias", rf"res.\1.conv{theirs}.1.bias"),
        )
    ]
    return [*inside, *transform, *colours, *blocks]


def _linear(target: str, source: str) -> list[Rule]:
    return [
        Rule(rf"{target}\.weight", f"{source}.weight", linear),
        Rule(rf"{target}\.bias", f"{source}.bias"),
    ]


def _save_encoder(file: Path, saved: Any, folder: Path, options: Options) -> None:
    contents = psp.checked(saved, file)
    if decoder := contents.decoder:
        n_latent = stylegan.config_of(decoder).n_latent
    else:
        n_latent = bundle.look_up(folder.absolute()).config(DUALSTYLEGAN).n_latent
    encoder = psp.encoder_of(contents, n_latent)
    source = file_source(file, encoder.layout, "encoder.* of state_dict", encoder.ignored)
    source["codes"] = options.codes
    facts = {"codes": f"{encoder.config.n_styles} in {options.codes.upper()}"}
    save(folder, DUALSTYLEGAN_ENCODER, encoder.config, encoder.table, source, **facts)


def _save_sampler(file: Path, saved: Any, folder: Path, _options: Options) -> None:
    config, table, ignored = convert_sampler(saved)
    source = file_source(file, "DualStyleGAN", "color and structure", ignored)
    save(folder, STYLE_SAMPLER, config, table, source)


def convert_sampler(
    saved: Mapping[str, Any],
) -> "tuple[SamplerConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of the contents of sampler.pt.

    Raises:
        UserError: tensors are missing, unknown or misshapen; all are named.
    """
    state = {
        f"{part}.{name}": array
        for part in ("color", "structure")
        for name, array in schema.table(saved.get(part), part).items()
    }
    config = STYLE_SAMPLER.config_class()()
    last = (state.get(f"{part}.lin_out.weight") for part in ("structure", "color"))
    rows = [0 if array is None or array.ndim != 2 else len(array) // 512 for array in last]
    if not all(0 < count <= 64 for count in rows):
        raise UserError("the file has no layers lin_out of 512 for each row: wanted sampler.pt")
    config = dataclasses.replace(config, structure=rows[0], colour=rows[1])
    table, ignored = apply(SAMPLER_RULES, psp.IGNORED, expected(STYLE_SAMPLER, config), state)
    return config, table, ignored


def _save_styles(file: Path, saved: Any, folder: Path, _options: Options) -> None:
    found = styles_of(saved.state, file)
    target = make_folder(folder) / styles.FILE
    found.save(target)
    print(f"read       {file.name} (a dict of arrays in a .npy file)")
    print(f"styles     {len(found.names)} of {found.codes.shape[1]} rows")
    print(f"written    {target}")


def styles_of(held: Any, file: Path) -> styles.Styles:
    """Return the style codes of a loaded file: a dict of arrays [1,L,D] by name.

    Raises:
        UserError: it is something else.
    """
    codes = schema.table(held, str(file))
    shapes = {array.shape for array in codes.values()}
    if len(codes) != len(held) or len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise UserError(
            f"{file} holds {len(held)} entries of the shapes "
            f"{shortened(sorted(map(list, shapes)), 60)}: wanted style codes, arrays of one shape "
            "[1, L, D] by name"
        )
    if next(iter(shapes))[0] != 1 or len(codes) > MOST_STYLES:
        raise UserError(
            f"{file} holds {len(codes)} codes of shape {list(next(iter(shapes)))}: wanted at most "
            f"{MOST_STYLES} of shape [1, L, D]"
        )
    if not all(schema.is_real(array.dtype) for array in codes.values()):
        raise UserError(f"{file} holds codes that are no real numbers: wanted DualStyleGAN's")
    source = file_source(file, "DualStyleGAN", "the dict", {})
    rows = np.concatenate([np.asarray(array, np.float32) for array in codes.values()])
    try:
        return styles.Styles(tuple(codes), rows, {"source": source})
    except ValueError as error:
        raise UserError(f"{file} holds no sound style codes: {error}") from error


if __name__ == "__main__":
    cli(main)
