"""The parts a bundle may have: the network of each and the command that makes it.

The table imports no JAX: a network's classes are imported when they are asked for, so that command
lines, late checks and error messages can use the table at once. A new network is one entry here; a
new inverter is one entry more, in `INVERTERS`.
"""

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from emojax.runtime.choices import InverterName

if TYPE_CHECKING:
    from flax import nnx

    from emojax.models import (
        arcface,
        dcgan,
        dualstylegan,
        efficientnet,
        generator,
        hfgi,
        hyperstyle,
        inception,
        lpips,
        pggan,
        psp,
        stylegan1,
        stylegan2,
    )

NetworkT = TypeVar("NetworkT", bound="nnx.Module | generator.Generator", covariant=True)
ConfigT = TypeVar("ConfigT", covariant=True)


@dataclasses.dataclass(frozen=True)
class Part(Generic[NetworkT, ConfigT]):
    """One kind of part: a network of a bundle, in a folder of its own.

    Attributes:
        name: of its folder in the bundle.
        network: class of the network, "module:Class" under `emojax.models`.
        config: class of the network's config, in the same form.
        about: what it is, for lists and messages.
        converter: how `emojax convert` makes it from published files; None where none is published.
        on_request: the published file, where `emojax fetch` brings it only if it is asked for.
        fetched: whether `emojax fetch` can bring it.
        others: other networks that a bundle may have in this part; metadata tells which it is.
        goes_with: the only generator that it is made for; None: any.
    """

    name: str
    network: str
    config: str
    about: str
    converter: str | None = None
    on_request: str | None = None
    fetched: bool = True
    others: "tuple[Part[Any, Any], ...]" = ()
    goes_with: "Part[Any, Any] | None" = None

    @property
    def class_name(self) -> str:
        """Name of the network's class, as metadata has it."""
        return self.network.partition(":")[2]

    def network_class(self) -> type[NetworkT]:
        """Return the network's class; imports its module, and JAX with it."""
        return _imported(self.network)

    def config_class(self) -> type[ConfigT]:
        """Return the class of the network's config; imports its module, and JAX with it."""
        return _imported(self.config)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(f"emojax.models.{module}"), name)


STYLEGAN2: "Part[stylegan2.Generator, stylegan2.GeneratorConfig]" = Part(
    "generator",
    "stylegan2:Generator",
    "stylegan2:GeneratorConfig",
    "StyleGAN2 generator",
    "stylegan FILE",
)
STYLEGAN1: "Part[stylegan1.StyleGAN1, stylegan1.StyleGAN1Config]" = Part(
    "generator",
    "stylegan1:StyleGAN1",
    "stylegan1:StyleGAN1Config",
    "StyleGAN generator (the first)",
    "stylegan1 FILE",
)
PGGAN: "Part[pggan.ProgressiveGAN, pggan.ProgressiveGANConfig]" = Part(
    "generator",
    "pggan:ProgressiveGAN",
    "pggan:ProgressiveGANConfig",
    "ProgressiveGAN generator",
    "pggan FILE",
)
DCGAN: "Part[dcgan.DCGAN, dcgan.DCGANConfig]" = Part(
    "generator", "dcgan:DCGAN", "dcgan:DCGANConfig", "DCGAN generator", "dcgan FILE"
)
GENERATOR: "Part[generator.Generator, generator.Config]" = dataclasses.replace(
    STYLEGAN2, others=(STYLEGAN1, PGGAN, DCGAN)
)
"""Whichever generator a bundle has; a new bundle's is StyleGAN2."""

