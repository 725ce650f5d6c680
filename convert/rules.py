"""Conversion tables: every tensor of the model finds its source, and none is left unexplained."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from convert.reader.torch_file import release
from emojax.runtime.errors import UserError
from emojax.store import weights


class Rule(NamedTuple):
    """One line of a table, read from the model's side.

    Attributes:
        target: regular expression for the model's dotted name, matched whole.
        source: template for the published key (`\\1` stands for the first group).
        transform: from the published array to the model's layout.
    """

    target: str
    source: str
    transform: Callable[[np.ndarray], np.ndarray] = lambda array: array


class Ignored(NamedTuple):
    """Published keys that the model has no use for, and why."""

    source: str
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class Converted:
    """A tensor of the model, made from the published one each time `np.asarray` asks for it.

    So a large file takes memory for one tensor at a time: nothing is kept, and the pages of a
    mapped file are given back.

    Attributes:
        source: the published array.
        transform: to the model's layout.
        shape: of the result.
    """

    source: np.ndarray
    transform: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """Kind of number; the published one."""
        return self.source.dtype

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """Return a new array in memory."""
        array = self.transform(self.source)
        view = np.may_share_memory(array, self.source)
        array = np.array(array, dtype, order="C", copy=True if view else None)
        release(self.source)
        return array


def conv(array: np.ndarray) -> np.ndarray:
    """OIHW (or 1OIHW) to HWIO."""
    return array.reshape(array.shape[-4:]).transpose(2, 3, 1, 0)


def linear(array: np.ndarray) -> np.ndarray:
    """[out, in] to [in, out]."""
    return array.T


def pointwise(array: np.ndarray) -> np.ndarray:
    """1×1 convolution [out, in, 1, 1] to the kernel of a linear layer, [in, out]."""
    return array.reshape(array.shape[:2]).T


def flat(array: np.ndarray) -> np.ndarray:
    """Drop every axis but the one that counts: (1, 3, 1, 1) to (3,), (1,) to ()."""
    return array.reshape([size for size in array.shape if size != 1])


def norm(target: str, source: str) -> list[Rule]:
    """Return the four rules of a BatchNorm."""
    return [
        Rule(rf"{target}\.{ours}", rf"{source}.{theirs}")
        for ours, theirs in [
            ("scale", "weight"),
            ("bias", "bias"),
            ("mean", "running_mean"),
            ("var", "running_var"),
        ]
    ]


def apply(
    rules: Sequence[Rule],
    ignored: Sequence[Ignored],
    expected: Mapping[str, jax.ShapeDtypeStruct],
    source: Mapping[str, np.ndarray],
) -> tuple[dict[str, Converted], dict[str, str]]:
    """Fill the `expected` table from `source`.

    Returns:
        The model's table, of arrays yet to be made, and {published key: reason} of what was left
        out.

    Raises:
        UserError: lists every tensor without a source, without a use, or of another shape.
    """
    table, used, found = {}, set(), []
    for name, wanted in expected.items():
        key, transform = _source_of(name, rules)
        if key not in source:
            found.append(f"missing: {key} (for {name}, {list(wanted.shape)})")
            continue
        used.add(key)
        if _shape(transform, source[key]) != tuple(wanted.shape):
            found.append(
                f"misshapen: {key} is {list(source[key].shape)}, {name} wants {list(wanted.shape)}"
            )
            continue
        table[name] = Converted(source[key], transform, tuple(wanted.shape))
    left, unknown = {}, []
    for key in source:
        if key in used:
            continue
        reason = next((rule.reason for rule in ignored if re.fullmatch(rule.source, key)), None)
        if reason is None:
            unknown.append(f"unknown: {key} {list(np.shape(source[key]))}")
        else:
            left[key] = reason
    if found := sorted(found) + sorted(unknown):
        raise UserError(f"the file does not hold this network; {weights.report(found)}")
    return table, left


def _source_of(name: str, rules: Sequence[Rule]) -> tuple[str, Callable]:
    for rule in rules:
        if match := re.fullmatch(rule.target, name):
            return match.expand(rule.source), rule.transform
    raise LookupError(f"no rule for {name}: the table is incomplete")


def _shape(transform: Callable, array: np.ndarray) -> tuple[int, ...] | None:
    """Shape of what a transform makes of an array, None where it cannot; nothing is computed."""
    stand_in = np.broadcast_to(np.zeros((), array.dtype), array.shape)
    try:
        return transform(stand_in).shape
    except ValueError:
        return None
