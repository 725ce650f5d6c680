"""The tab that edits the expression in a film."""

import base64
import html
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from emojax import Pipeline, UserError, VideoEdit, edit_video
from emojax.film import reading
from emojax.film.editing import EditedVideo
from emojax.page import widgets
from emojax.page.edit_tab import AT_ONCE, SLOW
from emojax.page.photo_input import photo_input
from emojax.page.recipes import film_command
from emojax.page.scale import Scale
from emojax.page.site import Site

EMOTION, PHOTOGRAPH, FILM = "an emotion", "the expression of a photograph", "that of another film"
PLAYED = 12 << 20
"""Bytes of a film that is played on the page; a larger one is for download only."""
EMPTY = "Choose a film, and the edited one appears here."


class FilmTab:
    """Lays the tab out and answers its controls."""

    def __init__(self, site: Site) -> None:
        """Lay the tab out; made inside a gradio layout.

        Args:
            site: what the tabs share.
        """
        self.site, self.pipe = site, site.networks.default
        with gr.Row(elem_classes="ex-columns"):
            with gr.Column(scale=4, min_width=300):
                self._inputs()
            with gr.Column(scale=6, min_width=320):
                self._results()
        self._listen()

    def _inputs(self) -> None:
        names = self.site.networks.scale.names
        self.film = _film_input("Film", "film-source")
        gr.Markdown(
            f"At most {self.site.limits.film_seconds} seconds of at most 1920 x 1080 pixels. "
            "The film is edited on this machine, frame by frame.",
            elem_classes="ex-about",
        )
        self.kind = gr.Radio([EMOTION, PHOTOGRAPH, FILM], value=EMOTION, label="Give the face")
        with gr.Column() as self.with_emotion:
            self.emotion = gr.Dropdown(
                [each.capitalize() for each in names],
                value=("happiness" if "happiness" in names else names[0]).capitalize(),
                label="Emotion",
                elem_id="film-emotion",
            )
            self.strength = gr.Slider(
                -100, 100, 70, step=1, label="How much", buttons=[], elem_id="film-strength"
            )
        with gr.Column(visible=False) as self.with_photo:
            self.photo = photo_input("Photograph", 220, "film-photo")
        with gr.Column(visible=False) as self.with_driver:
            self.driver = _film_input("Other film", "film-driver")
        self.start = gr.Button("Edit the film", variant="primary", elem_id="film-start")

    def _results(self) -> None:
        self.note = gr.HTML(elem_id="film-note")
        self.shown = gr.HTML(widgets.nothing(EMPTY), elem_id="film-shown")
        self.files = gr.File(
            label="The edited film, and before and after side by side",
            file_count="multiple",
            visible=False,
            elem_id="film-files",
        )
        with gr.Accordion("Show me the command", open=False):
            self.command = gr.HTML(js_on_load=widgets.COPY, elem_id="film-command")

    def _listen(self) -> None:
        parts = [self.emotion, self.strength, self.photo, self.driver]
        shown = [self.with_emotion, self.with_photo, self.with_driver]
        self.kind.input(_parts, self.kind, shown, **AT_ONCE)
        self.start.click(
            self.edit,
            [self.film, self.kind, *parts],
            [self.note, self.shown, self.files, self.command],
            **{**SLOW, "show_progress": "full"},
        )

    async def edit(
        self,
        film: str | None,
        kind: str,
        emotion: str,
        strength: float,
        photo: str | None,
        driver: str | None,
        shown: gr.Progress = gr.Progress(),  # noqa: B008 - gradio finds it by its default
    ) -> Sequence[Any]:
        """Edit a film and show it before and after."""
        try:
            change, flag = _change(self.site.networks.scale, kind, emotion, strength, photo, driver)
            self._check(film, "film")
            if kind == FILM:
                self._check(driver, "other film")
            given = reading.describe(driver) if driver and change.driver else None
            total = reading.steps(reading.describe(film or ""), given)
            told = _Bounded(total, shown, self.site.worker.give_way)
            done = await self.site.worker.run_long(_edited, self.pipe, str(film), change, told)
        except UserError as error:
            return [widgets.problem(error, film), gr.skip(), gr.skip(), gr.skip()]
        command = film_command(Path(film or "").name, flag, self.pipe.settings)
        files = [str(done.file), str(done.preview)]
        return [
            _doubts(done, film, photo, driver, self.pipe.bundle),
            _player(Path(files[1])),
            gr.update(value=files, visible=True),
            widgets.code(command),
        ]

    def _check(self, film: str | None, what: str) -> None:
        """Refuse a film that is none, or beyond the limits.

        Raises:
            UserError: says why.
        """
        if not film:
            raise UserError(f"there is no {what}: choose one")
        limits, found = self.site.limits, reading.describe(film)
        if found.width * found.height > limits.film_pixels:
            raise UserError(
                f"the {what} has {found.width} x {found.height} pixels: wanted at most "
                f"{limits.film_pixels / 1e6:.1f} million, or 'emojax video' on the command line"
            )
        if found.seconds > limits.film_seconds or found.frames > limits.film_frames:
            raise UserError(
                f"the {what} has {float(found.seconds):.0f} seconds and {found.frames} frames: "
                f"wanted at most {limits.film_seconds} seconds and {limits.film_frames} frames, or "
                "'emojax video' on the command line"
            )