PSP: "Part[psp.Encoder, psp.EncoderConfig]" = Part(
    "psp",
    "psp:Encoder",
    "psp:EncoderConfig",
    "pSp or e4e encoder, pictures to W+",
    "psp FILE",
    goes_with=STYLEGAN2,
)
W_ENCODER: "Part[psp.Encoder, psp.EncoderConfig]" = Part(
    "w_encoder",
    "psp:Encoder",
    "psp:EncoderConfig",
    "HyperStyle's encoder, pictures to W",
    "hyperstyle FILE --w-encoder FILE",
    goes_with=STYLEGAN2,
)
HYPERSTYLE: "Part[hyperstyle.Hypernet, hyperstyle.HypernetConfig]" = Part(
    "hyperstyle",
    "hyperstyle:Hypernet",
    "hyperstyle:HypernetConfig",
    "HyperStyle's hypernetwork",
    "hyperstyle FILE --w-encoder FILE",
    goes_with=STYLEGAN2,
)
HFGI_ENCODER: "Part[psp.Encoder, psp.EncoderConfig]" = Part(
    "hfgi_encoder",
    "psp:Encoder",
    "psp:EncoderConfig",
    "HFGI's e4e encoder, pictures to W+",
    "hfgi FILE",
    on_request="ckpt.pt",
    goes_with=STYLEGAN2,
)
HFGI: "Part[hfgi.HFGI, hfgi.HFGIConfig]" = Part(
    "hfgi",
    "hfgi:HFGI",
    "hfgi:HFGIConfig",
    "HFGI's aligner and consultation encoder",
    "hfgi FILE",
    on_request="ckpt.pt",
    goes_with=STYLEGAN2,
)
DUALSTYLEGAN: "Part[dualstylegan.DualStyleGAN, dualstylegan.DualStyleGANConfig]" = Part(
    "dualstylegan",
    "dualstylegan:DualStyleGAN",
    "dualstylegan:DualStyleGANConfig",
    "DualStyleGAN, a generator of faces in a style",
    "dualstylegan generator.pt",
    fetched=False,
)
DUALSTYLEGAN_ENCODER: "Part[psp.Encoder, psp.EncoderConfig]" = Part(
    "dualstylegan_encoder",
    "psp:Encoder",
    "psp:EncoderConfig",
    "DualStyleGAN's encoder, pictures to Z+ or W+",
    "dualstylegan encoder.pt",
    fetched=False,
)
STYLE_SAMPLER: "Part[dualstylegan.StyleSampler, dualstylegan.SamplerConfig]" = Part(
    "style_sampler",
    "dualstylegan:StyleSampler",
    "dualstylegan:SamplerConfig",
    "DualStyleGAN's sampler of random styles",
    "dualstylegan sampler.pt",
    fetched=False,
)
EMOTION: "Part[efficientnet.EmotionNet, efficientnet.EmotionConfig]" = Part(
    "emotion",
    "efficientnet:EmotionNet",
    "efficientnet:EmotionConfig",
    "emotion classifier (HSEmotion)",
    "emotion FILE",
)
INCEPTION: "Part[inception.Inception, inception.InceptionConfig]" = Part(
    "inception",
    "inception:Inception",
    "inception:InceptionConfig",
    "Inception of FID and KID",
    "inception FILE",
)
IDENTITY: "Part[arcface.ArcFace, arcface.ArcFaceConfig]" = Part(
    "identity",
    "arcface:ArcFace",
    "arcface:ArcFaceConfig",
    "ArcFace, whether two faces are of one person",
    "arcface FILE",
)
ALEXNET: "Part[lpips.Backbone, lpips.BackboneConfig]" = Part(
    "alexnet",
    "lpips:Backbone",
    "lpips:BackboneConfig",
    "AlexNet, whose features LPIPS compares",
    "lpips FILE",
)
LPIPS_ALEXNET: "Part[lpips.Linear, lpips.LinearConfig]" = Part(
    "lpips_alexnet",
    "lpips:Linear",
    "lpips:LinearConfig",
    "weights of LPIPS for AlexNet",
    "lpips FILE",
)
VGG16: "Part[lpips.Backbone, lpips.BackboneConfig]" = Part(
    "vgg16",
    "lpips:Backbone",
    "lpips:BackboneConfig",
    "VGG16, whose features LPIPS compares",
    "lpips FILE",
)
LPIPS_VGG16: "Part[lpips.Linear, lpips.LinearConfig]" = Part(
    "lpips_vgg16",
    "lpips:Linear",
    "lpips:LinearConfig",
    "weights of LPIPS for VGG16",
    "lpips FILE",
)
FEATURES: "Part[efficientnet.EmotionNet, efficientnet.EmotionConfig]" = Part(
    "features",
    "efficientnet:EmotionNet",
    "efficientnet:EmotionConfig",
    "network whose pooled features stand in for Inception's",
)
ATTRIBUTES: "Part[efficientnet.EmotionNet, efficientnet.EmotionConfig]" = Part(
    "attributes",
    "efficientnet:EmotionNet",
    "efficientnet:EmotionConfig",
    "attribute regressor, for evaluation only",
)

PARTS: dict[str, Part[Any, Any]] = {
    each.name: each for each in tuple(globals().values()) if isinstance(each, Part)
}
"""The entries above by name, in their order; of generators the one that stands for all."""


@dataclasses.dataclass(frozen=True)
class InverterKind:
    """What is known of an inverter without its networks.

    Attributes:
        title: for figures.
        parts: that it needs beside the generator.
        optimises: whether codes are found by optimisation, which needs a perceptual distance.
        changes: whether each face has a generator of its own.
        generator: that it is for.
    """

    title: str
    parts: tuple[Part[Any, Any], ...] = ()
    optimises: bool = False
    changes: bool = False
    generator: Part[Any, Any] = STYLEGAN2

    @property
    def repeats(self) -> bool:
        """Whether it makes passes or steps, which an inversion counts."""
        return self.optimises or self.changes


INVERTERS: dict[InverterName, InverterKind] = {
    "psp": InverterKind("pSp", (PSP,)),
    "hyperstyle": InverterKind("HyperStyle", (W_ENCODER, HYPERSTYLE), changes=True),
    "hfgi": InverterKind("HFGI", (HFGI_ENCODER, HFGI), changes=True),
    "projection-w": InverterKind("projection to W", optimises=True),
    "projection": InverterKind("projection to W+", optimises=True, changes=True),
    "pti": InverterKind("PTI", optimises=True, changes=True),
    "none": InverterKind("generated faces", generator=GENERATOR),
}
"""The inverters; how each works stands in `emojax.latents.inversion.METHODS`."""

INVERTER_PARTS = {name: kind.parts for name, kind in INVERTERS.items()}
"""The parts that each inverter needs beside the generator."""
