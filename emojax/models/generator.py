"""What a generator is to the rest of the package, whichever network it is.

A mapping network turns z into a code w; a synthesis network draws L rows of codes, W+. StyleGAN2,
StyleGAN1, ProgressiveGAN and DCGAN have this form. A generator without a mapping network draws one
row, its z.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

Noise = Sequence[jax.Array] | str


class Config(Protocol):
    """Dimensions of a generator."""

    @property
    def size(self) -> int:
        """Height and width of the picture in pixels."""
        ...

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sizes of the pictures that it can draw, rising; the last is `size`."""
        ...

    @property
    def n_latent(self) -> int:
        """Number of rows L of a W+ code."""
        ...

    @property
    def style_dim(self) -> int:
        """Length D of w."""
        ...

    @property
    def z_dim(self) -> int:
        """Length of z."""
        ...

    @property
    def noise_sizes(self) -> tuple[int, ...]:
        """Resolution of each noise input; none where there is no noise."""
        ...

    @property
    def truncates(self) -> bool:
        """Whether there is a mean code that codes can be drawn nearer to."""
        ...


class Generator(Protocol):
    """A generator of pictures."""

    @property
    def config(self) -> Config:
        """Its dimensions."""
        ...

    @property
    def mapping(self) -> Any:
        """Maps z [B, z_dim] to w [B, D]."""
        ...

    @property
    def synthesis(self) -> Any:
        """Maps W+ [B, L, D] to pictures [B, r, r, 3], about [-1, 1] and not clipped.

        Keywords: `noise` ("const", "none", or an array [B or 1, r, r, 1] for each noise input),
        `resolution` (one of `config.resolutions`; None: the last) and `window` (top, bottom, left,
        right of the part to return).
        """
        ...

    def w_plus(
        self, w: jax.Array, *, truncation: float | jax.Array = 1.0, cutoff: int | None = None
    ) -> jax.Array:
        """Broadcast codes [B, D] to W+ [B, L, D] and apply the truncation trick."""
        ...

    def __call__(
        self,
        z: jax.Array,
        *,
        truncation: float | jax.Array = 1.0,
        cutoff: int | None = None,
        noise: Noise = "const",
        resolution: int | None = None,
    ) -> jax.Array:
        """Synthesise pictures [B, r, r, 3] from z [B, z_dim]."""
        ...


class Called(nnx.Module):
    """A generator's call, by its mapping, `w_plus` and synthesis."""

    def __call__(
        self: Generator,
        z: jax.Array,
        *,
        truncation: float | jax.Array = 1.0,
        cutoff: int | None = None,
        noise: Noise = "const",
        resolution: int | None = None,
    ) -> jax.Array:
        """Synthesise pictures [B, r, r, 3] from z [B, z_dim]; see `w_plus` and `synthesis`."""
        w_plus = self.w_plus(self.mapping(z), truncation=truncation, cutoff=cutoff)
        return self.synthesis(w_plus, noise=noise, resolution=resolution)


class Mapped(Called):
    """A generator with a mapping network and the mean latent `latent_avg` [D]."""

    config: Any
    latent_avg: nnx.Variable

    def w_plus(
        self, w: jax.Array, *, truncation: float | jax.Array = 1.0, cutoff: int | None = None
    ) -> jax.Array:
        """Broadcast codes to W+ and apply the truncation trick.

        Args:
            w: [B, D], or [B, L, D], which is only truncated.
            truncation: ψ in latent_avg + ψ (w - latent_avg); 1 leaves w unchanged.
            cutoff: number of layers to truncate, the first ones; None for all. StyleGAN's pictures
                have ψ 0.7 and 8.

        Returns:
            [B, L, D].
        """
        w_plus = repeated(w, self.config.n_latent)
        return truncated(w_plus, self.latent_avg[...], truncation, cutoff)


class Unmapped(Called):
    """A generator without a mapping network: a code is z."""

    def w_plus(
        self, w: jax.Array, *, truncation: float | jax.Array = 1.0, cutoff: int | None = None
    ) -> jax.Array:
        """Return codes [B, 1, D] of [B, D]; see `untruncated`."""
        return untruncated(w, truncation, cutoff)


