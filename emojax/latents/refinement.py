"""HyperStyle: a code in W, and passes that change the generator's kernels until the picture fits.

Kernel changes are affine in one vector for each refined layer, summed over the passes, so these
sums are kept in place of kernels and expanded when a picture is drawn.

Source: Alaluf et al. 2022; yuval-alaluf/hyperstyle `utils/inference_utils.py`, `run_inversion`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax.latents.codes import VECTORS
from emojax.latents.inverter import Changes, Inverter, Method, Run
from emojax.models.hyperstyle import Hypernet
from emojax.models.stylegan2 import Generator
from emojax.nn.pooling import area_mean
from emojax.runtime.batching import in_batches
from emojax.runtime.devices import mesh_for, over_samples
from emojax.runtime.programs import program
from emojax.runtime.xla_options import options


def find(
    inverter: Inverter, pictures: np.ndarray, passes: int, run: Run
) -> tuple[np.ndarray, Changes]:
    """Return codes [N,L,D], the same in all layers, and summed vectors; see `Method.find`."""
    mesh = mesh_for(run.batch, run.devices)
    refining = _refining(mesh, passes)
    codes, vectors = in_batches(
        lambda rows: refining(inverter, rows),
        pictures,
        run.batch,
        multiple_of=mesh.size,
        advance=run.advance,
    )
    return codes, {VECTORS: jnp.asarray(vectors)}


@functools.cache
def _refining(mesh: jax.sharding.Mesh, passes: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Compile pictures [B,R,R,3] to codes and vectors for a mesh."""

    def run(inverter: Inverter, pictures: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _refine(inverter, pictures, passes=passes)[:2]

    return over_samples(run, mesh, (False, True), compiler_options=options(dense=True))


def _refine(
    inverter: Inverter, pictures: jax.Array, *, passes: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Run HyperStyle's passes on one batch; `refine` is the same, compiled.

    Each pass draws the faces with the kernels so far, compares the result, pooled to the input's
    size, with the pictures and adds the vectors that the hypernetwork finds. The codes stay those
    of the W encoder.

    Args:
        inverter: a HyperStyle inverter.
        pictures: [B,R,R,3] in [-1, 1].
        passes: how many.

    Returns:
        Codes [B,L,D], summed vectors [B,T,C], and what each pass was shown, [passes,B,R,R,3].
    """
    encoder, hypernet = inverter.encoder, _hypernet(inverter)
    assert encoder is not None  # HyperStyle has both
    codes = encoder(pictures)

    def drawn(deltas: Sequence[jax.Array | None] | None) -> jax.Array:
        return area_mean(inverter.generator.synthesis(codes, deltas=deltas), pictures.shape[1])

    def one_pass(sums: jax.Array, done: jax.Array) -> tuple[jax.Array, jax.Array]:
        now = drawn(hypernet.deltas(sums, done))
        return sums + hypernet(pictures, now), now

    first = drawn(None)  # the faces still share the generator's kernels, so they go together
    sums, later = jax.lax.scan(one_pass, hypernet(pictures, first), jnp.arange(1, passes))
    return codes, sums, jnp.concatenate([first[None], later])


refine = program(static_argnames="passes")(_refine)


def _hypernet(inverter: Inverter) -> Hypernet:
    if inverter.hypernet is None:
        raise ValueError("the inverter has no hypernetwork: wanted one of HyperStyle")
    return inverter.hypernet


@program(static_argnames="resolution")
def redraw(
    inverter: Inverter,
    codes: jax.Array,
    vectors: jax.Array,
    passes: jax.Array | int,
    *,
    resolution: int | None = None,
) -> jax.Array:
    """Draw codes [B,L,D], each with the kernel changes of its own vectors [B,T,C]."""
    deltas = _hypernet(inverter).deltas(vectors, passes)
    return inverter.generator.synthesis(codes, deltas=deltas, resolution=resolution)


@program()
def expand(hypernet: Hypernet, vectors: jax.Array, passes: int) -> Sequence[jax.Array | None]:
    """Return the kernel changes of one face's vectors [T,C] (94 MB at 1024²), or of [B,T,C]."""
    return hypernet.deltas(vectors, passes)


def _shapes(inverter: Inverter) -> dict[str, tuple[int, ...]]:
    config = _hypernet(inverter).config
    return {VECTORS: (len(config.layers), config.widths[-1])}


def _expanded(
    inverter: Inverter, changes: Changes, passes: int
) -> tuple[Generator, Sequence[jax.Array | None]]:
    return inverter.generator, expand(_hypernet(inverter), changes[VECTORS][0], passes)


def _drawn(
    inverter: Inverter, codes: jax.Array, changes: Changes, passes: Any, resolution: int | None
) -> jax.Array:
    deltas = _hypernet(inverter).deltas(changes[VECTORS], passes)
    return inverter.generator.synthesis(codes, deltas=deltas, resolution=resolution)


METHOD = Method(find, lambda _, passes: passes, _shapes, _expanded, _drawn)
