"""Convolutions computed in parts of their output channels, for CPUs.

Outside a loop, XLA transforms the kernels of all layers at the start of a program, each into memory
of its own. Inside a loop they are transformed when needed, in memory that layers share.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

PART = 256
"""Output channels computed at a time: few enough for their transformed kernels to stay in the
cache, and enough for matrix products on two cores."""


def divides(kernel: jax.Array) -> bool:
    """Return whether a kernel [h,w,I,O] has several parts of `PART` output channels."""
    return kernel.shape[3] > PART and kernel.shape[3] % PART == 0


def in_parts(compute: Callable[[jax.Array], jax.Array], kernel: jax.Array) -> jax.Array:
    """Compute outputs [...,O] in parts.

    Args:
        compute: part of the kernel [h,w,I,PART] to its outputs [...,PART].
        kernel: [h,w,I,O], see `divides`.
    """

    def some(start: jax.Array) -> jax.Array:
        return compute(jax.lax.dynamic_slice_in_dim(kernel, start, PART, axis=3))

    parts = jax.lax.map(some, jnp.arange(0, kernel.shape[3], PART))
    return jnp.concatenate(list(parts), -1)
