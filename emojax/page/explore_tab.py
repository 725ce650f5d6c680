"""The tab that draws random faces, mixes them and moves them."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from emojax.page import pictures, widgets
from emojax.page.edit_tab import AT_ONCE, CHANGED, SLOW, EditTab
from emojax.page.edit_tab import edit as apply_edit
from emojax.page.panel import Panel
from emojax.page.recipes import Edit, Origin
from emojax.page.site import Site, visitor_of
from emojax.page.subject import Subject, draw

ROW = 8
"""Faces to choose from at a time."""
LAST_SEED = 2**31 - 1 - ROW
"""Largest first seed of a row."""
MIXING = {
    "nothing": (0.0, 0.0),
    "pose and shape": (0.0, 0.3),
    "features": (0.3, 0.6),
    "colours": (0.6, 1.0),
}
"""What comes from the second face: shares of the generator's layers."""
PLACE = "explore"
EMPTY = "Draw faces, choose one, and it appears here."


class ExploreTab:
    """Lays the tab out and answers its controls."""

    def __init__(self, site: Site, edit: EditTab, tabs: gr.Tabs, own: gr.Tab, edit_id: str) -> None:
        """Lay the tab out; made inside a gradio layout.

        Args:
            site: what the tabs share.
            edit: the tab that "Use as source" goes to.
            tabs: all tabs.
            own: this one of them.
            edit_id: that of `edit` among them.
        """
        self.site, self.pipe, self.edit, self.edit_id = site, site.networks.default, edit, edit_id
        with gr.Row(elem_classes="ex-columns"):
            with gr.Column(scale=4, min_width=300, elem_classes="ex-inputs"):
                self._faces()
            with gr.Column(scale=5, min_width=320, elem_classes="ex-results"):
                self.stage = gr.HTML(
                    widgets.nothing(EMPTY), js_on_load=widgets.SPLIT, elem_id="explore-stage"
                )
                self.bars = gr.HTML(elem_id="explore-bars")
            with gr.Column(scale=4, min_width=300):
                self.panel = Panel(site.networks.scale, "explore", "As drawn")
                self.use = gr.Button(
                    "Use as source", variant="primary", size="md", elem_id="explore-use"
                )
        with gr.Accordion("Show me the command", open=False):
            self.command = gr.HTML(js_on_load=widgets.COPY, elem_id="explore-command")
            gr.Markdown("The same in Python", elem_classes="ex-about")
            self.python = gr.HTML(js_on_load=widgets.COPY, elem_id="explore-python")
        self.drawn = [self.stage, self.bars, self.command, self.python]
        self._listen(tabs, own)

    def _faces(self) -> None:
        with gr.Row():
            self.seed = gr.Number(
                0, label="First seed", precision=0, minimum=0, maximum=LAST_SEED, min_width=120
            )
            self.more = gr.Button("More faces", size="md", min_width=120, elem_id="explore-more")
        self.truncation = gr.Slider(
            0,
            1,
            0.7,
            step=0.05,
            label="Variety (truncation)",
            info="0 draws the mean face, 1 from all faces there are.",
            buttons=[],
            elem_id="explore-truncation",
        )
        self.row = gr.HTML(js_on_load=widgets.CHOOSE, elem_id="explore-row")
        self.mixing = gr.Radio(
            [*MIXING], value="nothing", label="Take from a second face", elem_id="explore-mixing"
        )
        self.second = gr.Number(
            1, label="Seed of the second face", precision=0, minimum=0, maximum=LAST_SEED
        )
        self.chosen = gr.State(0)

    def _listen(self, tabs: gr.Tabs, own: gr.Tab) -> None:
        sliders, panel = self.panel.sliders, self.panel
        rows, face = [self.seed, self.truncation], [self.mixing, self.second]
        every, shown = [*rows, self.chosen, *face], [*sliders, *self.drawn]
        ends = [self.row, self.chosen, *shown]
        own.select(self.arrive, [*rows, *face], ends, **CHANGED)
        asked = [self.seed.submit, self.truncation.release]
        gr.on(asked, self.draw_row, [*rows, *face], ends, **CHANGED)
        self.more.click(self.draw_more, [*rows, *face], [self.seed, *ends], **SLOW)
        self.row.select(self.choose, every, ends, **CHANGED)
        gr.on([self.mixing.input, self.second.submit], self.mix, every, shown, **CHANGED)
        gr.on(panel.moved, self.move, panel.inputs, self.drawn, **AT_ONCE)
        panel.reset.click(panel.at_rest, None, sliders, **AT_ONCE).then(
            self.move, panel.inputs, self.drawn, **AT_ONCE
        )
        panel.neutral.click(self.to_neutral, [panel.unit], sliders, **AT_ONCE).then(
            self.move, panel.inputs, self.drawn, **AT_ONCE
        )
        ends = [tabs, self.edit.photo, *self.edit.opened]
        self.use.click(self.use_as_source, None, ends, **SLOW)

    async def arrive(self, request: gr.Request, *values: Any) -> Sequence[Any]:
        """Draw the first row when a visitor comes to the tab for the first time."""
        if self.site.visits.has(visitor_of(request), PLACE):
            return [gr.skip()] * (2 + len(self.panel.sliders) + len(self.drawn))
        return await self.draw_row(request, *values)

    async def draw_row(
        self,
        request: gr.Request,
        seed: float | None,
        truncation: float,
        mixing: str,
        second: float | None,
    ) -> Sequence[Any]:
        """Draw a row of faces and show its first."""
        return await self._row(visitor_of(request), seed, truncation, 0, mixing, second)

    async def draw_more(
        self,
        request: gr.Request,
        seed: float | None,
        truncation: float,
        mixing: str,
        second: float | None,
    ) -> Sequence[Any]:
        """Draw the next row."""
        following = _seed(_seed(seed) + ROW)
        row = self._row(visitor_of(request), following, truncation, 0, mixing, second)
        return [following, *await row]

    async def choose(
        self,
        request: gr.Request,
        event: gr.EventData,
        seed: float | None,
        truncation: float,
        chosen: int,
        mixing: str,
        second: float | None,
    ) -> Sequence[Any]:
        """Show another face of the row."""
        del chosen
        number = max(0, min(int(event.index), ROW - 1))
        return await self._row(visitor_of(request), seed, truncation, number, mixing, second)

    async def mix(
        self,
        request: gr.Request,
        seed: float | None,
        truncation: float,
        chosen: int,
        mixing: str,
        second: float | None,
    ) -> Sequence[Any]:
        """Take some layers of the chosen face from another."""
        origin = self._origin(_seed(seed) + int(chosen), truncation, mixing, second)
        drawn = await self.site.run(self._face, visitor_of(request), origin)
        return [*self.panel.at_rest(), *drawn]

    async def move(
        self, request: gr.Request, unit: str, first: float, last: float, *values: float
    ) -> Sequence[Any]:
        """Move the chosen face along the directions."""
        settings = self.panel.read(unit, first, last, *values)
        subject = self.site.face(visitor_of(request), PLACE)

        def moved() -> Sequence[Any]:
            made = apply_edit(self.pipe, subject, settings)
            return self.edit.drawn_as(made.subject, made.recipe, made.result)

        return await self.site.run(moved)

    async def to_neutral(self, request: gr.Request, unit: str) -> list[float]:
        """Return the sliders' values that take the expression away."""
        subject = self.site.face(visitor_of(request), PLACE)
        return await self.site.run(self.panel.neutral_of, subject.face, unit)

    def use_as_source(self, request: gr.Request) -> Sequence[Any]:
        """Go on with the chosen face in the tab that edits."""
        visitor = visitor_of(request)
        subject = self.site.face(visitor, PLACE)
        opened = self.edit.show(visitor, subject)
        picture = pictures.enlarged(subject.before)
        return [gr.update(selected=self.edit_id), picture, *opened]

    async def _row(
        self,
        visitor: str,
        seed: float | None,
        truncation: float,
        number: int,
        mixing: str,
        second: float | None,
    ) -> Sequence[Any]:
        first = _seed(seed)
        origin = self._origin(first + number, truncation, mixing, second)

        def made() -> Sequence[Any]:
            seeds = range(first, first + ROW)
            faces = self.pipe.sample(seeds, truncation=float(truncation)).pictures
            labels = [f"seed {each}" for each in seeds]
            row = widgets.choices([*faces], number, labels, "Choose a face.")
            return [row, number, *self.panel.at_rest(), *self._face(visitor, origin)]

        return await self.site.run(made)

    def _face(self, visitor: str, origin: Origin) -> Sequence[Any]:
        """Draw, keep and show a face."""
        subject: Subject = draw(self.pipe, origin)
        self.site.visits.put(visitor, PLACE, subject)
        return self.edit.drawn_as(subject, Edit(origin, {}), subject.face)

    def _origin(self, seed: int, truncation: float, mixing: str, second: float | None) -> Origin:
        ends = [round(share * self.site.networks.scale.layers) for share in MIXING[mixing]]
        style = _seed(second) if ends[0] < ends[1] else None
        return Origin(
            seed=seed,
            truncation=float(truncation),
            style=style,
            style_layers=(ends[0], ends[1]),
        )


def _seed(given: float | None) -> int:
    """Return a number that was typed as a seed."""
    return max(0, min(int(given or 0), LAST_SEED))
