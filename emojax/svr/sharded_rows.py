"""Passes over the rows of a matrix that is split over devices, or streamed from host memory.

A matrix of n rows is laid out as [blocks, rows, d], the last rows being padding; per-row arrays
follow it as [blocks, rows, k]. Products come in float64 (call inside `jax.enable_x64`).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

_BLOCK_ROWS = 4096  # rows multiplied at once: float32 sums this short are exact enough
_LEAST_ROWS = 64  # of a block, padding included


class Rows:
    """The matrix X as chunks [blocks, rows, d], split over the devices by blocks.

    One chunk stays on the devices; several are sent from host memory in turn, two at a time.
    """

    def __init__(self, x: ArrayLike, devices: list[jax.Device], stream_rows: int | None) -> None:
        self.x, (self.n, self.d) = x, x.shape
        self.mesh = Mesh(np.array(devices), ("rows",))
        self.sharding = NamedSharding(self.mesh, P("rows"))
        wanted = min(self.n, stream_rows or self.n)
        a_device = math.ceil(wanted / len(devices))
        power = 2 ** math.ceil(math.log2(a_device))  # so that similar sizes share compiled code
        self.rows = min(max(power, _LEAST_ROWS), _BLOCK_ROWS)
        self.blocks = len(devices) * math.ceil(a_device / self.rows)
        self.chunks = math.ceil(self.n / (self.blocks * self.rows))
        self.resident = self._load(0) if self.chunks == 1 else None

    def place(self, columns: ArrayLike) -> jax.Array:
        """[n, k] -> [all blocks, rows, k], zero in the padding."""
        return self._split(columns, self.chunks * self.blocks)

    def _split(self, columns: ArrayLike, blocks: int) -> jax.Array:
        missing = blocks * self.rows - columns.shape[0]
        if missing:
            pad = jnp.pad if isinstance(columns, jax.Array) else np.pad
            columns = pad(columns, ((0, missing), (0, 0)))
        return jax.device_put(columns.reshape(blocks, self.rows, -1), self.sharding)

    def _load(self, chunk: int) -> jax.Array:
        size = self.blocks * self.rows
        return self._split(self.x[chunk * size : (chunk + 1) * size], self.blocks)

    def sweep(self, function, *per_row):
        """Yield function(chunk of X, its part of each [all blocks, rows, k] array) in turn.

        Waits for each result while the next chunk is sent, so that two at most are on the devices,
        and for the last. A CPU device that has 32 programs under way lets the next one wait in a
        thread, and where a sum over the devices lacks that thread nothing ever goes on (seen with
        four devices on two cores).
        """
        previous = None
        for chunk in range(self.chunks):
            x = self._load(chunk) if self.resident is None else self.resident
            part = slice(chunk * self.blocks, (chunk + 1) * self.blocks)
            result = function(x, *(a if self.chunks == 1 else a[part] for a in per_row))
            jax.block_until_ready(previous)
            yield result
            previous = result
        jax.block_until_ready(previous)

    def predict(self, w: jax.Array) -> jax.Array:
        """X w: [d, k] -> [all blocks, rows, k]."""
        parts = list(self.sweep(lambda x: _predict(x, w, mesh=self.mesh)))
        if self.chunks == 1:
            return parts[0]
        return jax.device_put(jnp.concatenate(parts), self.sharding)

    def correlate(self, alpha: jax.Array) -> jax.Array:
        """Xᵀα: [all blocks, rows, k] -> [d, k]."""
        return sum(self.sweep(partial(_correlate, mesh=self.mesh), alpha))

    def gram(self, weight: jax.Array, centre: jax.Array, dtype) -> jax.Array:
        """Σᵢ weightᵢ zᵢzᵢᵀ with zᵢ = (xᵢ − centre, 1): [all blocks, rows, k] -> [k, d+1, d+1]."""
        kernel = partial(_gram, centre=centre, mesh=self.mesh, dtype=dtype)
        return sum(self.sweep(kernel, weight))


@partial(jax.jit, static_argnames="mesh")
def _predict(x, w, *, mesh):
    def shard(x, w):
        return lax.map(lambda rows: rows.astype(w.dtype) @ w, x)

    return jax.shard_map(shard, mesh=mesh, in_specs=(P("rows"), P()), out_specs=P("rows"))(x, w)


@partial(jax.jit, static_argnames="mesh")
def _correlate(x, alpha, *, mesh):
    def shard(x, alpha):
        def add(total, block):
            rows, a = block
            return total + rows.astype(a.dtype).T @ a, None

        zero = lax.pcast(jnp.zeros((x.shape[2], alpha.shape[2])), "rows", to="varying")
        return lax.psum(lax.scan(add, zero, (x, alpha))[0], "rows")

    return jax.shard_map(shard, mesh=mesh, in_specs=P("rows"), out_specs=P())(x, alpha)


@partial(jax.jit, static_argnames=("mesh", "dtype"))
def _gram(x, weight, *, centre, mesh, dtype):
    """Weighted Gram matrices that read and multiply only the rows whose weight is not 0."""

    def shard(x, weight, centre):
        x = x.reshape(-1, x.shape[2])
        size = min(_BLOCK_ROWS, x.shape[0])

        def one_target(weight):
            count = jnp.count_nonzero(weight)
            used = jnp.nonzero(weight, size=weight.size, fill_value=0)[0]

            def add(block, total):
                position = block * size + jnp.arange(size)
                i = used[jnp.minimum(position, weight.size - 1)]
                c = jnp.where(position < count, weight[i], 0).astype(dtype)[:, None]
                z = x[i].astype(dtype) - centre.astype(dtype)
                z = jnp.concatenate([z, jnp.ones_like(c)], axis=1)
                product = jnp.matmul(z.T, c * z, precision=lax.Precision.HIGHEST)
                return total + product.astype(total.dtype)

            zero = lax.pcast(jnp.zeros((x.shape[1] + 1,) * 2), "rows", to="varying")
            return lax.fori_loop(0, -(-count // size), add, zero)

        return lax.psum(lax.map(one_target, weight.reshape(-1, weight.shape[2]).T), "rows")

    specs = (P("rows"), P("rows"), P())
    return jax.shard_map(shard, mesh=mesh, in_specs=specs, out_specs=P())(x, weight, centre)
