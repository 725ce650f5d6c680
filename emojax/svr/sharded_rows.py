"""Products with a tall matrix whose rows are sharded over devices or streamed from host memory.

A matrix of n rows is laid out as [blocks, rows, d], padded with zero rows at the end; arrays with
one value per row follow that layout as [blocks, rows, k]. Products are float64, so every call has
to run inside `jax.enable_x64`.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import DTypeLike

Matrix = np.ndarray | jax.Array

_BLOCK_ROWS = 4096  # rows of one matrix product: few enough for float32 sums to be accurate
_LEAST_ROWS = 64  # rows of the smallest block, padding included
_GRAM_BLOCKS = 32  # of a device's rows: the last block of a Gram matrix is padded to its full size


class Rows:
    """The matrix X as chunks [blocks, rows, d], the blocks sharded over the devices.

    A single chunk stays on the devices. Several chunks are transferred from host memory in turn on
    every pass, and at most two of them are on the devices at a time.

    Args:
        x: [n, d].
        devices: the local devices to share the rows.
        stream_rows: rows of a chunk; None for a single chunk of all rows.
    """

    def __init__(
        self,
        x: Matrix,
        devices: Sequence[jax.Device],  # pyright: ignore[reportInvalidTypeForm] a class after all
        stream_rows: int | None,
    ) -> None:
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

    def place(self, columns: Matrix) -> jax.Array:
        """Lay out columns [n, k] as [all blocks, rows, k], with zeros in the padding."""
        return self._split(columns, self.chunks * self.blocks)

    def _split(self, columns: Matrix, blocks: int) -> jax.Array:
        missing = blocks * self.rows - columns.shape[0]
        if missing:
            pad = jnp.pad if isinstance(columns, jax.Array) else np.pad
            columns = pad(columns, ((0, missing), (0, 0)))
        return jax.device_put(columns.reshape(blocks, self.rows, -1), self.sharding)

    def _load(self, chunk: int) -> jax.Array:
        size = self.blocks * self.rows
        return self._split(self.x[chunk * size : (chunk + 1) * size], self.blocks)

    def sweep(self, function: Callable[..., jax.Array], *per_row: jax.Array) -> Iterator[jax.Array]:
        """Yield function(chunk of X, matching part of each [all blocks, rows, k] array) in turn.

        Each result is waited for while the next chunk is transferred. This bounds the memory, and
        avoids a deadlock of XLA's CPU client: it runs at most 32 programs of a device at a time and
        makes the next one occupy a thread until one ends; an all-reduce that lacks that thread then
        never completes (seen with four CPU devices on two cores).
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
        """Return X w, [all blocks, rows, k], of w [d, k]."""
        parts = list(self.sweep(lambda x: _predict(x, w, mesh=self.mesh)))
        if self.chunks == 1:
            return parts[0]
        return jax.device_put(jnp.concatenate(parts), self.sharding)

    def correlate(self, alpha: jax.Array) -> jax.Array:
        """Return Xᵀα, [d, k], of α [all blocks, rows, k]."""
        kernel = functools.partial(_correlate, mesh=self.mesh)
        return functools.reduce(operator.add, self.sweep(kernel, alpha))

    def gram(self, weight: jax.Array, centre: jax.Array, dtype: DTypeLike) -> jax.Array:
        """Return the weighted Gram matrices Σᵢ weightᵢ zᵢzᵢᵀ with zᵢ = (xᵢ − centre, 1).

        Args:
            weight: [all blocks, rows, k].
            centre: [d].
            dtype: of the products; they are summed in float64.

        Returns:
            [k, d+1, d+1] float64.
        """
        kernel = functools.partial(_gram, centre=centre, mesh=self.mesh, dtype=dtype)
        return functools.reduce(operator.add, self.sweep(kernel, weight))


@functools.partial(jax.jit, static_argnames="mesh")
def _predict(x: jax.Array, w: jax.Array, *, mesh: Mesh) -> jax.Array:
    def shard(x: jax.Array, w: jax.Array) -> jax.Array:
        return lax.map(lambda rows: rows.astype(w.dtype) @ w, x)

    return jax.shard_map(shard, mesh=mesh, in_specs=(P("rows"), P()), out_specs=P("rows"))(x, w)


@functools.partial(jax.jit, static_argnames="mesh")
def _correlate(x: jax.Array, alpha: jax.Array, *, mesh: Mesh) -> jax.Array:
    def shard(x: jax.Array, alpha: jax.Array) -> jax.Array:
        def add(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            rows, a = block
            return total + rows.astype(a.dtype).T @ a, None

        zero = lax.pcast(jnp.zeros((x.shape[2], alpha.shape[2])), "rows", to="varying")
        return lax.psum(lax.scan(add, zero, (x, alpha))[0], "rows")

    return jax.shard_map(shard, mesh=mesh, in_specs=P("rows"), out_specs=P())(x, alpha)


@functools.partial(jax.jit, static_argnames=("mesh", "dtype"))
def _gram(
    x: jax.Array, weight: jax.Array, *, centre: jax.Array, mesh: Mesh, dtype: DTypeLike
) -> jax.Array:
    """Sum the weighted Gram matrices over the rows of non-zero weight; the others are not read."""

    def shard(x: jax.Array, weight: jax.Array, centre: jax.Array) -> jax.Array:
        x = x.reshape(-1, x.shape[2])
        size = min(_BLOCK_ROWS, max(_LEAST_ROWS, x.shape[0] // _GRAM_BLOCKS))

        def one_target(weight: jax.Array) -> jax.Array:
            count = jnp.count_nonzero(weight)
            used = jnp.nonzero(weight, size=weight.size, fill_value=0)[0]

            def add(block: jax.Array, total: jax.Array) -> jax.Array:
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
