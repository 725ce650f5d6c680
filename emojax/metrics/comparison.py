"""How alike two pictures of faces are: L2, PSNR, MS-SSIM, LPIPS and identity similarity.

As in HyperStyle's scripts, pictures are compared at 256 pixels: larger ones are shrunk by Pillow's
bilinear filter first, smaller ones are taken as they are.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from emojax.metrics.image_quality import reconstruction_error
from emojax.models import arcface
from emojax.models.arcface import ArcFace
from emojax.models.lpips import Lpips
from emojax.nn.resize import resize
from emojax.runtime import xla_options
from emojax.runtime.batching import in_batches
from emojax.runtime.devices import mesh_for, over_samples
from emojax.store.bundle import Bundle
from emojax.store.parts import ALEXNET, IDENTITY, LPIPS_ALEXNET, Part

SIDE = 256
"""Most pixels along a side at which pictures are compared."""

NETWORKS: dict[str, tuple[Part[Any, Any], ...]] = {
    "lpips": (ALEXNET, LPIPS_ALEXNET),
    "identity": (IDENTITY,),
}
"""The parts of a bundle that a measure needs, by name; the others need none."""

TITLES = {
    "l2": "L2",
    "psnr": "PSNR dB",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
    "identity": "identity similarity",
}
"""All measures, in their order."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Networks:
    """The networks that compare pictures; a pytree.

    Attributes:
        lpips: perceptual distance with AlexNet, the smaller the more alike; may be missing.
        identity: ArcFace, whose cosine is 1 for one person; may be missing.
    """

    lpips: Lpips | None = None
    identity: ArcFace | None = None


def load(bundle: Bundle) -> Networks:
    """Return the networks that a bundle has.

    Raises:
        UserError: a part is damaged.
    """
    has = {name: all(map(bundle.has, needed)) for name, needed in NETWORKS.items()}
    return Networks(
        Lpips(bundle.load(ALEXNET), bundle.load(LPIPS_ALEXNET)) if has["lpips"] else None,
        bundle.load(IDENTITY) if has["identity"] else None,
    )


def parts(bundle: Bundle) -> list[Part[Any, Any]]:
    """Return the parts of a bundle that measures depend on."""
    return [part for needed in NETWORKS.values() if all(map(bundle.has, needed)) for part in needed]


def missing(bundle: Bundle) -> list[str]:
    """Return a sentence for each measure whose network a bundle lacks, with what makes it."""
    return [
        f"no {TITLES[name]}: {bundle.lack(part)}"
        for name, needed in NETWORKS.items()
        for part in [part for part in needed if not bundle.has(part)][:1]
    ]


def compare(
    networks: Networks, results: np.ndarray, references: np.ndarray, *, batch: int
) -> dict[str, np.ndarray]:
    """Return the measures of pairs of pictures, [N] each.

    Args:
        networks: see `load`.
        results: uint8 [N,S,S,3].
        references: what they are compared with, of the same shape.
        batch: pairs at a time; fewer are padded to as many, so that XLA compiles once.

    Returns:
        `l2` and `psnr` (of levels in [-1, 1]), from sides of 176 pixels on `ms_ssim` (nan where
        the contrasts are opposed), and with the networks for them `lpips` and `identity`.
    """
    count, mesh = len(results), mesh_for(batch)
    run = _program(mesh)
    rows = np.minimum(np.arange(max(count, batch)), count - 1)
    pairs = {"results": results[rows], "references": references[rows]}
    found = in_batches(lambda few: run(networks, few), pairs, batch, multiple_of=mesh.size)
    return {name: found[name][:count] for name in TITLES if name in found}


@functools.cache
def _program(mesh: jax.sharding.Mesh) -> Callable[..., dict[str, jax.Array]]:
    dense = xla_options.options(dense=True)
    return over_samples(_compared, mesh, (False, True), compiler_options=dense)


def _compared(networks: Networks, pairs: dict[str, jax.Array]) -> dict[str, jax.Array]:
    side = min(SIDE, pairs["results"].shape[1])
    a, b = (_levels(pairs[name], side) for name in ("results", "references"))
    found = reconstruction_error(a, b)
    if networks.lpips is not None:
        found["lpips"] = networks.lpips(a, b)
    if networks.identity is not None:
        both = [networks.identity(_levels(each, arcface.RESOLUTION)) for each in pairs.values()]
        found["identity"] = (both[0] * both[1]).sum(-1)
    return found


def _levels(pictures: jax.Array, side: int) -> jax.Array:
    """Return pictures uint8 [B,S,S,3] at another size, float32 in [-1, 1]."""
    return resize(pictures, side, side, "bilinear", as_uint8=True) / 127.5 - 1.0
