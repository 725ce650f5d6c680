"""Which system a published file belongs to: told by what is in it, never by its name.

    systems.system_of(saved)          the system of a loaded file, or None
    systems.load(file, "psp")         the contents of a file, refused where they are another's
    systems.needed(saved, "psp", file)    the system of such contents, refused where it is unknown

Names tell the systems, and a shape only where two have the same names. That a network is whole is
for its converter to say.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from convert.download import web_pages
from convert.reader import checkpoint_file, schema
from emojax.runtime.errors import UserError
from emojax.store.reader.contents import opened

BEGINNING = 2**14
"""Bytes that tell a web page, and mostly what it says."""

Converter = Literal[
    "stylegan",
    "stylegan1",
    "pggan",
    "dcgan",
    "psp",
    "hyperstyle",
    "hfgi",
    "dualstylegan",
    "emotion",
    "inception",
    "arcface",
    "lpips",
    "directions",
]
"""The converters, as `emojax convert` names them."""


@dataclasses.dataclass(frozen=True)
class System:
    """A kind of published file.

    Attributes:
        about: what it is, with its article, for messages.
        converter: which takes it; None where no bundle has such a part.
        parts: of a bundle, by name, that are made of it.
        also: converters that take something out of it too, such as its decoder.
    """

    about: str
    converter: Converter | None = None
    parts: tuple[str, ...] = ()
    also: tuple[Converter, ...] = ()


GENERATOR = System("a StyleGAN2 generator", "stylegan", ("generator",))
STYLEGAN1 = System("a StyleGAN generator (the first)", "stylegan1", ("generator",))
PGGAN = System("a ProgressiveGAN generator", "pggan", ("generator",))
DCGAN = System("a DCGAN generator", "dcgan", ("generator",))
PSP = System("a pSp encoder", "psp", ("psp",), also=("stylegan", "dualstylegan"))
PSP_W = System("a pSp encoder to W", "psp", ("psp",), also=("stylegan", "hyperstyle"))
E4E = System("an e4e encoder", "psp", ("psp",), also=("stylegan",))
W_ENCODER = System("HyperStyle's W encoder", "hyperstyle", ("w_encoder",), also=("stylegan",))
HYPERSTYLE = System("HyperStyle's hypernetwork", "hyperstyle", ("hyperstyle",), also=("stylegan",))
HFGI = System("HFGI", "hfgi", ("hfgi_encoder", "hfgi"), also=("stylegan",))
DUALSTYLEGAN = System("a DualStyleGAN generator", "dualstylegan", ("dualstylegan",))
STYLE_SAMPLER = System("DualStyleGAN's sampler of styles", "dualstylegan", ("style_sampler",))
STYLES = System("style codes of DualStyleGAN", "dualstylegan", ("styles",))
EMOTION = System("an emotion classifier (HSEmotion)", "emotion", ("emotion",))
INCEPTION = System("the Inception network of FID", "inception", ("inception",))
IDENTITY = System("ArcFace's IR-SE-50, an identity network", "arcface", ("identity",))
ALEXNET = System("torchvision's AlexNet", "lpips", ("alexnet",))
VGG16 = System("torchvision's VGG16", "lpips", ("vgg16",))
LPIPS_ALEXNET = System("the weights of LPIPS for AlexNet", "lpips", ("lpips_alexnet",))
LPIPS_VGG16 = System("the weights of LPIPS for VGG16", "lpips", ("lpips_vgg16",))
DIRECTIONS = System("directions", "directions")

BY_NAME = {
    "generator": GENERATOR,
    "stylegan1": STYLEGAN1,
    "pggan": PGGAN,
    "dcgan": DCGAN,
    "psp": PSP,
    "psp_w": PSP_W,
    "e4e": E4E,
    "w_encoder": W_ENCODER,
    "hyperstyle": HYPERSTYLE,
    "hfgi": HFGI,
    "dualstylegan": DUALSTYLEGAN,
    "style_sampler": STYLE_SAMPLER,
    "emotion": EMOTION,
    "inception": INCEPTION,
    "identity": IDENTITY,
    "alexnet": ALEXNET,
    "lpips_alexnet": LPIPS_ALEXNET,
    "vgg16": VGG16,
    "lpips_vgg16": LPIPS_VGG16,
}
"""Systems that parts of a bundle are made of, as the tables of published sets name them."""

ENCODERS = {
    "GradualStyleEncoder": PSP,
    "BackboneEncoderUsingLastLayerIntoWPlus": PSP,
    "BackboneEncoderUsingLastLayerIntoW": PSP_W,
    "Encoder4Editing": E4E,
    "WEncoder": W_ENCODER,
    "SingleStyleCodeEncoder": W_ENCODER,
    "SharedWeightsHyperNetResNet": HYPERSTYLE,
}
"""Systems by `opts.encoder_type` of a file of the pSp family."""

ALIGNER = "grid_align.conv_layer1.0.weight"
"""A tensor of HFGI, whose files say that they hold an e4e encoder, which they do."""

STRUCTURE = "res.0.conv.0.weight"
"""A tensor of DualStyleGAN, whose files hold it where StyleGAN2's hold a generator."""

