"""What the exported file of each part holds: its tensors under their published names.

Conversion tables are read backwards, see `convert.inverse`; what a converter checked and left out
because it is the same in every file (filters, counters of training steps) is written again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from convert import (
    arcface,
    dcgan,
    dualstylegan,
    emotion,
    hfgi,
    hyperstyle,
    inception,
    lpips,
    pggan,
    psp,
    stylegan,
    stylegan1,
)
from convert.generators import GROWN, MEAN
from convert.inverse import counters, inverted
from convert.rules import COUNTER, Ignored
from emojax.runtime.errors import UserError
from emojax.store import parts
from emojax.store.bundle import Bundle
from emojax.store.metadata import Metadata
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
    "inception",
    "alexnet",
    "lpips_alexnet",
    "vgg16",
    "lpips_vgg16",
]

Arrays = dict[str, np.ndarray]

RESTORED = (COUNTER, MEAN, GROWN, stylegan1.BLUR)
"""Why tensors are left out of a bundle that are written again."""


class Contents(NamedTuple):
    """What goes into a file.

    Attributes:
        tensors: by published name.
        options: training options that its loader reads; None: its loader reads none.
        absent: tensors of the published file that a converted bundle does not keep.
    """

    tensors: Arrays
    options: dict[str, Any] | None = None
    absent: Sequence[Ignored] = ()


def not_kept(held: Contents, metadata: Metadata) -> dict[str, str]:
    """Return the tensors that a file lacks because conversion did not keep them, and why.

    Args:
        held: what the file holds.
        metadata: of the part, which says what its own file had.
    """
    reasons = metadata.source.get("ignored", {})
    return {
        each.source.replace(r"\d+", "N").replace(".*", "*").replace("\\", ""): each.reason
        for each in held.absent
        if each.reason in reasons and each.reason not in RESTORED
    }


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
    """Return the generator, whichever it is."""
    makers = {
        parts.STYLEGAN2: stylegan2,
        parts.STYLEGAN1: first_stylegan,
        parts.PGGAN: progressive,
        parts.DCGAN: deep_convolutional,
    }
    found = place.network_of(parts.GENERATOR).class_name
    return next(make for part, make in makers.items() if part.class_name == found)(place)


def first_stylegan(place: Bundle) -> Contents:
    """Return a generator of the first StyleGAN in the layout of the file it comes from."""
    config, source = place.config(parts.STYLEGAN1), place.metadata(parts.STYLEGAN1).source
    layout = stylegan1.layout_of(config, str(source.get("layout")))
    tensors = stylegan1.published(config, layout, table_of(place, parts.STYLEGAN1))
    return Contents(tensors, absent=layout.ignored)


def progressive(place: Bundle) -> Contents:
    """Return a ProgressiveGAN generator: genforce's or pytorch_GAN_zoo's."""
    config = place.config(parts.PGGAN)
    tensors = inverted(table_of(place, parts.PGGAN), pggan.rules(config))
    if config.variant == "nvidia":
        tensors["lod"] = np.zeros((), np.float32)
    return Contents(tensors, absent=pggan.IGNORED[config.variant])


def deep_convolutional(place: Bundle) -> Contents:
    """Return a DCGAN generator."""
    arrays = inverted(table_of(place, parts.DCGAN), dcgan.RULES)
    return Contents(arrays | counters(arrays))


def stylegan2(place: Bundle) -> Contents:
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
    tensors = stylegan2(place).tensors
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


def distances(place: Bundle) -> Contents:
    """Return the Inception network of FID."""
    arrays = inverted(table_of(place, parts.INCEPTION), inception.RULES)
    return Contents(arrays | counters(arrays), absent=inception.IGNORED)


def perceptual(part: Part[Any, Any]) -> Callable[[Bundle], Contents]:
    """Return what makes the contents of one of the networks of LPIPS."""

    def make(place: Bundle) -> Contents:
        _, rules = lpips.config_and_rules(part)
        return Contents(inverted(table_of(place, part), rules), absent=lpips.IGNORED)

    return make


CONTENTS: dict[str, Callable[[Bundle], Contents]] = {
    "generator": generator,
    "psp": encoder,
    "w_encoder": w_encoder,
    "hyperstyle": hypernetwork,
    "hfgi": consultation,
    "dualstylegan": stylizer,
    "dualstylegan_encoder": stylizer_encoder,
    "emotion": classifier,
    "identity": identity,
    "inception": distances,
    **{part.name: perceptual(part) for part in lpips.PARTS.values()},
}
"""What makes the contents of each part's file."""

NEEDED: dict[str, tuple[Part[Any, Any], ...]] = {
    "psp": (parts.PSP, parts.GENERATOR),
    "w_encoder": (parts.W_ENCODER, parts.GENERATOR),
    "hyperstyle": (parts.HYPERSTYLE, parts.W_ENCODER, parts.GENERATOR),
    "hfgi": (parts.HFGI, parts.HFGI_ENCODER, parts.GENERATOR),
}
"""The parts that each file is made of, where it is more than the part of that name."""
