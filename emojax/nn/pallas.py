"""Where Pallas kernels run, and the few calls of Pallas that they need.

Kernels are for NVIDIA GPUs, by Pallas' Triton backend, which jax 0.11 calls deprecated: with a
release of jax that has it no more, all runs without them. Pallas is imported when a kernel is
called, not before: it takes a fifth of a second.
"""

import os
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

SWITCH = "EMOJAX_KERNELS"
"""Environment variable: "off" turns the kernels off, "interpret" interprets them on any device."""

WARPS = 4
"""Of 32 threads a program."""

Mode = Literal["off", "interpret", "cuda"]


def mode() -> Mode:
    """Say how the kernels run here: on an NVIDIA GPU unless `EMOJAX_KERNELS` is "off"."""
    wanted = os.environ.get(SWITCH, "")
    if wanted in ("off", "interpret"):
        return wanted
    if jax.default_backend() != "gpu" or "cuda" not in jax.devices()[0].client.platform_version:
        return "off"
    return "cuda" if _triton() else "off"


def call(
    body: Callable[..., None], shapes: Any, grid: tuple[int, int], *, interpret: bool
) -> Callable[..., Any]:
    """Return a function of arrays that runs `body` once for every place of the grid."""
    parameters = _triton().CompilerParams(num_warps=WARPS, num_stages=1)
    return pallas().pallas_call(
        body, shapes, grid=grid, interpret=interpret, compiler_params=parameters
    )


def like(x: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """Describe a result that differs from device to device as x does."""
    return jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=jax.typeof(x).manual_axis_type)


def load(ref: Any, mask: jax.Array) -> jax.Array:
    """Read as float32, 0 where masked."""
    return _triton().load(ref, mask=mask, other=0.0).astype(jnp.float32)


def store(ref: Any, values: jax.Array, mask: jax.Array) -> None:
    """Write in the reference's dtype, nothing where masked."""
    _triton().store(ref, values.astype(ref.dtype), mask=mask)


def pallas() -> Any:
    """Return the module `jax.experimental.pallas`."""
    from jax.experimental import pallas

    return pallas


def _triton() -> Any:
    """Return Pallas' Triton dialect; None in a release of jax that has it no more."""
    try:
        from jax.experimental.pallas import triton
    except ImportError:
        return None
    return triton
