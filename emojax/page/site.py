"""What the tabs of the page share."""

import dataclasses
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from emojax import UserError
from emojax.page.limits import Limits
from emojax.page.networks import Networks
from emojax.page.subject import Subject
from emojax.page.visits import Visits
from emojax.page.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Site:
    """Networks, the thread that runs them, and what visitors work on.

    Attributes:
        networks: of the bundle.
        worker: runs them.
        visits: the visitors' faces.
        limits: what visitors may ask for.
    """

    networks: Networks
    worker: Worker
    visits: Visits
    limits: Limits

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in the worker's thread; what a visitor did wrong is shown as a sentence.

        Raises:
            gr.Error: the function raised a `UserError`, or the line is full.
        """
        try:
            return await self.worker.run(function, *args, **kwargs)
        except UserError as error:
            raise shown(error) from error

    def face(self, visitor: str, place: str) -> Subject:
        """Return the face that a visitor's place holds.

        Raises:
            gr.Error: it holds none.
        """
        try:
            return self.visits.get(visitor, place, Subject)
        except UserError as error:
            raise shown(error) from error


def shown(error: UserError) -> gr.Error:
    """Return a sentence as gradio shows it: in a box that closes by itself, without a traceback."""
    text = str(error)
    return gr.Error(text[:1].upper() + text[1:], title="", duration=12, print_exception=False)


def visitor_of(request: gr.Request) -> str:
    """Return the name under which a visitor's faces are kept: one for each open page."""
    return request.session_hash or "nobody"
