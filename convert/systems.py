"""Which system a published file belongs to: told by what is in it, never by its name.

    systems.system_of(saved)          the system of a loaded file, or None
    systems.load(file, "psp")         the contents of a file, refused where they are another's

Nothing here looks at shapes or counts tensors: that a network is whole is for its converter to say.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from convert.download import web_pages
from convert.reader import checkpoint_file, schema
from emojax.runtime.errors import UserError
from emojax.store.reader.contents import opened

BEGINNING = 2**14
"""Bytes that tell a web page, and mostly what it says."""

NPY = b"\x93NUMPY"
"""First bytes of a `.npy` file."""

Converter = Literal["stylegan", "psp", "hyperstyle", "emotion", "inception", "directions"]
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
PSP = System("a pSp encoder", "psp", ("psp",), also=("stylegan",))
PSP_W = System("a pSp encoder to W", "psp", ("psp",), also=("stylegan", "hyperstyle"))
E4E = System("an e4e encoder", "psp", ("psp",), also=("stylegan",))
W_ENCODER = System("HyperStyle's W encoder", "hyperstyle", ("w_encoder",), also=("stylegan",))
HYPERSTYLE = System("HyperStyle's hypernetwork", "hyperstyle", ("hyperstyle",), also=("stylegan",))
EMOTION = System("an emotion classifier (HSEmotion)", "emotion", ("emotion",))
INCEPTION = System("the Inception network of FID", "inception", ("inception",))
DIRECTIONS = System("directions", "directions")

BY_NAME = {
    "generator": GENERATOR,
    "psp": PSP,
    "psp_w": PSP_W,
    "e4e": E4E,
    "w_encoder": W_ENCODER,
    "hyperstyle": HYPERSTYLE,
    "emotion": EMOTION,
    "inception": INCEPTION,
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

KEYS = [
    (GENERATOR, {"synthesis.b4.const"}),
    (GENERATOR, {"input.input", "conv1.conv.weight"}),
    (EMOTION, {"conv_stem.weight", "conv_head.weight"}),
    (INCEPTION, {"Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch_pool.conv.weight"}),
    (DIRECTIONS, {"lat_comp"}),  # GANSpace's components, and e4e's extract of them
    (DIRECTIONS, {"comp"}),
    (
        System("InsightFace's IR-SE50, an identity network"),
        {"input_layer.0.weight", "output_layer.3.weight"},
    ),
    (System("torchvision's VGG16"), {"features.28.weight", "classifier.6.weight"}),
    (System("torchvision's AlexNet"), {"features.10.weight", "classifier.6.weight"}),
    (System("the linear layers of LPIPS"), {"lin0.model.1.weight"}),
]
"""Systems by names that a state dict of theirs holds; the first that fits counts."""

WANTED: dict[Converter, str] = {
    "stylegan": "a StyleGAN2 generator, or a file with one as its decoder",
    "psp": "a pSp or e4e encoder",
    "hyperstyle": "HyperStyle's hypernetwork and its W encoder",
    "emotion": "an HSEmotion classifier",
    "inception": "the Inception network of FID",
    "directions": "directions",
}
"""What each converter takes."""


def system_of(saved: Any) -> System | None:
    """Return the system of a file that `checkpoint_file.load` has read; None: not known here."""
    if isinstance(saved, np.ndarray):
        return DIRECTIONS
    if isinstance(saved, checkpoint_file.Record):
        return _by_names(_module_names(saved))
    if not isinstance(saved, Mapping):
        return None
    if "G_ema" in saved or isinstance(saved.get("g_ema"), Mapping):
        return GENERATOR
    if isinstance(saved.get("state_dict"), Mapping):
        return _by_encoder(training_options(saved).get("encoder_type"))
    return _by_names(name for name in saved if isinstance(name, str))


def system_in(file: Path) -> System | None:
    """Return the system of a file; None: not known here.

    Raises:
        UserError: the file cannot be read.
    """
    if _beginning(file).startswith(NPY):  # one array: no checkpoint has this form
        return DIRECTIONS
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


def _by_names(names: Iterable[str]) -> System | None:
    held = set(names)
    return next((system for system, wanted in KEYS if wanted <= held), None)


def _module_names(saved: checkpoint_file.Record) -> Iterable[str]:
    try:
        return checkpoint_file.state_dict(saved)
    except UserError:  # an object that is no network
        return ()
