"""What the converters of generators share: bounds of their sizes, filters, and the mean code."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.reader import schema
from emojax.runtime.errors import UserError
from emojax.store.parts import Part

if TYPE_CHECKING:
    from emojax.store.weights import Arrays

MEAN_SAMPLES = 100_000
"""Codes that the mean latent is averaged over where a file holds none, as in the originals."""

MOST_RESOLUTIONS = 10
"""From 4² to 2048²; the published networks have at most 9."""

MOST_LAYERS = 64
"""Of a mapping network; the published ones have 8."""

PICTURES = {"pictures": "photographs"}
"""What `Bundle.shows` says of the published generators."""

GROWN = "how far the network has grown: to its full size"
"""Why a tensor of a grown network is left out that is 0 in every file."""

MEAN = "the mean latent, kept as latent_avg"
"""Why a generator's mean code is no tensor of the conversion table."""

LOWER = "ToRGB of lower resolutions, of use while the network grew"
"""Why a tensor of a grown network is left out."""

WIDEST = 8192
"""Channels of a layer; the published networks have at most 512."""


def check_sizes(where: str, channels: Sequence[int], *sizes: int) -> None:
    """Refuse a network that would take minutes to build, or none at all.

    Args:
        where: the part of the file, for messages.
        channels: feature maps at each resolution.
        *sizes: widths of codes, and last the number of mapping layers.

    Raises:
        UserError: it has over 10 resolutions (2048²), or a size of 0 or over 8192.
    """
    every = (*channels, *sizes[:-1])
    if not 1 <= len(channels) <= MOST_RESOLUTIONS or sizes[-1] > MOST_LAYERS:
        raise UserError(
            f"{where} is a generator of {len(channels)} resolutions and {sizes[-1]} mapping "
            f"layers, wanted at most {MOST_RESOLUTIONS} and {MOST_LAYERS}"
        )
    if not all(0 < size <= WIDEST for size in every):
        raise UserError(
            f"{where} is a generator with layers {min(every)} to {max(every)} wide, wanted 1 to "
            f"{WIDEST}"
        )


def check_filters(
    tensors: Mapping[str, np.ndarray], keys: Iterable[str], taps: Sequence[int]
) -> None:
    """Refuse a file that resamples with another filter.

    Args:
        tensors: the state dict.
        keys: those of the filters.
        taps: of the filter along one axis; the file's may be scaled.

    Raises:
        UserError: names the first that differs.
    """
    wanted = np.outer(taps, taps) / np.sum(taps) ** 2
    for key in keys:
        if not schema.is_real(tensors[key].dtype):
            raise UserError(f"{key} is {tensors[key].dtype}, wanted a filter of real numbers")
        array = np.asarray(tensors[key], np.float64)
        if array.shape[-2:] == wanted.shape and 0 < array.size <= WIDEST * wanted.size:
            sums = array.sum((-2, -1), keepdims=True)
            if (sums > 0).all() and np.allclose(array / sums, wanted, atol=1e-6):
                continue
        raise UserError(f"{key} is not the {list(taps)} filter emojax resamples with")


def constant(array: np.ndarray) -> np.ndarray:
    """Constant input (1, C, 4, 4) or (C, 4, 4) to [4, 4, C]."""
    return array.reshape(array.shape[-3:]).transpose(1, 2, 0)


def numbers(tensors: Mapping[str, np.ndarray], pattern: str) -> list[int]:
    """Return the distinct numbers that the keys matching a pattern carry, sorted."""
    return sorted({int(match[1]) for key in tensors if (match := re.fullmatch(pattern, key))})


def averaged(part: Part[Any, Any], config: Any, table: "Arrays") -> tuple[np.ndarray, str]:
    """Return the mean code [D] of mapped samples, and where it is from, in words.

    Args:
        part: which generator.
        config: the network's.
        table: its weights, all but the mean.
    """
    import jax  # late, as all that imports JAX

    from emojax.models.generator import mean_latent
    from emojax.store import weights

    zero = np.zeros(config.style_dim, np.float32)
    abstract = weights.abstract(part.network_class(), config)
    model = weights.load(abstract, {**table, "latent_avg": zero})
    average = jax.jit(mean_latent, static_argnames="samples")
    mean = np.asarray(average(model, jax.random.key(0), samples=MEAN_SAMPLES))
    return mean, f"{MEAN_SAMPLES} mapped samples, seed 0"


def sizes(config: Any) -> dict[str, str]:
    """Return what a converter prints of a generator's size."""
    return {"resolution": f"{config.size}²", "channels": " ".join(map(str, config.channels))}


def mapped_sizes(config: Any, origin: str) -> dict[str, str]:
    """Return what a converter prints of a generator with a mapping network.

    Args:
        config: the network's.
        origin: where the mean code is from.
    """
    style = f"{config.style_dim} wide, {config.n_mlp} mapping layers"
    return sizes(config) | {"style": style, "mean_latent": f"from {origin}"}


def facts_of(table: "Arrays", origin: str) -> dict[str, Any]:
    """Return what the metadata of a generator says beside its file.

    Args:
        table: its weights.
        origin: where the mean code is from.
    """
    mean = [round(float(value), 6) for value in np.asarray(table["latent_avg"])]
    return PICTURES | {"mean_latent": {"from": origin, "values": mean}}
