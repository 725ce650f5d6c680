"""Pictures from seeds: sample i is `fold_in(key, i)`, the same in any batch and on any device."""

import jax

from emojax.models.stylegan2 import Generator, draw_noise


def draw_z(key: jax.Array, ids: jax.Array, width: int) -> jax.Array:
    """Draw z [B, width], one row for each sample id [B]."""
    return jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), (width,)))(ids)


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
    """Draw the pictures of some sample ids; a pure function, meant for `jax.jit`.

    Args:
        generator: the network.
        key: the run's key.
        ids: sample ids [B].
        truncation: ψ; see `Generator.w_plus`.
        cutoff: truncate only the first layers.
        noise: "const", "none", or "random": drawn for each sample from its own id.
        resolution: stop at this resolution of the skip chain.

    Returns:
        [B, r, r, 3] float32, about [-1, 1].
    """
    z = draw_z(key, ids, generator.config.z_dim)
    if noise == "random":
        # a stream of its own: z is drawn from fold_in(key, i) itself
        keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(key, i), 1))(ids)
        noise = draw_noise(generator.config, keys)
    return generator(z, truncation=truncation, cutoff=cutoff, noise=noise, resolution=resolution)
