"""The tab that gives one face the expression of another."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np

from emojax import Faces, Pipeline, UserError
from emojax.page import downloads, pictures, widgets
from emojax.page.edit_tab import AT_ONCE, CHANGED, FACE, SLOW, WHOLE, example_faces
from emojax.page.pair import Pair
from emojax.page.photo_input import photo_input
from emojax.page.site import Site, shown, visitor_of
from emojax.page.subject import Opened, Subject, open_photo, samples
from emojax.runtime.choices import INVERTER_LABELS, NORMALISERS, InverterName, Normaliser

PLACES = ("source", "target")
PAIR = "pair"
NORMALISER_OF: dict[str, Normaliser] = {kind.label: name for name, kind in NORMALISERS.items()}
"""By the text of the choice."""
STEPS = 6
"""Pictures of a strip."""
EMPTY = "Choose two photographs, and the result appears here."


class TransferTab:
    """Lays the tab out and answers its controls."""

    def __init__(self, site: Site) -> None:
        """Lay the tab out; made inside a gradio layout.

        Args:
            site: what the tabs share.
        """
        self.site, self.pipe = site, site.networks.default
        self.samples = samples(self.pipe)
        with gr.Row(elem_classes="ex-columns"):
            with gr.Column(scale=4, min_width=300, elem_classes="ex-inputs"):
                self._photographs()
            with gr.Column(scale=5, min_width=320, elem_classes="ex-results"):
                self._results()
            with gr.Column(scale=3, min_width=280):
                self._settings()
        self._more()
        self.drawn = [self.stage, self.bars, self.command, self.python]
        self.made = [self.note, self.stages, *self.drawn]
        self._listen()

    def _photographs(self) -> None:
        self.photos, self.crops, self.examples = {}, {}, {}
        with gr.Row():
            for place, label in zip(PLACES, ("Face", "Expression"), strict=True):
                with gr.Column(min_width=140):
                    self.photos[place] = photo_input(label, 220, f"transfer-{place}")
                    self.crops[place] = gr.HTML(
                        js_on_load=widgets.CHOOSE, elem_id=f"transfer-{place}-faces"
                    )
                    self.examples[place] = gr.HTML(
                        example_faces(self.pipe, "Or one of these"), js_on_load=widgets.CHOOSE
                    )
        self.note = gr.HTML(elem_id="transfer-note")

    def _results(self) -> None:
        self.view = gr.Radio(
            [FACE, WHOLE], value=FACE, show_label=False, container=False, elem_id="transfer-view"
        )
        self.stage = gr.HTML(
            widgets.nothing(EMPTY), js_on_load=widgets.SPLIT, elem_id="transfer-stage"
        )
        self.bars = gr.HTML(elem_id="transfer-bars")

    def _settings(self) -> None:
        self.alpha = gr.Slider(
            0,
            1,
            1,
            step=0.01,
            label="How much of the expression (alpha)",
            info="0 keeps the own expression, 1 gives the other's.",
            buttons=[],
            elem_id="transfer-alpha",
        )
        self.normaliser = gr.Radio(
            [NORMALISERS[name].label for name in self.pipe.normalisers],
            value=next(iter(NORMALISER_OF)),
            label="How the expression is taken off (normaliser)",
            elem_id="transfer-normaliser",
        )
        names = [INVERTER_LABELS[each] for each in self.pipe.inverters]
        self.inverter = gr.Radio(
            names,
            value=INVERTER_LABELS[self.pipe.settings.inverter],
            label="How a photograph becomes a code (inverter)",
            visible=len(names) > 1,
            elem_id="transfer-inverter",
        )

    def _more(self) -> None:
        with gr.Accordion("Stages in between", open=False):
            self.stages = gr.HTML(elem_id="transfer-stages")
        with gr.Accordion("The way there: a strip and a film", open=False):
            self.path = gr.Button("Draw the way there", size="sm", elem_id="transfer-path")
            self.strip = gr.HTML(elem_id="transfer-strip")
            self.film = gr.HTML(elem_id="transfer-film")
            self.path_files = gr.File(
                label="Strip and film",
                file_count="multiple",
                visible=False,
                elem_id="transfer-path-files",
            )
        with gr.Row(elem_classes="ex-columns"):
            with gr.Column(min_width=320):
                self.make = gr.Button("Prepare downloads", size="md", elem_id="transfer-downloads")
                self.files = gr.File(
                    label="Picture, codes, and a JSON that reproduces them",
                    file_count="multiple",
                    visible=False,
                    elem_id="transfer-files",
                )
            with gr.Column(min_width=320), gr.Accordion("Show me the command", open=False):
                self.command = gr.HTML(js_on_load=widgets.COPY, elem_id="transfer-command")
                gr.Markdown("The same in Python", elem_classes="ex-about")
                self.python = gr.HTML(js_on_load=widgets.COPY, elem_id="transfer-python")

    def _listen(self) -> None:
        photos, how = list(self.photos.values()), [self.normaliser, self.inverter]
        shown_as = [self.alpha, self.view]
        everything = [*photos, *how, *shown_as]
        for place in PLACES:
            ends = [self.crops[place], *self.made]
            photo = self.photos[place]
            gr.on([photo.input, photo.clear], self._opener(place), everything, ends, **CHANGED)
            self.crops[place].select(self._chooser(place), everything, ends, **CHANGED)
            self.examples[place].select(
                self._example(place), everything, [self.photos[place], *ends], **CHANGED
            )
        gr.on(
            [self.normaliser.input, self.inverter.input],
            self.prepare,
            everything,
            self.made,
            **CHANGED,
        )
        gr.on([self.alpha.input, self.view.input], self.move, shown_as, self.drawn, **AT_ONCE)
        self.path.click(self.draw_path, None, [self.strip, self.film, self.path_files], **SLOW)
        self.make.click(self.download, [self.alpha], [self.files], **SLOW)

    def _opener(self, place: str) -> Any:
        async def opened(request: gr.Request, *values: Any) -> Sequence[Any]:
            return await self._open(visitor_of(request), place, None, values)

        return opened

    def _chooser(self, place: str) -> Any:
        async def chosen(request: gr.Request, event: gr.EventData, *values: Any) -> Sequence[Any]:
            return await self._open(visitor_of(request), place, int(event.index), values)

        return chosen

    def _example(self, place: str) -> Any:
        async def taken(request: gr.Request, event: gr.EventData, *values: Any) -> Sequence[Any]:
            file = str(list(self.samples.values())[int(event.index) % len(self.samples)])
            given = [*values]
            given[PLACES.index(place)] = file
            return [file, *await self._open(visitor_of(request), place, None, given)]

        return taken

    async def prepare(self, request: gr.Request, *values: Any) -> Sequence[Any]:
        """Open and prepare both faces with another normaliser or inverter."""
        return await self._prepare(visitor_of(request), values)

    async def move(self, request: gr.Request, alpha: float, view: str) -> Sequence[Any]:
        """Show the result for another alpha."""
        pair = self._pair(visitor_of(request))
        return await self.site.run(self._drawn, pair, float(alpha), view)

    async def draw_path(self, request: gr.Request) -> Sequence[Any]:
        """Draw the way from the own expression to the other's."""
        pair = self._pair(visitor_of(request))

        def draw() -> Sequence[Any]:
            path = pair.path(self.site.limits.frames)
            few = [round(each) for each in np.linspace(0, len(path) - 1, STEPS)]
            labels = [f"alpha {each / (len(path) - 1):.1f}" for each in few]
            strip = widgets.gallery([path.pictures[each] for each in few], labels)
            film = widgets.film(pictures.film_url([*path.pictures]))
            return [strip, film, gr.update(value=downloads.of_path(path), visible=True)]

        return await self.site.run(draw)

    async def download(self, request: gr.Request, alpha: float) -> Any:
        """Write the files of what is shown."""
        pair = self._pair(visitor_of(request))

        def write() -> list[str]:
            return downloads.of_transfer(pair, float(alpha), pair.at(float(alpha)))

        return gr.update(value=await self.site.run(write), visible=True)

    def _pair(self, visitor: str) -> Pair:
        try:
            return self.site.visits.get(visitor, PAIR, Pair)
        except UserError as error:
            raise shown(error) from error

    async def _open(
        self, visitor: str, place: str, face: int | None, values: Sequence[Any]
    ) -> Sequence[Any]:
        """Open one of the photographs, then prepare both where both are there."""
        file, visits = values[PLACES.index(place)], self.site.visits
        visits.drop(visitor, PAIR)
        visits.drop(visitor, place)
        if not file:
            return ["", *self._nothing("")]
        pipe = await self.site.run(self.site.networks.of, _inverter(values))
        try:
            opened = await self.site.worker.run(
                open_photo, pipe, file, face, most=self.site.limits.crops
            )
        except UserError as error:
            return ["", *self._nothing(widgets.problem(error, file))]
        visits.put(visitor, place, opened.subject)
        return [_several(opened), *await self._prepare(visitor, values)]

    async def _prepare(self, visitor: str, values: Sequence[Any]) -> Sequence[Any]:
        visits, (normaliser, _, alpha, view) = self.site.visits, values[len(PLACES) :]
        if not all(visits.has(visitor, place) for place in PLACES):
            return self._nothing("")
        source, target = (visits.get(visitor, place, Subject) for place in PLACES)
        inverter = _inverter(values)

        def prepare() -> tuple[Pair, Sequence[Any]]:
            pipe = self.site.networks.of(inverter)
            both = _under(pipe, source), _under(pipe, target)
            pair = Pair.prepare(pipe, *both, NORMALISER_OF[normaliser])
            drawn = self._drawn(pair, float(alpha), view)
            doubts = dict.fromkeys([*pair.source.doubts, *pair.target.doubts])
            return pair, [widgets.note(" ".join(doubts)), _stages(pair), *drawn]

        pair, made = await self.site.run(prepare)
        for place, subject in zip(PLACES, (pair.source, pair.target), strict=True):
            visits.put(visitor, place, subject)
        visits.put(visitor, PAIR, pair)
        return made

    def _nothing(self, problem: str) -> Sequence[Any]:
        return [problem, "", widgets.nothing(EMPTY), "", "", ""]

    def _drawn(self, pair: Pair, alpha: float, view: str) -> Sequence[Any]:
        result, flags = pair.at(alpha), pair.pipe.settings
        recipe = dataclasses.replace(pair.recipe(alpha), pasted=view == WHOLE)
        before, after, longest = pair.source.before, result.pictures[0], pictures.SHOWN
        if view == WHOLE and pair.source.face.portraits:
            before, longest = pair.source.face.portraits[0].photo, pictures.WHOLE
            after = _with_photograph(pair, result).paste()[0]
        addresses = pictures.data_url(before, longest), pictures.data_url(after, longest)
        rows = [
            ("own", pair.source.said),
            ("result", result.probabilities[0]),
            ("the other's", pair.target.said),
        ]
        return [
            widgets.compare(*addresses, ("as photographed", "result"), before.shape[:2]),
            widgets.bars(pair.pipe.classes, rows),
            widgets.code(recipe.command(flags)),
            widgets.code(recipe.python(flags)),
        ]


