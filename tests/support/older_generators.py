"""StyleGAN, ProgressiveGAN and DCGAN: their recorded cases, and small networks of each layout."""

import re
from typing import Any

import numpy as np

from convert import dcgan, pggan, stylegan1
from emojax.store import weights
from emojax.store.parts import DCGAN, PGGAN, STYLEGAN1
from tests.data import recipe
from tests.support import oracles

NESTED = {
    "stylegan1_ffhq1024": "generator_smooth",
    "stylegan1_rosinality1024": "g_running",
    "pggan_celebahq1024": "generator_smooth",
    "pggan_ganzoo256": "avgG",
}
"""Where the published files hold the generator; others are the state dict itself."""

CASES = (
    "stylegan1_ffhq1024",
    "stylegan1_interfacegan1024",
    "stylegan1_rosinality1024",
    "stylegan1_lernapparat1024",
    "pggan_celebahq1024",
    "pggan_ganzoo256",
    "dcgan64",
)


def saved(case: str, state: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what the published file of a case holds."""
    where = NESTED.get(case)
    return state if where is None else {"generator": {}, "discriminator": {}, where: state}


def build(case: str, state: dict[str, np.ndarray]) -> Any:
    """Return the generator of a case's state dict, through its converter."""
    contents = saved(case, state)
    if case.startswith("stylegan1"):
        part, found = STYLEGAN1, stylegan1.find(contents, case)
        if found.latent_avg is None:  # would be averaged, over 100,000 codes
            width = found.tensors[stylegan1.LAYOUTS[found.layout].mapping(0)[0]].shape[0]
            found = found._replace(latent_avg=np.zeros(width, np.float32))
        made = stylegan1.convert(found)
    elif case.startswith("pggan"):
        part, made = PGGAN, pggan.convert(pggan.find(contents, case))
    else:
        part, made = DCGAN, dcgan.convert(state)
    return weights.load(weights.abstract(part.network_class(), made[0]), made[1])


def small_state(case: str, *, resolutions: int = 6, divisor: int = 64) -> dict[str, np.ndarray]:
    """Draw a state dict in a case's layout, of a narrow network up to 128² (DCGAN: 64²)."""
    manifest, entries = oracles.manifest(case), []
    for entry in manifest["entries"]:
        if _resolution(entry["key"]) >= resolutions:
            continue
        shape = [size if size % divisor else size // divisor for size in entry["shape"]]
        if entry["key"].endswith(".noise"):
            shape = entry["shape"]
        if entry["key"] == "g_synthesis.torgb.weight":
            shape[1] = 512 // divisor >> max(0, resolutions - 4)
        entries.append({**entry, "shape": shape})
    return recipe.state_dict({**manifest, "entries": entries})


def _resolution(key: str) -> int:
    """Return the index of the resolution that a tensor belongs to: 0 for 4²."""
    if found := re.search(r"(?:^|\.)layer(\d+)\.", key):
        return int(found[1]) // 2
    if found := re.search(r"(?:output|progression\.|to_rgb\.|toRGBLayers\.)(\d+)", key):
        return int(found[1])
    if found := re.search(r"scaleLayers\.(\d+)", key):
        return int(found[1]) + 1
    if found := re.search(r"blocks\.(\d+)x", key):
        return int(found[1]).bit_length() - 3
    return 0
