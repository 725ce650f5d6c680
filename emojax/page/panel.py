"""The sliders that move a face along the directions, with their unit and layers."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import gradio as gr

from emojax import Faces
from emojax.page.scale import UNITS, Scale, SliderUnit
from emojax.runtime.choices import NEUTRAL

ABOUT = {
    "percent": "0 leaves the face as it is; 100 is as far as it stays the same person.",
    "norm": "0 leaves the face as it is; k is the step that the commands count.",
    "layer": "0 leaves the face as it is; k is the length of the step in each layer.",
    "sigma": "0 leaves the face as it is; 1 is the spread among generated faces.",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the sliders say.

    Attributes:
        k: {direction: k in units of "norm"}, without those at 0.
        layers: first layer that moves, and the one behind the last; None: all.
    """

    k: dict[str, float]
    layers: tuple[int, int] | None

    @property
    def moving(self) -> slice:
        """The layers that move."""
        return slice(*self.layers) if self.layers else slice(None)


class Panel:
    """Sliders, their buttons, and the advanced settings; made inside a gradio layout.

    Attributes:
        sliders: one for each direction.
        inputs: everything that `read` takes, in its order.
        reset: the button back to the photographed face.
        neutral: the button to the face without expression; None where no direction is "neutral".
    """

    def __init__(self, scale: Scale, name: str, back: str) -> None:
        """Lay the panel out.

        Args:
            scale: what the numbers mean.
            name: begins the identifiers of its parts in the page.
            back: label of the button that puts all sliders to 0.
        """
        self.scale, first = scale, scale.range(scale.names[0])
        self.about = gr.Markdown(ABOUT["percent"], elem_classes="ex-about")
        with gr.Group(elem_classes=_look("percent")) as self.group:
            self.sliders = [
                gr.Slider(
                    first.lowest,
                    first.highest,
                    0,
                    step=first.step,
                    label=each.capitalize(),
                    elem_id=f"{name}-{each}",
                    buttons=[],
                )
                for each in scale.names
            ]
        with gr.Row():
            self.reset = gr.Button(back, size="sm", elem_id=f"{name}-to-start")
            has_neutral = NEUTRAL in scale.names
            self.neutral = gr.Button(
                "Neutral", size="sm", elem_id=f"{name}-to-neutral", visible=has_neutral
            )
        with gr.Accordion("Advanced", open=False):
            self._advanced()
        self._before = gr.State(next(iter(UNITS)))
        self.inputs = [self.unit, self.first, self.last, *self.sliders]
        self.unit.input(
            self._change_unit,
            [self._before, self.unit, *self.sliders],
            [self._before, self.about, self.group, *self.sliders],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )

    def _advanced(self) -> None:
        layers = self.scale.layers
        self.unit = gr.Radio([*UNITS], value=next(iter(UNITS)), label="Unit of the sliders")
        with gr.Row():
            self.first, self.last = (
                gr.Slider(1, layers, value, step=1, label=label, buttons=[], min_width=120)
                for label, value in (("From layer", 1), ("To layer", layers))
            )
        gr.Markdown(
            "The first layers draw pose and shape, the last ones colours.",
            elem_classes="ex-about",
        )

    @property
    def moved(self) -> list[Any]:
        """The events of a visitor's moves."""
        return [each.input for each in (*self.sliders, self.first, self.last)]

    def read(self, unit: str, first: float, last: float, *values: float) -> Settings:
        """Return what the sliders say, from the values of `inputs`."""
        scale, kind = self.scale, UNITS[unit]
        amounts = {
            name: scale.k(name, float(value or 0), kind)
            for name, value in zip(scale.names, values, strict=True)
        }
        begin, end = sorted((int(first), int(last)))
        every = (begin, end) == (1, scale.layers)
        return Settings(
            {name: k for name, k in amounts.items() if abs(k) > 1e-6},
            None if every else (begin - 1, end),
        )

    def at_rest(self) -> list[dict[str, Any]]:
        """Return updates that put every slider to 0."""
        return [gr.update(value=0) for _ in self.sliders]

    def at(self, k: dict[str, float], unit: str) -> list[float]:
        """Return the sliders' values for some k in units of "norm", 0 elsewhere."""
        kind = UNITS[unit]
        return [self.scale.value(name, k.get(name, 0.0), kind) for name in self.scale.names]

    def neutral_of(self, face: Faces, unit: str) -> list[float]:
        """Return the sliders' values that take a face's expression away, as Equation 2 does."""
        return self.at({NEUTRAL: self.scale.to_neutral(face)}, unit)

    def _change_unit(self, before: str, unit: str, *values: float) -> Sequence[Any]:
        """Say the same moves in another unit."""
        updates = []
        for name, value in zip(self.scale.names, values, strict=True):
            ends = self.scale.range(name, UNITS[unit])
            k = self.scale.k(name, float(value or 0), UNITS[before])
            updates.append(
                gr.update(
                    minimum=ends.lowest,
                    maximum=ends.highest,
                    step=ends.step,
                    value=self.scale.value(name, k, UNITS[unit]),
                )
            )
        look = gr.update(elem_classes=_look(UNITS[unit]))
        return [unit, ABOUT[UNITS[unit]], look, *updates]


def _look(unit: SliderUnit) -> list[str]:
    """Return the style of sliders; with 0 in their middle they are filled from there."""
    return ["ex-sliders", *(["ex-signed"] if unit == "percent" else [])]