def _with_photograph(pair: Pair, result: Faces) -> Faces:
    """Return a result with the source's photograph, to be put back into it."""
    found = Faces(pair.pipe, result.codes, pair.source.face.portraits, pair.source.face)
    return found.showing(result.pictures)


def _inverter(values: Sequence[Any]) -> InverterName:
    """Return the inverter that was chosen."""
    names: dict[str, InverterName] = {label: name for name, label in INVERTER_LABELS.items()}
    return names[values[3]]


def _under(pipe: Pipeline, subject: Subject) -> Subject:
    """Return a face inverted by the inverter of a pipeline: again where another one did it."""
    if subject.face.pipeline is pipe or subject.file is None:
        return subject
    face = None if subject.origin.face == "only" else int(subject.origin.face) - 1
    return open_photo(pipe, subject.file, face).subject


def _several(opened: Opened) -> str:
    labels = [f"Face {number + 1}" for number in range(len(opened.crops))]
    if len(labels) < 2:
        return ""
    return widgets.choices(opened.crops, opened.chosen, labels, f"{len(labels)} faces. Which one?")


def _stages(pair: Pair) -> str:
    """Return the stages of both faces, with their photographs first."""
    rows = []
    for number, subject in enumerate((pair.source, pair.target)):
        faces = [subject.before, *(both[number].pictures[0] for both in pair.stages.values())]
        rows.append(widgets.gallery(faces, ["photographed", *pair.stages]))
    return "".join(rows)
