"""DualStyleGAN's published files, small: a generator around `ros_tiny.pt`, and style codes."""

import tempfile
from pathlib import Path

import numpy as np

from convert import dualstylegan as converter
from emojax.models import psp
from emojax.models.dualstylegan import SamplerConfig, StyleSampler
from emojax.store import bundle, parts
from tests.data import recipe
from tests.support import small_world, torch_file
from tests.support.oracles import DATA

NAMES = ("style_c.jpg", "style_a.jpg", "style_b.jpg")
"""Of the styles, in the order of the file, which is no other order."""

STRUCTURE = 3
"""Residual blocks of the small generator."""
ENCODER = psp.EncoderConfig(n_styles=8, style_dim=32, average_rows=0, **small_world.TRUNK)
SAMPLER = SamplerConfig(structure=STRUCTURE, colour=5, style_dim=32, hidden=16)


def generator(seed: int = 0) -> dict[str, np.ndarray]:
    """Return the state dict of a small DualStyleGAN under its published names."""
    inside = recipe.state_dict(recipe.load_manifest(DATA / "files/ros_tiny.manifest.json"))
    state = {f"generator.{name}": array for name, array in inside.items()}
    width, rng = inside["style.1.weight"].shape[1], np.random.default_rng(seed)
    layers = sum(name.startswith("noises.") for name in inside) + 1

    def draw(name: str, *shape: int, scale: float = 1.0) -> None:
        state[name] = (scale * rng.standard_normal(shape)).astype(np.float32)

    for i in (1, 2):
        draw(f"style.{i}.weight", width, width, scale=100)
        draw(f"style.{i}.bias", width, scale=10)
    for i in range(layers):
        if i >= STRUCTURE:
            draw(f"res.{i}.weight", width, width)
            draw(f"res.{i}.bias", width, scale=0.1)
            continue
        name = "conv1" if i == 0 else f"convs.{i - 1}"
        channels = len(inside[f"{name}.activate.bias"])
        for each in ("", "2"):
            draw(f"res.{i}.conv{each}.0.weight", channels, channels, 3, 3)
            draw(f"res.{i}.conv{each}.1.bias", channels, scale=0.1)
            draw(f"res.{i}.norm{each}.style.weight", 2 * channels, width, scale=0.1)
            draw(f"res.{i}.norm{each}.style.bias", 2 * channels, scale=0.5)
    return state


def styles(layers: int, width: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Return style codes [1,L,D] by name."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((1, layers, width), np.float32) for name in NAMES}


def write_styles(file, codes):
    """Write codes as the original does: a pickled dict in a .npy file; return its path."""
    np.save(file, codes, allow_pickle=True)
    return file


def write_bundle(folder):
    """Write a small DualStyleGAN, its encoder, sampler and styles into a bundle, made if missing.

    Generator and styles go through their converter.
    """
    with tempfile.TemporaryDirectory() as place:
        trained = torch_file.write(Path(place) / "generator.pt", {"g_ema": generator()})
        codes = write_styles(Path(place) / "refined_exstyle_code.npy", styles(8, 32))
        converter.main(converter.Options((trained, codes), name=str(folder)))
    encoder = small_world.table(psp.Encoder, ENCODER, 41)
    bundle.save(folder, parts.DUALSTYLEGAN_ENCODER, ENCODER, encoder, {"codes": "z+"})
    sampler = small_world.table(StyleSampler, SAMPLER, 42)
    bundle.save(folder, parts.STYLE_SAMPLER, SAMPLER, sampler, {})
