"""HFGI: an e4e code, and the details that it leaves out, aligned to whatever is drawn.

Kept of a photograph is its distortion map, what its code's picture lacks. Whenever codes are drawn,
edited ones too, the map is aligned to their own picture and fused into the generator's features.

Source: Wang et al. 2022; Tengfei-Wang/HFGI `scripts/inference.py`. Its `predict.py` keeps the fused
features of the inversion for edits, which differs by 5 %.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax.latents.inverter import Changes, Inverter, Method, Run
from emojax.models.hfgi import HFGI
from emojax.nn.pooling import centre_mean
from emojax.runtime.batching import in_batches
from emojax.runtime.devices import mesh_for, over_samples
from emojax.runtime.xla_options import options

DISTORTION = "distortion"
"""Name of the maps [N,R,R,3] among the changes: float32 in (-2, 2), 786 KB a face at 256²."""


def _find(
    inverter: Inverter, pictures: np.ndarray, _passes: int, run: Run
) -> tuple[np.ndarray, Changes]:
    """Return codes [N,L,D] and distortion maps; see `Method.find`."""
    mesh = mesh_for(run.batch, run.devices)
    comparing = _comparing(mesh)
    codes, maps = in_batches(
        lambda rows: comparing(inverter, rows),
        pictures,
        run.batch,
        multiple_of=mesh.size,
        advance=run.advance,
    )
    return codes, {DISTORTION: jnp.asarray(maps)}


@functools.cache
def _comparing(mesh: jax.sharding.Mesh) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Compile pictures [B,R,R,3] to codes and distortion maps for a mesh."""
    return over_samples(_compared, mesh, (False, True), compiler_options=options(dense=True))


def _compared(inverter: Inverter, pictures: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return codes [B,L,D] of pictures [B,R,R,3], and what the codes' pictures lack."""
    assert inverter.encoder is not None  # see `emojax.store.parts.INVERTERS`
    codes = inverter.encoder(pictures)
    return codes, pictures - shown(inverter, codes)


def shown(inverter: Inverter, codes: jax.Array) -> jax.Array:
    """Draw codes [B,L,D] by themselves: [B,R,R,3], R the encoder's side, clipped to [-1, 1]."""
    side = _consultant(inverter).config.resolution
    return centre_mean(jnp.clip(inverter.generator.synthesis(codes), -1, 1), side)


def _drawn(
    inverter: Inverter, codes: jax.Array, changes: Changes, _passes: Any, resolution: int | None
) -> jax.Array:
    """Draw codes, each with its own distortion map, aligned to the picture of the code."""
    after = _consultant(inverter)(changes[DISTORTION], shown(inverter, codes))
    return inverter.generator.synthesis(codes, after=after, resolution=resolution)


def _consultant(inverter: Inverter) -> HFGI:
    if inverter.consultant is None:
        raise ValueError("the inverter has no consultation encoder: wanted one of HFGI")
    return inverter.consultant


def _shapes(inverter: Inverter) -> dict[str, tuple[int, ...]]:
    side = _consultant(inverter).config.resolution
    return {DISTORTION: (side, side, 3)}


METHOD = Method(_find, lambda _inverter, _passes: 1, _shapes, draw=_drawn)
"""One pass; every picture is drawn with changes of its own, which depend on its code."""
