"""The page's functions for programs: endpoints of Gradio's API client, with names of their own.

    from gradio_client import Client, handle_file

    page = Client("http://127.0.0.1:7860")
    picture, report = page.predict(handle_file("me.jpg"), {"happiness": 4}, api_name="/edit")

Every call stands for itself: nothing is kept between calls.
"""

from typing import Any

import gradio as gr

from emojax import UserError
from emojax.page import downloads
from emojax.page.edit_tab import edit as apply_edit
from emojax.page.pair import Pair
from emojax.page.panel import Settings
from emojax.page.recipes import Origin, report
from emojax.page.site import Site
from emojax.page.subject import draw, open_photo
from emojax.runtime.flags import layer_range


class Endpoints:
    """What programs call."""

    def __init__(self, site: Site) -> None:
        """Answer with the networks of a site."""
        self.site, self.pipe = site, site.networks.default

    async def edit(
        self, photo: str, k: dict[str, float], face: float = 1, layers: str = ""
    ) -> tuple[str, dict[str, Any]]:
        """Edit the face in a photograph by {direction: k}; returns a picture and its report."""

        def made() -> tuple[str, dict[str, Any]]:
            subject = open_photo(self.pipe, _given(photo), int(face) - 1).subject
            settings = Settings(_numbers(k), _layers(layers))
            edited = apply_edit(self.pipe, subject, settings)
            said = {"edited": edited.result.scores}
            picture = downloads.of_picture(edited.result.pictures[0])
            return picture, report(edited.recipe, self.pipe, said)

        return await self.site.run(made)

    async def transfer(
        self,
        source: str,
        target: str,
        alpha: float = 1.0,
        normaliser: str = "reinvert",
        inverter: str = "psp",
    ) -> tuple[str, dict[str, Any]]:
        """Give one face the expression of another; returns a picture and its report."""

        def made() -> tuple[str, dict[str, Any]]:
            pipe = self.site.networks.of(inverter)  # pyright: ignore[reportArgumentType] - checked
            both = [open_photo(pipe, _given(file)).subject for file in (source, target)]
            pair = Pair.prepare(pipe, both[0], both[1], normaliser)  # pyright: ignore[reportArgumentType]
            result = pair.at(float(alpha))
            said = {"result": result.scores}
            picture = downloads.of_picture(result.pictures[0])
            return picture, report(pair.recipe(float(alpha)), pipe, said)

        return await self.site.run(made)

    async def sample(self, seed: float, truncation: float = 0.7) -> str:
        """Draw the generated face of a seed; returns a picture."""

        def made() -> str:
            origin = Origin(seed=int(seed), truncation=float(truncation))
            return downloads.of_picture(draw(self.pipe, origin).before)

        return await self.site.run(made)

    async def emotions(self, photo: str, face: float = 1) -> dict[str, float]:
        """Return the emotion probabilities of a face in a photograph, by name."""

        def made() -> dict[str, float]:
            subject = open_photo(self.pipe, _given(photo), int(face) - 1).subject
            scores = downloads.named(self.pipe, subject.said)
            return {name: scores[name] for name in self.pipe.classes}

        return await self.site.run(made)


def add_endpoints(site: Site) -> None:
    """Add the endpoints to the layout that is being made; nothing of them is seen."""
    answer = Endpoints(site)
    with gr.Column(visible=False):
        photo, other = _file(), _file()
        face, alpha = gr.Number(1), gr.Number(1.0)
        seed, truncation = gr.Number(0), gr.Number(0.7)
        layers, normaliser = gr.Textbox(""), gr.Textbox("reinvert")
        inverter = gr.Textbox(site.networks.default.settings.inverter)
        amounts, picture, numbers = gr.JSON({}), _file(), gr.JSON({})
        start = gr.Button()
    made = [picture, numbers]
    start.click(answer.edit, [photo, amounts, face, layers], made, api_name="edit")
    start.click(
        answer.transfer, [photo, other, alpha, normaliser, inverter], made, api_name="transfer"
    )
    start.click(answer.sample, [seed, truncation], [picture], api_name="sample")
    start.click(answer.emotions, [photo, face], [numbers], api_name="emotions")


def _file() -> gr.File:
    return gr.File(type="filepath")


def _given(file: str | None) -> str:
    if not file:
        raise UserError("no photograph was sent: give the path of a picture")
    return file


def _numbers(k: Any) -> dict[str, float]:
    """Return {direction: k} out of what was sent.

    Raises:
        UserError: it is something else.
    """
    try:
        return {str(name): float(value) for name, value in dict(k or {}).items()}
    except (TypeError, ValueError) as error:
        raise UserError(f"k is {k!r}, wanted numbers by direction: {{'happiness': 4}}") from error


def _layers(text: str | None) -> tuple[int, int] | None:
    found = layer_range(text or None)
    return None if found == slice(None) else (found.start or 0, found.stop or 10**3)
