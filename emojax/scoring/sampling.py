"""Codes and pictures of sample ids: sample i draws z from `fold_in(key, i)`.

A sample is therefore the same in any batch, on any device and in any process, but for float32
rounding. `draw_z`, `draw_w` and `sample` are pure functions for use inside a jitted program.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from emojax.faces import images
from emojax.models.generator import Config, Generator, draw_noise
from emojax.runtime import devices, xla_options
from emojax.runtime.batching import batches
from emojax.runtime.errors import UserError

TRUNCATION = 0.7
"""ψ of single faces, as in the originals."""


def truncation_of(config: Config, asked: float | None, cutoff: int | None = None) -> float:
    """Return ψ: what is asked for, else `TRUNCATION`, or 1 for a generator that has none.

    Raises:
        UserError: the generator has no mean code, and a truncation is asked for.
    """
    if config.truncates:
        return TRUNCATION if asked is None else asked
    if asked not in (None, 1) or cutoff is not None:
        raise UserError(
            f"truncation {asked if cutoff is None else f'of {cutoff} layers'} is asked for, but "
            "this generator has no mean face to draw nearer to: wanted 1, or none given"
        )
    return 1.0


def check_resolution(config: Config, resolution: int | None) -> None:
    """Refuse a size that a generator does not draw.

    Raises:
        UserError: as said.
    """
    if resolution not in (None, *config.resolutions):
        raise UserError(
            f"--resolution is {resolution}, this generator draws {list(config.resolutions)}"
        )


def check_noise(config: Config, noise: str) -> None:
    """Refuse new noise for each face where a generator takes none.

    Raises:
        UserError: as said.
    """
    if noise == "random" and not config.noise_sizes:
        raise UserError("noise is random, and this generator takes no noise: leave it out")


def draw_z(key: jax.Array, ids: jax.Array, width: int) -> jax.Array:
    """Return z [B, width] of sample ids [B]."""
    return jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), (width,)))(ids)


def draw_w(
    generator: Generator, key: jax.Array, ids: jax.Array, truncation: float | jax.Array = 1.0
) -> jax.Array:
    """Return the codes w [B, D] of sample ids [B].

    Args:
        generator: its mapping network and mean code are used.
        key: the run's key.
        ids: sample ids [B].
        truncation: ψ; 1 leaves codes alone.
    """
    w = generator.mapping(draw_z(key, ids, generator.config.z_dim))
    return generator.w_plus(w, truncation=truncation)[:, 0]


@jax.jit
def sample_codes(
    generator: Generator, ids: jax.Array, truncation: float | jax.Array = 1.0
) -> jax.Array:
    """Return the codes w [B, D] of the faces that `emojax sample` draws for the seeds `ids` [B]."""
    return draw_w(generator, jax.random.key(0), ids, truncation)


def sample(
    generator: Generator,
    key: jax.Array,
    ids: jax.Array,
    truncation: float | jax.Array = 1.0,
    *,
    cutoff: int | None = None,
    noise: str = "const",
    resolution: int | None = None,
) -> jax.Array:
    """Return the pictures of sample ids.

    Args:
        generator: the network.
        key: the run's key.
        ids: sample ids [B].
        truncation: ψ; see `Generator.w_plus`.
        cutoff: number of first layers that are truncated; None: all.
        noise: "const" (the generator's stored noise), "none", or "random" (drawn for each sample
            from its id).
        resolution: side of the skip generator's intermediate picture to return; None: full size.

    Returns:
        [B, r, r, 3] float32, about [-1, 1], not clipped.
    """
    z = draw_z(key, ids, generator.config.z_dim)
    if noise == "random":
        # folded in twice: fold_in(key, i) itself is the key of z
        keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(key, i), 1))(ids)
        drawn = draw_noise(generator.config, keys)
    else:
        drawn = noise
    return generator(z, truncation=truncation, cutoff=cutoff, noise=drawn, resolution=resolution)


def sample_pictures(
    generator: Generator,
    ids: Sequence[int],
    truncation: float | None = None,
    *,
    cutoff: int | None = None,
    noise: str = "const",
    resolution: int | None = None,
    batch: int = 8,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[np.ndarray]:
    """Yield the picture uint8 [S,S,3] of each sample id, in batches over all local devices.

    Args:
        generator: the network.
        ids: sample ids.
        truncation: see `truncation_of`; cutoff, noise and resolution: see `sample`.
        cutoff: see `sample`.
        noise: see `sample`.
        resolution: see `sample`.
        batch: pictures per call, on all devices together.
        advance: told the number of pictures after each batch.

    Raises:
        UserError: the generator has no truncation or noise, and one is asked for.
    """
    truncation = truncation_of(generator.config, truncation, cutoff)
    check_noise(generator.config, noise)
    size = min(batch, len(ids))
    mesh = devices.local_mesh(most=size)
    size -= size % mesh.size
    program = devices.over_samples(
        functools.partial(sample, cutoff=cutoff, noise=noise, resolution=resolution),
        mesh,
        split=(False, False, True, False),
        compiler_options=xla_options.options(dense=True),
    )
    placed, key = devices.everywhere(generator, mesh), jax.random.key(0)
    chosen = np.asarray(ids, np.uint32)
    for index in batches(len(ids), size):
        drawn = program(placed, key, chosen[index], jnp.float32(truncation))
        count = min(size, len(ids) - int(index[0]))
        yield from images.to_uint8(np.asarray(drawn)[:count])
        advance(count)