KEYS = [
    (DUALSTYLEGAN, {STRUCTURE, "style.1.weight", "generator.conv1.conv.weight"}),
    (STYLE_SAMPLER, {"color", "structure"}),
    (GENERATOR, {"synthesis.b4.const"}),
    (GENERATOR, {"input.input", "conv1.conv.weight"}),
    (STYLEGAN1, {"synthesis.layer0.const", "mapping.dense0.weight"}),
    (STYLEGAN1, {"synthesis.layer0.first_layer", "mapping.dense0.linear.weight"}),
    (STYLEGAN1, {"generator.progression.0.conv1.input"}),
    (STYLEGAN1, {"g_synthesis.blocks.4x4.const"}),
    (PGGAN, {"layer0.weight", "layer0.bias", "layer1.weight", "layer1.bias"}),
    (PGGAN, {"formatLayer.module.weight", "groupScale0.0.module.weight"}),
    (DCGAN, {"main.0.weight", "main.1.running_mean", "main.3.weight", "main.12.weight"}),
    (EMOTION, {"conv_stem.weight", "conv_head.weight"}),
    (INCEPTION, {"Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch_pool.conv.weight"}),
    (DIRECTIONS, {"lat_comp"}),  # GANSpace's components, and e4e's extract of them
    (DIRECTIONS, {"comp"}),
    (IDENTITY, {"input_layer.0.weight", "output_layer.3.weight"}),
    (VGG16, {f"features.{i}.weight" for i in (2, 24, 26, 28)}),
    (ALEXNET, {f"features.{i}.weight" for i in (3, 6, 8, 10)}),
    (System("the weights of LPIPS for SqueezeNet"), {"lin0.model.1.weight", "lin6.model.1.weight"}),
    (LPIPS_ALEXNET, {"lin0.model.1.weight"}),  # or VGG16's, see `_by_names`
]
"""Systems by names that a state dict of theirs holds; the first that fits counts."""

VGG_WIDTH = 128
"""Channels of the second output of VGG16 that LPIPS weighs; AlexNet's has 192."""

NESTED = ("generator_smooth", "g_running", "avgG")
"""Entries of a file that hold the running average of a generator under training."""

WANTED: dict[Converter, str] = {
    "stylegan": "a StyleGAN2 generator, or a file with one as its decoder",
    "stylegan1": "a StyleGAN generator of genforce, InterfaceGAN, rosinality or lernapparat",
    "pggan": "a ProgressiveGAN generator of genforce or pytorch_GAN_zoo",
    "dcgan": "a DCGAN generator of pytorch/examples",
    "psp": "a pSp or e4e encoder",
    "hyperstyle": "HyperStyle's hypernetwork and its W encoder",
    "hfgi": "HFGI's file, such as ckpt.pt",
    "dualstylegan": "DualStyleGAN's generator, its encoder, style codes or sampler",
    "emotion": "an HSEmotion classifier",
    "inception": "the Inception network of FID",
    "arcface": "ArcFace's IR-SE-50",
    "lpips": "AlexNet or VGG16 of torchvision, or the weights of LPIPS for one of them",
    "directions": "directions",
}
"""What each converter takes."""


