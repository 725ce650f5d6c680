"""Availability of Pallas kernels, and the calls of Pallas that they use.

Kernels are compiled for NVIDIA GPUs by Pallas' Triton backend, which is deprecated since jax 0.11.
Without it everything runs without kernels. Pallas is imported when a kernel is called, since the
import takes 0.2 s.
"""

import os
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

SWITCH = "EMOJAX_KERNELS"
"""Environment variable: "off" disables the kernels, "interpret" interprets them on any device."""

WARPS = 4
"""Warps of 32 threads in each program."""

Mode = Literal["off", "interpret", "cuda"]


def mode() -> Mode:
    """Return how kernels run: "cuda" on NVIDIA GPUs, unless `EMOJAX_KERNELS` says otherwise."""
    wanted = os.environ.get(SWITCH, "")
    if wanted in ("off", "interpret"):
        return wanted
    if jax.default_backend() != "gpu" or "cuda" not in jax.devices()[0].client.platform_version:
        return "off"
    return "cuda" if _triton() else "off"


def call(
    body: Callable[..., None], shapes: Any, grid: tuple[int, int], *, interpret: bool
) -> Callable[..., Any]:
    """Return a function of arrays that runs `body` once for every program of the grid."""
    parameters = _triton().CompilerParams(num_warps=WARPS, num_stages=1)
    return pallas().pallas_call(
        body, shapes, grid=grid, interpret=interpret, compiler_params=parameters
    )


def like(x: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """Describe a result that varies over the same mesh axes as x."""
    return jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=jax.typeof(x).manual_axis_type)


def load(ref: Any, mask: jax.Array) -> jax.Array:
    """Read as float32, with 0 where the mask is False."""
    return _triton().load(ref, mask=mask, other=0.0).astype(jnp.float32)


def store(ref: Any, values: jax.Array, mask: jax.Array) -> None:
    """Write where the mask is True, in the dtype of the reference."""
    _triton().store(ref, values.astype(ref.dtype), mask=mask)


def pallas() -> Any:
    """Return the module `jax.experimental.pallas`."""
    from jax.experimental import pallas

    return pallas


def _triton() -> Any:
    """Return Pallas' Triton dialect; None if this release of jax has none."""
    try:
        from jax.experimental.pallas import triton
    except ImportError:
        return None
    return triton
