"""A bundle of small random networks: everything the inverters do, in seconds."""

import dataclasses
import zlib

import jax
import numpy as np

from emojax.faces import images
from emojax.latents.directions import Directions
from emojax.latents.emotion_means import EmotionMeans
from emojax.models import arcface, hfgi, hyperstyle, lpips, psp, stylegan2
from emojax.models.efficientnet import EIGHT, EmotionConfig, EmotionNet
from emojax.store import bundle, parts, weights
from tests.support.pictures import noise

SIDE = 64
GENERATOR = stylegan2.GeneratorConfig(
    channels=(32, 32, 32, 32, 16, 16), style_dim=32, z_dim=32, n_mlp=2
)
TRUNK = {"stem": 16, "widths": (16, 16, 32, 32), "units": (1, 1, 1, 1), "resolution": SIDE}
ENCODER = psp.EncoderConfig(n_styles=12, style_dim=32, average_rows=12, **TRUNK)
W_ENCODER = psp.EncoderConfig("w", n_styles=12, style_dim=32, average_rows=12, **TRUNK)
HYPERNET = hyperstyle.HypernetConfig(
    layers=(0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15),
    n_deltas=17,
    channels=GENERATOR.channels,
    resolution=SIDE,
    widths=(16, 16, 32, 32),
    units=(1, 1, 1, 1),
    shared_width=16,
    separate_width=16,
)
HFGI_ENCODER = psp.EncoderConfig("e4e", n_styles=12, style_dim=32, average_rows=12, **TRUNK)
HFGI = hfgi.HFGIConfig(32, SIDE, aligner=(8, 8, 8, 8), consultation=(8, 8, 8))
IDENTITY = arcface.ArcFaceConfig(
    features=16, side=32, stem=16, widths=(16, 16, 32, 32), units=(1, 1, 1, 1)
)
EMOTION = EmotionConfig(width=0.1, depth=0.1, size=32)


def table(network, config, seed):
    """Draw a network's weights, statistics that stay positive among them."""
    flat = weights.flatten(weights.abstract(network, config))
    drawn = {}
    for name, value in flat.items():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])  # whatever else there is
        fan = max(int(np.prod(value.shape[:-1])), 1)
        array = rng.standard_normal(value.shape)
        if name.startswith("shared."):
            array *= 0.05
        elif name.endswith((".var", ".scale")):
            array = rng.uniform(0.5, 1.5, value.shape)
        elif name.endswith("kernel"):
            array /= np.sqrt(fan)
        elif name.endswith(("bias", "mean", "prelu.weight", "noise_strength")):
            array *= 0.1
        drawn[name] = array.astype(np.float32)
    return drawn


def write(folder):
    """Write the bundle and return its folder."""
    arrays = table(stylegan2.Generator, GENERATOR, 0)
    stored = bundle.save(folder, parts.GENERATOR, GENERATOR, arrays, {})
    tied = {"generator_sha256": stored["weights_sha256"]}
    bundle.save(folder, parts.PSP, ENCODER, table(psp.Encoder, ENCODER, 1), tied)
    bundle.save(folder, parts.W_ENCODER, W_ENCODER, table(psp.Encoder, W_ENCODER, 2), tied)
    bundle.save(folder, parts.HYPERSTYLE, HYPERNET, table(hyperstyle.Hypernet, HYPERNET, 3), tied)
    return folder


def write_whole(folder):
    """Write the bundle with classifier, directions and samples too, and return its folder."""
    write(folder)
    arrays = table(EmotionNet, EMOTION, 5)
    for name in arrays:
        if name.endswith("kernel"):  # else its swishes die away: the same answer to every picture
            arrays[name] = arrays[name] * np.float32(1.75)
    bundle.save(folder, parts.EMOTION, EMOTION, arrays, {})
    metadata = {"generator_sha256": bundle.find(folder).sha256(parts.GENERATOR)}
    dataclasses.replace(directions(), metadata=metadata).save(folder / "directions.npz")
    (folder / "samples").mkdir()
    for name, picture in zip(("source", "target"), noise("samples", 2, SIDE), strict=True):
        images.write(folder / "samples" / f"{name}.png", images.to_uint8(picture))
    return folder


def write_features(folder):
    """Write a network of features, which optimisation makes alike, and return the folder."""
    config = dataclasses.replace(EMOTION, classes=("a",))
    bundle.save(folder, parts.FEATURES, config, table(EmotionNet, config, 6), {})
    return folder


def write_comparing(folder):
    """Write the networks that compare pictures into a bundle: ArcFace, and LPIPS with AlexNet."""
    alexnet, linear = lpips.BackboneConfig(), lpips.LinearConfig()
    for part, network, config, seed in (
        (parts.IDENTITY, arcface.ArcFace, IDENTITY, 10),
        (parts.ALEXNET, lpips.Backbone, alexnet, 11),
        (parts.LPIPS_ALEXNET, lpips.Linear, linear, 12),
    ):
        bundle.save(folder, part, config, table(network, config, seed), {})
    return folder


def write_hfgi(folder):
    """Write HFGI's two parts into a bundle, and return its folder."""
    tied = {"generator_sha256": bundle.find(folder).sha256(parts.GENERATOR)}
    encoder = table(psp.Encoder, HFGI_ENCODER, 13)
    bundle.save(folder, parts.HFGI_ENCODER, HFGI_ENCODER, encoder, tied)
    bundle.save(folder, parts.HFGI, HFGI, table(hfgi.HFGI, HFGI, 14), tied)
    return folder


def directions(seed=4):
    """Draw directions in W for the eight emotions, with steps between mean faces."""
    rng = np.random.default_rng(seed)
    width, names = GENERATOR.style_dim, tuple(name.lower() for name in EIGHT)
    steps = np.random.default_rng([seed, 1]).standard_normal((len(names), width))
    return Directions(
        names,
        rng.standard_normal((len(EIGHT), width)),
        rng.standard_normal(len(EIGHT)),
        rng.standard_normal(width),
        rng.uniform(0.5, 2, len(EIGHT)),
        means=EmotionMeans(names, steps, np.linspace(0.01, 0.24, len(names))),
    )


def rel_err(a, b):
    """Return ||a - b|| / ||b||."""
    a, b = (np.asarray(jax.device_get(x), np.float64) for x in (a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