class _Bounded:
    """Tells how far an edit is, and lets other visitors' requests pass between its frames.

    It stops an edit that reads more frames than its file says.
    """

    def __init__(
        self, total: int | None, tell: Callable[..., Any], give_way: Callable[[], object]
    ) -> None:
        self.done, self.total, self.tell, self.doing = 0, total, tell, "reading"
        self.most, self.give_way = 5 * (total or 3000), give_way

    def advance(self, count: int = 1) -> None:
        self.give_way()
        self.done += count
        if self.done > self.most:
            raise UserError("the film has more frames than its file says: cut it, and try again")
        share = self.done / self.total if self.total else 0.5
        self.tell(min(share, 1.0), desc=self.doing)

    def describe(self, doing: str) -> None:
        self.doing = doing


def _edited(pipe: Pipeline, film: str, change: VideoEdit, shown: _Bounded) -> EditedVideo:
    """Edit a film in a folder of its own, with both side by side."""
    folder = Path(tempfile.mkdtemp(prefix="film-"))
    beside = folder / "before-and-after.mp4"
    return edit_video(pipe, film, folder / "edited.mp4", change, preview=beside, shown=shown)


def _doubts(done: EditedVideo, *given: object) -> str:
    """Return what warns of faces that the bundle cannot draw well, as a box.

    Args:
        done: with its warnings.
        given: the files, and the bundle; called by their names.
    """
    return widgets.note(widgets.by_name(" ".join(done.warnings), *given))


def _change(
    scale: Scale,
    kind: str,
    emotion: str,
    strength: float,
    photo: str | None,
    driver: str | None,
) -> tuple[VideoEdit, list[str]]:
    """Return what a film is changed by, and the flags that say the same.

    Raises:
        UserError: a photograph or a film is missing.
    """
    if kind == EMOTION:
        name = emotion.lower()
        k = scale.k(name, float(strength))
        return VideoEdit(amounts={name: k}), ["--emotion", name, f"--k={round(k, 4) + 0.0:g}"]
    given = photo if kind == PHOTOGRAPH else driver
    if not given:
        raise UserError(f"to give the face {kind}, choose that too")
    name = Path(given).name
    if kind == PHOTOGRAPH:
        return VideoEdit(target=given), ["--target", name]
    return VideoEdit(driver=Path(given)), ["--driver", name]


def _film_input(label: str, elem_id: str) -> gr.Video:
    return gr.Video(label=label, sources=["upload"], height=240, buttons=[], elem_id=elem_id)


def _parts(kind: str) -> list[Any]:
    """Show what belongs to a kind of change."""
    return [gr.update(visible=kind == each) for each in (EMOTION, PHOTOGRAPH, FILM)]


def _player(film: Path) -> str:
    """Return a film to play; of a large one only its name."""
    if film.stat().st_size > PLAYED:
        return widgets.nothing("The film is ready below; it is too large to be played here.")
    data = base64.b64encode(film.read_bytes()).decode()
    label = html.escape("before and after, side by side")
    return (
        f'<video class="ex-player" src="data:video/mp4;base64,{data}" controls loop muted '
        f'playsinline aria-label="{label}"></video>'
    )
