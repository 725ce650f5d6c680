"""Convolution with an individual kernel for every sample, as HyperStyle's generators need.

Grouped convolutions are slow on every platform. For small pictures one batched matrix product over
patches is faster; large pictures are better computed sample by sample.
"""

import jax
import jax.numpy as jnp


def conv(x: jax.Array, kernels: jax.Array, padding: int) -> jax.Array:
    """Correlate each sample of x with its kernel, by a batched product of patches [H'·W', k²·I].

    Patches take k² times the memory of the input, so this is for small pictures.

    Args:
        x: [B, H, W, I].
        kernels: [B, k, k, I, O].
        padding: zeros on every side.

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
