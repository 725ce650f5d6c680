"""Conversion tables read backwards: the published arrays of a network's table.

A transform of a table moves numbers and computes nothing, so where each number of the network comes
from is learnt by transforming the numbers 0, 1, 2, ...; no transform needs an inverse of its own.
What has to be known is the published shape: by the transform, or by `Rule.shape` where several
shapes have the same transform.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from convert.rules import (
    Rule,
    Shape,
    conv,
    linear,
    pointwise,
    same,
    source_of,
    transposed_conv,
)

if TYPE_CHECKING:
    from emojax.store.weights import Array

SHAPES: dict[Callable[[np.ndarray], np.ndarray], Callable[[Shape], Shape]] = {
    same: lambda shape: shape,
    conv: lambda shape: (shape[3], shape[2], shape[0], shape[1]),
    transposed_conv: lambda shape: (shape[2], shape[3], shape[0], shape[1]),
    linear: lambda shape: shape[::-1],
    pointwise: lambda shape: (shape[1], shape[0], 1, 1),
}
"""Published shape of a tensor by the transform that brings it to ours."""


def inverted(table: "Mapping[str, Array]", rules: Sequence[Rule]) -> dict[str, np.ndarray]:
    """Return the published arrays of a network's table by their keys.

    Args:
        table: of the network.
        rules: the conversion table that such a network is filled by.

    Raises:
        ValueError: two tensors have the same key, or a transform does not only move numbers.
    """
    found: dict[str, np.ndarray] = {}
    for name, array in table.items():
        key, rule = source_of(name, rules)
        if key in found:
            raise ValueError(f"two tensors of the network are {key}")
        found[key] = _moved_back(np.asarray(array), rule)
    return found


def published_shape(shape: Shape, rule: Rule) -> Shape:
    """Return the published shape of a tensor of the network's shape."""
    return (rule.shape or SHAPES[rule.transform])(shape)


def _moved_back(array: np.ndarray, rule: Rule) -> np.ndarray:
    shape = published_shape(array.shape, rule)
    places = rule.transform(np.arange(array.size).reshape(shape))
    counts = np.bincount(places.reshape(-1), minlength=array.size)
    if places.shape != array.shape or len(counts) != array.size or (counts != 1).any():
        raise ValueError(f"the transform of {rule.source} does not only move numbers")
    flat = np.empty(array.size, array.dtype)
    flat[places.reshape(-1)] = array.reshape(-1)
    return flat.reshape(shape)


def counters(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the counters of training steps that BatchNorms have beside their statistics: 0."""
    ending = ".running_mean"
    return {
        f"{key.removesuffix(ending)}.num_batches_tracked": np.zeros((), np.int64)
        for key in arrays
        if key.endswith(ending)
    }
