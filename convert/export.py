"""Write a part of a bundle as a .safetensors file under its published names.

    emojax export weights generator --bundle ffhq --out generator.safetensors
    emojax export weights psp --bundle ffhq --out psp.safetensors

What was trained or tuned here goes to other tools: the names, shapes and numbers are those of the
published PyTorch file. `emojax convert` takes networks of the published sizes back, bit for bit the
same; the embedded demo's encoders are smaller.

generator: rosinality's StyleGAN2, DualStyleGAN's authors' and others' too. psp, w_encoder,
hyperstyle, hfgi, dualstylegan_encoder: `state_dict` of the authors' file, with the bundle's
generator as its decoder.*, latent_avg, and their opts as JSON in the header. dualstylegan, emotion,
identity: the state dict. Counters of training steps are 0. `python -m convert.export` does the
same.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro

from convert import arcface, dualstylegan, emotion, hfgi, hyperstyle, psp, stylegan
from convert.inverse import counters, inverted
from emojax.runtime.choices import DEFAULT_BUNDLE
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError, shortened
from emojax.runtime.files import make_folder, replacing, sha256
from emojax.runtime.progress import progress
from emojax.store import bundle, parts
from emojax.store.bundle import Bundle
from emojax.store.parts import Part

PartName = Literal[
    "generator",
    "psp",
    "w_encoder",
    "hyperstyle",
    "hfgi",
    "dualstylegan",
    "dualstylegan_encoder",
    "emotion",
    "identity",
]

Arrays = dict[str, np.ndarray]

TYPES = {"float32": "F32", "int64": "I64"}
"""Names of dtypes in .safetensors."""


class Contents(NamedTuple):
    """What goes into a file.

    Attributes:
        tensors: by published name.
        options: training options that its loader reads; None: its loader reads none.
    """

    tensors: Arrays
    options: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of the command."""

    part: tyro.conf.Positional[PartName]
    """The part to write; hfgi: with its encoder."""
    bundle: str = DEFAULT_BUNDLE
    """Name or folder of a bundle."""
    out: Path | None = None
    """The file to write; default: PART.safetensors."""


def main(options: Options) -> None:
    """Write the file and print what it holds."""
    place = bundle.find(options.bundle)
    out = options.out or Path(f"{options.part}.safetensors")
    if out.is_dir():
        raise UserError(f"--out is the folder {out}: wanted a file in it")
    place.check(*NEEDED.get(options.part, (parts.PARTS[options.part],)))
    with progress(f"exporting {options.part}"):
        held = _held(options, place)
        make_folder(out.parent)
        write(out, held)
    count = sum(array.size for array in held.tensors.values())
    print(f"{len(held.tensors)} tensors, {count:,} numbers: {out}")
    print(f"sha256 {sha256(out)}")


def _held(options: Options, place: Bundle) -> Contents:
    try:
        return CONTENTS[options.part](place)
    except UserError:
        raise
    except (ValueError, LookupError) as error:
        raise UserError(
            f"the {options.part} of bundle {place} is not of the published form, which its layout "
            f"is for ({shortened(error, 100)}): export another part"
        ) from error


