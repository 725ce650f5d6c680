"""Conversion tables: where each tensor of a network is in a published file, and in which layout.

A table is walked from the network's side, so every tensor of the network finds its source; tensors
of the file that are left over must be listed as ignored, with a reason. Needs no JAX until a table
is applied.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from convert.reader.checkpoint_file import release
from convert.reader.schema import all_finite, is_number
from emojax.runtime.errors import UserError
from emojax.store.parts import ConfigT, Part

if TYPE_CHECKING:
    from emojax.store.weights import Array, Shaped


Shape = tuple[int, ...]


def same(array: np.ndarray) -> np.ndarray:
    """Leave an array as it is."""
    return array


class Rule(NamedTuple):
    r"""One line of a table.

    Attributes:
        target: regular expression for the network's dotted name, matched whole.
        source: template for the published key (`\1` stands for the first group).
        transform: from the published array to the network's layout.
        shape: the published shape of a tensor of the network's; None: see `convert.inverse`.
    """

    target: str
    source: str
    transform: Callable[[np.ndarray], np.ndarray] = same
    shape: Callable[[Shape], Shape] | None = None


class Ignored(NamedTuple):
    """Published keys that the network has no use for, and why.

    Attributes:
        source: regular expression for the keys, matched whole.
        reason: why they are left out.
    """

    source: str
    reason: str


COUNTER = "counts training steps"
"""Why a BatchNorm's num_batches_tracked is left out."""


@dataclasses.dataclass(eq=False)
class Converted:
    """A tensor of the network, computed from the published one each time `np.asarray` asks for it.

    Nothing is kept, and pages of a mapped file are released after use, so that converting a large
    file takes memory for one tensor at a time.

    Attributes:
        key: its published name.
        source: the published array.
        transform: to the network's layout.
        shape: of the result.
        finite: whether it was computed before, and found to hold neither NaN nor infinity.
    """

    key: str
    source: np.ndarray
    transform: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int, ...]
    finite: bool = False

    @property
    def dtype(self) -> np.dtype:
        """Type of an element, as published."""
        return self.source.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return a new array in memory.

        Raises:
            UserError: it holds NaN, infinity, or a number that float32 has no room for.
        """
        array = self.transform(self.source)
        if not (self.finite or all_finite(array)):
            raise UserError(
                f"{self.key} holds NaN or infinity: download the file again and compare its SHA-256"
            )
        self.finite = True
        view = np.may_share_memory(array, self.source)
        array = np.array(array, dtype, order="C", copy=True if view else None)
        release(self.source)
        return array


def conv(array: np.ndarray) -> np.ndarray:
    """Convolution kernel OIHW (or 1OIHW) to HWIO."""
    return array.reshape(array.shape[-4:]).transpose(2, 3, 1, 0)


def transposed_conv(array: np.ndarray) -> np.ndarray:
    """Kernel of a transposed convolution, IOHW to HWIO."""
    return array.transpose(2, 3, 0, 1)


def linear(array: np.ndarray) -> np.ndarray:
    """Weight of a linear layer, [out, in] to [in, out]."""
    return array.T


def pointwise(array: np.ndarray) -> np.ndarray:
    """1x1 convolution [out, in, 1, 1] to the weight of a linear layer, [in, out]."""
    return array.reshape(array.shape[:2]).T


def flat(array: np.ndarray) -> np.ndarray:
    """Drop axes of length 1: (1, 3, 1, 1) to (3,), (1,) to ()."""
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


def expected(part: Part[Any, ConfigT], config: ConfigT) -> "dict[str, Shaped]":
    """Return the table that a part's network has under a config: shapes in place of arrays."""
    from emojax.store import weights  # late: imports JAX, for which `--help` must not wait

    return dict(weights.shapes(part.network_class(), config))


def apply(
    rules: Sequence[Rule],
    ignored: Sequence[Ignored],
    wanted: "Mapping[str, Shaped]",
    source: Mapping[str, np.ndarray],
) -> "tuple[dict[str, Array], dict[str, str]]":
    """Fill a network's table from a published one.

    Args:
        rules: the conversion table; of several lines that match a name the first counts.
        ignored: keys that may be left over.
        wanted: see `expected`.
        source: published arrays by key.

    Returns:
        The network's table, of arrays that are computed when they are used, and {published key:
        reason} of what was left out.

    Raises:
        UserError: lists every tensor without a source, without a use, or of another shape.
    """
    table: dict[str, Array] = {}
    used, found = set(), []
    for name, shaped in wanted.items():
        key, rule = source_of(name, rules)
        transform, shape = rule.transform, tuple(shaped.shape)
        used.add(key)
        if key not in source:
            found.append(f"missing: {key} (for {name}, {list(shape)})")
        elif _shape(transform, source[key]) != shape:
            had = list(source[key].shape)
            found.append(f"misshapen: {key} is {had}, {name} wants {list(shape)}")
        elif not is_number(source[key].dtype):
            found.append(f"mistyped: {key} is {source[key].dtype}, wanted real numbers")
        else:
            table[name] = Converted(key, source[key], transform, shape)
    left, unknown = _left_over(source, used, ignored)
    if found := sorted(found) + sorted(unknown):
        from emojax.store import weights  # late, as in `expected`

        raise weights.mismatch("the file does not hold this network", found)
    return table, left


def _left_over(
    source: Mapping[str, np.ndarray], used: set[str], ignored: Sequence[Ignored]
) -> tuple[dict[str, str], list[str]]:
    """Return {key: reason} of the keys that are ignored, and a line for each unknown one."""
    left, unknown = {}, []
    for key in source:
        if key in used:
            continue
        reason = next((each.reason for each in ignored if re.fullmatch(each.source, key)), None)
        if reason is None:
            unknown.append(f"unknown: {key} {list(np.shape(source[key]))}")
        else:
            left[key] = reason
    return left, unknown


def source_of(name: str, rules: Sequence[Rule]) -> tuple[str, Rule]:
    """Return the published key of a network's tensor, and the line of the table that says so.

    Raises:
        LookupError: the table has none.
    """
    for rule in rules:
        if match := re.fullmatch(rule.target, name):
            return match.expand(rule.source), rule
    raise LookupError(f"no rule for {name}: the table is incomplete")


def _shape(transform: Callable, array: np.ndarray) -> tuple[int, ...] | None:
    """Return the shape of a transform's result, computing nothing; None where it fails."""
    stand_in = np.broadcast_to(np.zeros((), array.dtype), array.shape)
    try:
        return transform(stand_in).shape
    except (ValueError, IndexError, TypeError):  # too few axes for it
        return None