def system_of(saved: Any) -> System | None:
    """Return the system of a file that `checkpoint_file.load` has read; None: not known here."""
    if isinstance(saved, np.ndarray):
        return DIRECTIONS
    if isinstance(saved, checkpoint_file.Record):
        if saved.kind == checkpoint_file.OBJECT:
            return STYLES
        return _by_names(_module_tensors(saved))
    if not isinstance(saved, Mapping):
        return None
    if "G_ema" in saved or isinstance(saved.get("g_ema"), Mapping):
        held = saved.get("g_ema")
        return DUALSTYLEGAN if isinstance(held, Mapping) and STRUCTURE in held else GENERATOR
    if isinstance(saved.get("state_dict"), Mapping):
        if ALIGNER in saved["state_dict"]:
            return HFGI
        return _by_encoder(training_options(saved).get("encoder_type"))
    _, inside = nested(saved)
    return _by_names({name: held for name, held in inside.items() if isinstance(name, str)})


def nested(saved: Any) -> tuple[str, Any]:
    """Return what part of a loaded file holds a generator's state dict, and the dict."""
    if isinstance(saved, Mapping):
        for name in NESTED:
            if isinstance(saved.get(name), Mapping):
                return name, saved[name]
    return "the state dict", saved


def system_in(file: Path) -> System | None:
    """Return the system of a file; None: not known here.

    Raises:
        UserError: the file cannot be read.
    """
    return system_of(_loaded(file))


def training_options(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `opts` of a file of the pSp family, a dict or a Namespace; {} where it has none."""
    return schema.attributes(saved.get("opts"))


def load(file: Path, converter: Converter) -> Any:
    """Return the contents of a file, which may be those of an unknown system.

    Args:
        file: the published file.
        converter: that will take it.

    Raises:
        UserError: the file cannot be read, or belongs to another converter; names both systems.
    """
    saved = _loaded(file)
    found = system_of(saved)
    if found is not None and converter not in (found.converter, *found.also):
        raise UserError(f"{file} holds {found.about}, wanted {WANTED[converter]}: {remedy(found)}")
    return saved


def needed(saved: Any, converter: Converter, file: Path) -> System:
    """Return the system of a loaded file, for converters that take several.

    Raises:
        UserError: it is not known here.
    """
    if (found := system_of(saved)) is None:
        raise UserError(f"{file} holds no network that is known here: wanted {WANTED[converter]}")
    return found


def remedy(found: System) -> str:
    """Say what to do with a file that is in the wrong place, as the end of a message."""
    if found.converter is None:
        return "no part of a bundle is made of it"
    if found is DIRECTIONS:
        return "convert it with 'emojax convert directions FILE --name NAME'"
    return "'emojax convert FILE ... --name NAME' takes published files of every kind"


def _loaded(file: Path) -> Any:
    """Return the contents of a file; refuses web pages, which are often saved in their place."""
    first = _beginning(file)
    if web_pages.is_page("", first):
        said = web_pages.meaning(first.decode(errors="replace"))
        raise UserError(
            f"{file} is a web page, not a published file ({said}): open the file's address in a "
            "browser and save what it gives"
        )
    return checkpoint_file.load(file)


def _beginning(file: Path) -> bytes:
    """Return the first bytes of a file; none where it cannot be read, which the reader reports."""
    try:
        with opened(file) as stream:
            return stream.read(BEGINNING)
    except (OSError, ValueError):  # ValueError: a pipe or a device
        return b""


def _by_encoder(kind: Any) -> System | None:
    return ENCODERS.get(kind) if isinstance(kind, str) else None


def _by_names(held: Mapping[str, Any]) -> System | None:
    found = next((system for system, wanted in KEYS if wanted <= held.keys()), None)
    if found is LPIPS_ALEXNET and _shape(held, "lin1.model.1.weight")[1:2] == (VGG_WIDTH,):
        return LPIPS_VGG16
    return found


def _shape(held: Mapping[str, Any], name: str) -> tuple[int, ...]:
    array = held.get(name)
    return array.shape if isinstance(array, np.ndarray) else ()


def _module_tensors(saved: checkpoint_file.Record) -> Mapping[str, Any]:
    try:
        return checkpoint_file.state_dict(saved)
    except UserError:  # an object that is no network
        return {}
