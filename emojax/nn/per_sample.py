"""Convolution with a kernel of its own for every sample, as HyperStyle's refined generators need.

Grouped convolutions are slow everywhere. Small pictures become one batched matrix product over
patches; large ones go one sample after another, each then being work enough for a device.
"""

import jax
import jax.numpy as jnp


def conv(x: jax.Array, kernels: jax.Array, padding: int) -> jax.Array:
    """Correlate each sample of x [B, H, W, I] with its kernel of [B, k, k, I, O].

    One product of patches [H'·W', k²·I] a sample: the patches are k² times the input, so this is
    for small pictures.

    Returns:
        [B, H', W', O] in x's dtype.
    """
    batch, taps, _, inputs, outputs = kernels.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = (side - taps + 1 for side in x.shape[1:3])
    seen = [x[:, i : i + height, j : j + width] for i in range(taps) for j in range(taps)]
    patches = jnp.concatenate(seen, -1).reshape(batch, height * width, taps * taps * inputs)
    y = jnp.einsum("bpi,bio->bpo", patches, kernels.reshape(batch, -1, outputs))
    return y.reshape(batch, height, width, outputs)