class UnmappedConfig:
    """What the configs of generators without a mapping network have in common; see `Config`."""

    z_dim: int

    @property
    def size(self) -> int:
        """Height and width of the picture in pixels."""
        raise NotImplementedError

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The full size only: lower ToRGB layers were trained with other features below them."""
        return (self.size,)

    @property
    def n_latent(self) -> int:
        """Rows of a code: one, since there are no styles."""
        return 1

    @property
    def style_dim(self) -> int:
        """Length of a code, which is z."""
        return self.z_dim

    @property
    def noise_sizes(self) -> tuple[int, ...]:
        """There are no noise inputs."""
        return ()

    @property
    def truncates(self) -> bool:
        """There is no mean code that a truncation could be towards."""
        return False


def repeated(w: jax.Array, layers: int) -> jax.Array:
    """Return W+ [B, L, D] of codes w [B, D]; codes [B, L, D] as they are."""
    if w.ndim == 2:
        w = jnp.broadcast_to(w[:, None], (w.shape[0], layers, w.shape[1]))
    return w


def truncated(
    w_plus: jax.Array, mean: jax.Array, truncation: float | jax.Array, cutoff: int | None
) -> jax.Array:
    """Apply the truncation trick: mean + ψ (w - mean).

    Args:
        w_plus: [B, L, D].
        mean: code [D].
        truncation: ψ; 1 leaves codes unchanged.
        cutoff: number of layers to truncate, the first ones; None for all.
    """
    layers = w_plus.shape[1]
    chosen = jnp.arange(layers) < (layers if cutoff is None else cutoff)
    chosen = chosen & (jnp.asarray(truncation) != 1)  # ψ = 1 is exact in the originals
    return jnp.where(chosen[:, None], mean + truncation * (w_plus - mean), w_plus)


def untruncated(
    w: jax.Array, truncation: float | jax.Array = 1.0, cutoff: int | None = None
) -> jax.Array:
    """Return W+ [B, 1, D] of codes of a generator that has no mean code.

    Args:
        w: [B, D] or [B, 1, D].
        truncation: 1; a traced value is taken for 1, callers check it before (`config.truncates`).
        cutoff: None.

    Raises:
        ValueError: a truncation is asked for.
    """
    if cutoff is not None or (isinstance(truncation, int | float) and truncation != 1):
        raise ValueError("this generator has no mean code: wanted truncation 1 and no cutoff")
    return repeated(w, 1)


def draw_noise(config: Config, keys: jax.Array) -> list[jax.Array]:
    """Draw Gaussian noise [B, r, r, 1] for each noise input.

    Args:
        config: the generator's.
        keys: [B], a key for each sample, so that its noise does not depend on the batch.
    """
    return [
        jax.vmap(lambda key, i=i, r=r: jax.random.normal(jax.random.fold_in(key, i), (r, r, 1)))(
            keys
        )
        for i, r in enumerate(config.noise_sizes)
    ]


def mean_latent(generator: Generator, key: jax.Array, samples: int = 100_000) -> jax.Array:
    """Estimate the mean latent [D] from `samples` random z, for files that do not contain it."""
    rows = 10_000

    def add(total: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        z = jax.random.normal(key, (rows, generator.config.z_dim))
        return total + generator.mapping(z).mean(0), None

    batches = -(-samples // rows)
    zero = jnp.zeros((generator.config.style_dim,))
    return jax.lax.scan(add, zero, jax.random.split(key, batches))[0] / batches


def check(
    config: Config, w_plus: jax.Array, noise: Noise = "const", resolution: int | None = None
) -> None:
    """Raise ValueError if an argument of a synthesis network does not fit it."""
    wanted = (config.n_latent, config.style_dim)
    if w_plus.ndim != 3 or w_plus.shape[1:] != wanted:
        raise ValueError(
            f"w_plus is {list(w_plus.shape)}, wanted [batch, {wanted[0]}, {wanted[1]}]"
        )
    if isinstance(noise, str) and noise not in ("const", "none"):
        raise ValueError(f"noise is {noise!r}, wanted 'const', 'none' or a list of arrays")
    if not isinstance(noise, str) and len(noise) != len(config.noise_sizes):
        raise ValueError(f"noise has {len(noise)} entries, wanted {len(config.noise_sizes)}")
    if resolution not in (None, *config.resolutions):
        raise ValueError(f"resolution is {resolution}, wanted one of {list(config.resolutions)}")
