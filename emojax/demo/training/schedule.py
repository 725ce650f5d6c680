"""Stages of the demo's training: order, dependencies and lengths; needs no jax."""

import dataclasses
from collections.abc import Iterable
from typing import Final, Literal

from emojax.runtime.errors import UserError

ProfileName = Literal["cpu", "gpu"]
"""cpu: 64 px; gpu: 128 px."""

GENERATOR_STAGES: Final = ("mapping", "coarse", "generator")
"""The stages of the generator, in their order; the last has the bundle's name for it."""
UNSTORED: Final = ("mapping", "coarse", "trunk")
"""Stages whose networks are no part of the bundle."""
NEEDS: Final = {
    "coarse": ("mapping",),
    "generator": ("coarse",),
    "psp": ("generator", "trunk"),
    "w_encoder": ("generator", "trunk"),
    "hyperstyle": ("generator", "w_encoder"),
}
"""Stages that need the networks of other stages, and which."""


@dataclasses.dataclass(frozen=True)
class Length:
    """How long one stage is trained.

    Attributes:
        steps: number of updates.
        batch: faces an update.
        rate: peak learning rate.
    """

    steps: int
    batch: int
    rate: float


LENGTHS: Final[dict[ProfileName, dict[str, Length]]] = {
    "cpu": {
        "mapping": Length(8_000, 256, 1e-2),
        "coarse": Length(4_200, 32, 1.5e-2),
        "generator": Length(2_800, 32, 1.2e-2),
        "emotion": Length(3_600, 64, 4e-3),
        "psp": Length(2_400, 24, 2e-3),
        "w_encoder": Length(900, 24, 2e-3),
        "hyperstyle": Length(3_000, 8, 1e-3),
        "attributes": Length(2_400, 64, 4e-3),
        "features": Length(600, 64, 4e-3),
        "trunk": Length(2_000, 64, 2e-3),
    },
    "gpu": {
        "mapping": Length(8_000, 512, 1e-2),
        "coarse": Length(5_000, 64, 1.5e-2),
        "generator": Length(3_200, 64, 1.2e-2),
        "emotion": Length(2_500, 128, 4e-3),
        "psp": Length(2_500, 64, 2e-3),
        "w_encoder": Length(1_500, 64, 2e-3),
        "hyperstyle": Length(2_500, 16, 1e-3),
        "attributes": Length(1_600, 128, 4e-3),
        "features": Length(800, 128, 4e-3),
        "trunk": Length(1_500, 128, 2e-3),
    },
}
"""Lengths of the stages by profile. "cpu" takes an hour and a half on two Zen 5 cores.

"gpu" is meant for about twenty minutes on one GPU; it was never run from start to end. Its lengths
are estimated from times measured on an H200: 70 ms a step of the generator, mostly drawing, 36 ms a
step of pSp, and about 40 s of compilation a stage.
"""


def with_needed(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return stages and all that they need.

    Args:
        names: stages.
        known: all stages; the result has their order.

    Raises:
        UserError: a stage is unknown.
    """
    known, found = list(known), set(names)
    if unknown := sorted(found - set(known)):
        raise UserError(f"--stages names {unknown[0]!r}, wanted some of {', '.join(known)}")
    while missing := {need for name in found for need in NEEDS.get(name, ())} - found:
        found |= missing
    return [name for name in known if name in found]