def write(file: Path, held: Contents) -> None:
    """Write a .safetensors file, aside and then renamed.

    Raises:
        UserError: the file cannot be written.
    """
    about = {"format": "pt"}
    if held.options is not None:
        about["opts"] = json.dumps(held.options)
    header: dict[str, Any] = {"__metadata__": about}
    end = 0
    for name, array in held.tensors.items():
        start, end = end, end + array.nbytes
        entry = {"dtype": TYPES[array.dtype.name], "shape": list(array.shape)}
        header[name] = entry | {"data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(file) as aside, aside.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for array in held.tensors.values():
            stream.write(array.tobytes())


def table_of(place: Bundle, part: Part[Any, Any]) -> Mapping[str, np.ndarray]:
    """Return the checked weights of a part.

    Raises:
        UserError: the part is missing or damaged.
    """
    from emojax.store import weights  # late: imports JAX

    return {name: np.asarray(array) for name, array in weights.flatten(place.load(part)).items()}


def prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Return arrays with a prefix before their names."""
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def generator(place: Bundle) -> Contents:
    """Return a StyleGAN2 generator in rosinality's layout, its mean latent among the tensors.

    Raises:
        UserError: the generator is another, or limits its convolutions as NVlabs' can.
    """
    config: Any = place.config(parts.STYLEGAN2)
    if config.conv_clamp is not None:
        raise UserError(
            f"the generator of bundle {place} limits its convolutions to {config.conv_clamp:g}: "
            "wanted one without a limit, for which rosinality's layout has no place"
        )
    table = dict(table_of(place, parts.STYLEGAN2))
    mean = table.pop("latent_avg")
    tensors = inverted(table, stylegan.rosinality_rules(config))
    return Contents({**tensors, **filters(config.channels), "latent_avg": mean})


def filters(channels: tuple[int, ...]) -> Arrays:
    """Return rosinality's fixed filters by name: before up-convolutions, and of the skips."""
    taps = np.array([1, 3, 3, 1], np.float32)
    kernel = np.outer(taps, taps) / np.float32(16)
    ups = range(len(channels) - 1)
    names = [f"convs.{2 * i}.conv.blur.kernel" for i in ups]
    names += [f"to_rgbs.{i}.upsample.kernel" for i in ups]
    return dict.fromkeys(names, kernel)


def decoder(place: Bundle) -> Arrays:
    """Return the bundle's generator as the decoder of a file of the pSp family."""
    tensors = generator(place).tensors
    tensors.pop("latent_avg")
    return prefixed("decoder.", tensors)


def encoder_tensors(place: Bundle, part: Part[Any, Any]) -> tuple[Arrays, dict[str, Any]]:
    """Return an encoder's tensors, latent_avg among them, and its options."""
    config: Any = place.config(part)
    arrays = inverted(table_of(place, part), psp.RULES)
    mean = arrays.pop("latent_avg", None)
    names = {ours: theirs for theirs, ours in psp.ARCHITECTURES.items()}
    options = {
        "encoder_type": names[config.architecture],
        "input_nc": 3,
        "start_from_latent_avg": mean is not None,
    }
    tensors = prefixed("encoder.", arrays | counters(arrays))
    return tensors | ({} if mean is None else {"latent_avg": mean}), options


def encoder(place: Bundle) -> Contents:
    """Return a pSp or e4e encoder with its decoder."""
    tensors, options = encoder_tensors(place, parts.PSP)
    return Contents(tensors | decoder(place), options)


def w_encoder(place: Bundle) -> Contents:
    """Return HyperStyle's W encoder with its decoder."""
    tensors, options = encoder_tensors(place, parts.W_ENCODER)
    return Contents(tensors | decoder(place), options | {"encoder_type": "WEncoder"})


def hypernetwork(place: Bundle) -> Contents:
    """Return HyperStyle's hypernetwork, the further names of shared tensors among the others."""
    config: Any = place.config(parts.HYPERSTYLE)
    arrays = inverted(table_of(place, parts.HYPERSTYLE), hyperstyle.rules(config))
    for layer in config.layers:
        block = f"refinement_blocks.{layer}"
        if f"{block}.output.1.weight" not in arrays:
            for name in ("w1", "b1", "w2", "b2"):
                arrays[f"{block}.hypernet.{name}"] = arrays[f"shared_weight_hypernet.{name}"]
    tensors = prefixed("hypernet.", arrays | counters(arrays))
    mean = table_of(place, parts.W_ENCODER)["latent_avg"]
    options = {
        "encoder_type": hyperstyle.ENCODER_TYPE,
        "input_nc": 6,
        "layers_to_tune": ",".join(map(str, config.layers)),
        "load_w_encoder": True,
        "w_encoder_type": "WEncoder",
    }
    return Contents(tensors | decoder(place) | {"latent_avg": mean}, options)


def consultation(place: Bundle) -> Contents:
    """Return HFGI: its encoder, consultation encoder, decoder and aligner."""
    tensors, options = encoder_tensors(place, parts.HFGI_ENCODER)
    arrays = inverted(table_of(place, parts.HFGI), hfgi.RULES)
    return Contents(tensors | arrays | counters(arrays) | decoder(place), options)


def stylizer(place: Bundle) -> Contents:
    """Return DualStyleGAN's generator."""
    config: Any = place.config(parts.DUALSTYLEGAN)
    arrays = inverted(table_of(place, parts.DUALSTYLEGAN), dualstylegan.rules(config))
    return Contents(arrays | prefixed("generator.", filters(config.channels)))


def stylizer_encoder(place: Bundle) -> Contents:
    """Return DualStyleGAN's encoder, without the decoder, which a bundle does not keep."""
    return Contents(*encoder_tensors(place, parts.DUALSTYLEGAN_ENCODER))


def classifier(place: Bundle) -> Contents:
    """Return an HSEmotion classifier; its last layer has the name that it had in its file."""
    arrays = inverted(table_of(place, parts.EMOTION), emotion.RULES)
    known = str(place.metadata(parts.EMOTION).source.get("classifier", ""))
    if known.startswith("classifier.0."):
        arrays = {key.replace("classifier.", "classifier.0."): arrays[key] for key in arrays}
    return Contents(arrays | counters(arrays))


def identity(place: Bundle) -> Contents:
    """Return ArcFace's IR-SE-50."""
    arrays = inverted(table_of(place, parts.IDENTITY), arcface.RULES)
    return Contents(arrays | counters(arrays))


CONTENTS: dict[PartName, Callable[[Bundle], Contents]] = {
    "generator": generator,
    "psp": encoder,
    "w_encoder": w_encoder,
    "hyperstyle": hypernetwork,
    "hfgi": consultation,
    "dualstylegan": stylizer,
    "dualstylegan_encoder": stylizer_encoder,
    "emotion": classifier,
    "identity": identity,
}
"""What makes the contents of each part's file."""

NEEDED: dict[PartName, tuple[Part[Any, Any], ...]] = {
    "psp": (parts.PSP, parts.GENERATOR),
    "w_encoder": (parts.W_ENCODER, parts.GENERATOR),
    "hyperstyle": (parts.HYPERSTYLE, parts.W_ENCODER, parts.GENERATOR),
    "hfgi": (parts.HFGI, parts.HFGI_ENCODER, parts.GENERATOR),
}
"""The parts that each file is made of, where it is more than the part of that name."""

if __name__ == "__main__":
    cli(main)
