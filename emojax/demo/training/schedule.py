"""Stages of the demo's training: order, dependencies and lengths; needs no jax."""

import dataclasses
from collections.abc import Iterable
from typing import Final, Literal

from emojax.runtime.errors import UserError

ProfileName = Literal["cpu", "gpu"]
"""Both 128 px."""

GENERATOR_STAGES: Final = ("mapping", "coarse", "middle", "fine", "generator")
"""The stages of the generator, in their order; the last has the bundle's name for it."""
UNSTORED: Final = ("mapping", "coarse", "middle", "fine", "trunk")
"""Stages whose networks are no part of the bundle."""
NEEDS: Final = {
    "coarse": ("mapping",),
    "middle": ("coarse",),
    "fine": ("middle",),
    "generator": ("fine", "features"),
    "psp": ("generator", "trunk", "features", "attributes"),
    "w_encoder": ("generator", "trunk", "features", "attributes"),
    "hyperstyle": ("generator", "w_encoder", "features"),
}
"""Stages that need the networks of other stages, and which."""


@dataclasses.dataclass(frozen=True)
class Length:
    """How long one stage is trained.

    Attributes:
        steps: number of updates, at most.
        batch: faces an update.
        rate: peak learning rate.
        until: share of a time limit at which the stage ends, if there is one.
    """

    steps: int
    batch: int
    rate: float
    until: float


LENGTHS: Final[dict[ProfileName, dict[str, Length]]] = {
    "cpu": {
        "mapping": Length(8_000, 256, 1e-2, 0.06),
        "coarse": Length(7_000, 16, 1.2e-2, 0.12),
        "middle": Length(4_000, 16, 8e-3, 0.22),
        "fine": Length(7_000, 16, 7e-3, 0.50),
        "features": Length(600, 64, 4e-3, 0.20),
        "generator": Length(1_500, 16, 3e-3, 0.55),
        "emotion": Length(3_600, 64, 4e-3, 1.0),
        "attributes": Length(2_400, 64, 4e-3, 0.50),
        "trunk": Length(2_000, 64, 2e-3, 0.50),
        "psp": Length(2_000, 24, 2e-3, 0.85),
        "w_encoder": Length(900, 24, 2e-3, 0.75),
        "hyperstyle": Length(3_000, 8, 1e-3, 1.0),
    },
    "gpu": {
        "mapping": Length(8_000, 512, 1e-2, 0.35),
        "coarse": Length(4_000, 64, 1.5e-2, 0.40),
        "middle": Length(8_000, 64, 1.5e-2, 0.46),
        "fine": Length(20_000, 64, 1.2e-2, 0.60),
        "features": Length(2_500, 128, 4e-3, 0.46),
        "generator": Length(12_000, 32, 3e-3, 0.72),
        "emotion": Length(3_500, 128, 4e-3, 0.70),
        "attributes": Length(2_500, 128, 4e-3, 0.60),
        "trunk": Length(2_500, 128, 2e-3, 0.60),
        "psp": Length(12_000, 64, 2e-3, 0.94),
        "w_encoder": Length(6_000, 64, 2e-3, 0.82),
        "hyperstyle": Length(8_000, 16, 1e-3, 0.96),
    },
}
"""Lengths of the stages by profile. "cpu" takes about nine hours on two Zen 3 cores, one and a half
of them for classifiers and trunk.

"gpu" was never run from start to end. With a time limit a stage ends at its share of it, and the
first third goes into compilation; classifiers and trunk end by their steps, to leave the GPU to the
generator.
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
