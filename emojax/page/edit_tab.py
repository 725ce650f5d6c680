"""The tab that edits a face by sliders."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import gradio as gr

from emojax import Faces, Pipeline, UserError
from emojax.page import downloads, pictures, widgets
from emojax.page.panel import Panel, Settings
from emojax.page.photo_input import photo_input
from emojax.page.recipes import Edit
from emojax.page.site import Site, visitor_of
from emojax.page.subject import Opened, Subject, open_photo, samples

PLACE = "edit"
FACE, WHOLE = "The face as drawn", "In the photograph"
AT_ONCE: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
    "trigger_mode": "always_last",
}
"""Of events that are answered at once: while one runs, only the last move waits."""
SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
"""Of events that a visitor waits for."""
CHANGED: dict[str, Any] = {**SLOW, "trigger_mode": "always_last"}
"""Of photographs and choices: one that comes while another is answered is answered after it."""
EMPTY = "Choose a photograph, and its face appears here."


@dataclasses.dataclass(frozen=True)
class Edited:
    """A face with an edit, drawn and classified.

    Attributes:
        subject: the face.
        recipe: the edit.
        result: the edited face.
    """

    subject: Subject
    recipe: Edit
    result: Faces


def edit(pipe: Pipeline, subject: Subject, settings: Settings) -> Edited:
    """Move a face, draw it and classify it: one call of the generator, one of the classifier."""
    result = pipe.edit(subject.face, settings.k, layers=settings.moving)
    pipe.render([result])
    return Edited(subject, Edit(subject.origin, settings.k, settings.layers), result)


class EditTab:
    """Lays the tab out and answers its controls."""

    def __init__(self, site: Site) -> None:
        """Lay the tab out; made inside a gradio layout.

        Args:
            site: what the tabs share.
        """
        self.site, self.pipe = site, site.networks.default
        self.samples = samples(self.pipe)
        with gr.Row(elem_classes="ex-columns"):
            with gr.Column(scale=3, min_width=300, elem_classes="ex-inputs"):
                self._photo()
            with gr.Column(scale=5, min_width=320, elem_classes="ex-results"):
                self._results()
            with gr.Column(scale=4, min_width=300):
                self.panel = Panel(site.networks.scale, "edit", "As photographed")
        with gr.Row(elem_classes="ex-columns"):
            with gr.Column(min_width=320):
                self._downloads()
            with gr.Column(min_width=320), gr.Accordion("Show me the command", open=False):
                self.command = gr.HTML(js_on_load=widgets.COPY, elem_id="edit-command")
                gr.Markdown("The same in Python", elem_classes="ex-about")
                self.python = gr.HTML(js_on_load=widgets.COPY, elem_id="edit-python")
        self.drawn = [self.stage, self.bars, self.command, self.python]
        self.opened = [self.note, self.crops, self.view, *self.panel.sliders, *self.drawn]
        self._listen()

    def _photo(self) -> None:
        self.photo = photo_input("Photograph", 280, "edit-photo")
        self.note = gr.HTML(elem_id="edit-note")
        self.crops = gr.HTML(js_on_load=widgets.CHOOSE, elem_id="edit-faces")
        self.examples = gr.HTML(
            example_faces(self.pipe, "Or try one of these"),
            js_on_load=widgets.CHOOSE,
            elem_id="edit-examples",
        )

    def _results(self) -> None:
        self.view = gr.Radio(
            [FACE, WHOLE],
            value=FACE,
            show_label=False,
            container=False,
            visible=False,
            elem_id="edit-view",
        )
        self.stage = gr.HTML(widgets.nothing(EMPTY), js_on_load=widgets.SPLIT, elem_id="edit-stage")
        self.bars = gr.HTML(elem_id="edit-bars")

    def _downloads(self) -> None:
        self.make = gr.Button("Prepare downloads", size="md", elem_id="edit-downloads")
        self.files = gr.File(
            label="Picture, codes, and a JSON that reproduces them",
            file_count="multiple",
            visible=False,
            elem_id="edit-files",
        )

    def _listen(self) -> None:
        gr.on([self.photo.input, self.photo.clear], self.open, [self.photo], self.opened, **CHANGED)
        self.crops.select(self.choose, [self.photo], self.opened, **CHANGED)
        self.examples.select(self.example, None, [self.photo, *self.opened], **CHANGED)
        moves = [self.view, *self.panel.inputs]
        gr.on([*self.panel.moved, self.view.input], self.move, moves, self.drawn, **AT_ONCE)
        sliders = self.panel.sliders
        self.panel.reset.click(self.panel.at_rest, None, sliders, **AT_ONCE).then(
            self.move, moves, self.drawn, **AT_ONCE
        )
        self.panel.neutral.click(self.to_neutral, [self.panel.unit], sliders, **AT_ONCE).then(
            self.move, moves, self.drawn, **AT_ONCE
        )
        self.make.click(self.download, self.panel.inputs, [self.files], **SLOW)

    async def open(self, request: gr.Request, file: str | None) -> Sequence[Any]:
        """Open a photograph and show its largest face."""
        return await self._open(file, None, visitor_of(request))

    async def choose(
        self, request: gr.Request, chosen: gr.EventData, file: str | None
    ) -> Sequence[Any]:
        """Show another face of the photograph."""
        return await self._open(file, int(chosen.index), visitor_of(request))

    async def example(self, request: gr.Request, chosen: gr.EventData) -> Sequence[Any]:
        """Open one of the bundle's own photographs."""
        file = str(list(self.samples.values())[int(chosen.index) % len(self.samples)])
        return [file, *await self._open(file, None, visitor_of(request))]

    async def move(
        self, request: gr.Request, view: str, unit: str, first: float, last: float, *values: float
    ) -> Sequence[Any]:
        """Show the face with the sliders' edit."""
        settings = self.panel.read(unit, first, last, *values)
        subject = self.site.face(visitor_of(request), PLACE)
        return await self.site.run(self._moved, subject, settings, view)

    async def to_neutral(self, request: gr.Request, unit: str) -> list[float]:
        """Return the sliders' values that take the expression away, as Equation 2 does."""
        subject = self.site.face(visitor_of(request), PLACE)
        return await self.site.run(self.panel.neutral_of, subject.face, unit)

    async def download(
        self, request: gr.Request, unit: str, first: float, last: float, *values: float
    ) -> Any:
        """Write the files of what is shown."""
        settings = self.panel.read(unit, first, last, *values)
        subject = self.site.face(visitor_of(request), PLACE)

        def write() -> list[str]:
            made = edit(self.pipe, subject, settings)
            return downloads.of_edit(self.pipe, subject, made.recipe, made.result)

        return gr.update(value=await self.site.run(write), visible=True)

    async def arrive(self, visitor: str) -> Sequence[Any]:
        """Return what a new visitor finds: an example photograph, and the values of `opened`."""
        file = next(iter(self.samples.values()), None)
        return [file and str(file), *await self._open(file and str(file), None, visitor)]

    def show(self, visitor: str, subject: Subject) -> Sequence[Any]:
        """Keep a face for a visitor and show it without an edit; returns values of `opened`."""
        return self._shown(visitor, Opened(subject, [], 0))

    async def _open(self, file: str | None, face: int | None, visitor: str) -> Sequence[Any]:
        if not file:
            self.site.visits.drop(visitor, PLACE)
            return self._nothing("")
        try:
            opened = await self.site.worker.run(
                open_photo, self.pipe, file, face, most=self.site.limits.crops
            )
        except UserError as error:
            self.site.visits.drop(visitor, PLACE)
            return self._nothing(widgets.problem(error, file))
        return self._shown(visitor, opened)

    def _shown(self, visitor: str, opened: Opened) -> Sequence[Any]:
        subject = opened.subject
        self.site.visits.put(visitor, PLACE, subject)
        labels = [f"Face {number + 1}" for number in range(len(opened.crops))]
        hint = f"{len(labels)} faces were found. Which one?"
        several = widgets.choices(opened.crops, opened.chosen, labels, hint)
        at_rest = Edit(subject.origin, {})
        return [
            widgets.note(" ".join(subject.doubts)),
            several if len(labels) > 1 else "",
            gr.update(visible=subject.file is not None, value=FACE),
            *self.panel.at_rest(),
            *self.drawn_as(subject, at_rest, subject.face),
        ]

    def _nothing(self, problem: str) -> Sequence[Any]:
        rest = [gr.update(visible=False, value=FACE), *self.panel.at_rest()]
        empty = [widgets.nothing(EMPTY), "", "", ""]
        return [problem, "", *rest, *empty]

    def _moved(self, subject: Subject, settings: Settings, view: str) -> Sequence[Any]:
        made = edit(self.pipe, subject, settings)
        return self.drawn_as(subject, made.recipe, made.result, view)

    def drawn_as(
        self, subject: Subject, recipe: Edit, result: Faces, view: str = FACE
    ) -> Sequence[Any]:
        """Return the picture, the bars and the lines of an edit: values of `drawn`."""
        before, after, longest = subject.before, result.pictures[0], pictures.SHOWN
        if view == WHOLE and subject.face.portraits:
            before, longest = subject.face.portraits[0].photo, pictures.WHOLE
            after = result.paste()[0]
        labels = ("as photographed", "edited")
        if subject.origin.seed is not None:
            labels = ("as drawn", "edited")
        addresses = (pictures.data_url(before, longest), pictures.data_url(after, longest))
        flags, shown = self.pipe.settings, dataclasses.replace(recipe, pasted=view == WHOLE)
        return [
            widgets.compare(*addresses, labels, before.shape[:2]),
            widgets.bars(
                self.pipe.classes,
                [(labels[0], subject.said), (labels[1], result.probabilities[0])],
            ),
            widgets.code(shown.command(flags)),
            widgets.code(shown.python(flags)),
        ]


def example_faces(pipe: Pipeline, hint: str) -> str:
    """Return the bundle's own photographs to choose from; nothing where it has none."""
    files = samples(pipe)
    if not files:
        return ""
    faces = [pipe.read(file).face for file in files.values()]
    return widgets.choices(faces, None, [f"Example {n + 1}" for n in range(len(faces))], hint)
