"""What the number of a slider means: per cent of the usable range, or one of the units of k."""

import dataclasses
from typing import Literal, NamedTuple

from emojax import Faces, Pipeline
from emojax.runtime.choices import NEUTRAL

SliderUnit = Literal["percent", "norm", "layer", "sigma"]

UNITS: dict[str, SliderUnit] = {
    "per cent of the usable range": "percent",
    "k (the paper's)": "norm",
    "k in every layer": "layer",
    "standard deviations": "sigma",
}
"""Names of the units on the page."""

MOST = 12
"""Sliders at most, for bundles with many directions."""


class Range(NamedTuple):
    """Ends and step of a slider; 0 lies between the ends."""

    lowest: float
    highest: float
    step: float


@dataclasses.dataclass(frozen=True)
class Scale:
    """Converts numbers of sliders to k in units of "norm" and back, for the directions of a bundle.

    Attributes:
        pipe: whose directions.
    """

    pipe: Pipeline

    @property
    def names(self) -> tuple[str, ...]:
        """The directions that have a slider: the bundle's, at most `MOST`."""
        return self.pipe.directions.names[:MOST]

    @property
    def layers(self) -> int:
        """The generator's number of layers."""
        return self.pipe.inverter.generator.config.n_latent

    def range(self, name: str, unit: SliderUnit = "percent") -> Range:
        """Return the range of a direction's slider: what was measured as usable."""
        if unit == "percent":
            return Range(-100, 100, 1)
        lowest, highest = self.pipe.directions.usable_range(name)
        length = self._length(name, unit)
        step = 10.0 ** len(str(int(max(highest, -lowest) / length))) / 1000
        ends = (round(end / length / step) * step for end in (lowest, highest))
        return Range(*(round(end, 4) for end in ends), step=step)

    def k(self, name: str, value: float, unit: SliderUnit = "percent") -> float:
        """Return how far a slider's number moves along a direction, as k in units of "norm"."""
        if unit != "percent":
            return value * self._length(name, unit)
        lowest, highest = self.pipe.directions.usable_range(name)
        return value / 100 * (highest if value > 0 else -lowest)

    def value(self, name: str, k: float, unit: SliderUnit = "percent") -> float:
        """Return the slider's number of a k in units of "norm", kept within the slider's ends."""
        lowest, highest = self.pipe.directions.usable_range(name)
        if unit == "percent":
            end = highest if k > 0 else -lowest
            return float(round(min(max(100 * k / end, -100), 100))) if end else 0.0
        ends = self.range(name, unit)
        return round(min(max(k / self._length(name, unit), ends.lowest), ends.highest), 4)

    def to_neutral(self, face: Faces) -> float:
        """Return the k along "neutral" by which Equation 2 moves a face.

        Raises:
            UserError: the directions have no "neutral".
        """
        directions = self.pipe.directions
        away = directions.tiled(self.layers)[directions.index(NEUTRAL)]
        moved = self.pipe.neutralise(face).w_plus - face.w_plus
        return float((moved[0] * away).sum())

    def _length(self, name: str, unit: SliderUnit) -> float:
        if unit == "percent":
            raise ValueError("per cent have no length of their own")
        directions = self.pipe.directions
        return float(directions.unit_lengths(self.layers, unit)[directions.index(name)])
