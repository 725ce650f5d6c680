"""The whole page: banner, tabs, and what happens when a visitor comes and goes."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from emojax import Pipeline
from emojax.page.client import add_endpoints
from emojax.page.edit_tab import EditTab
from emojax.page.explore_tab import ExploreTab
from emojax.page.film_tab import FilmTab
from emojax.page.site import Site, visitor_of
from emojax.page.transfer_tab import TransferTab

TITLE = "emojax"
EDIT, TRANSFER, EXPLORE, FILM = "Edit", "Transfer", "Explore", "Video"


def page(site: Site) -> gr.Blocks:
    """Return the page as gradio's blocks; nothing of it is loaded from another server."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        add_endpoints(site)  # first: gradio numbers a name that a tab's function took before
        gr.HTML(banner(site.networks.default), elem_id="banner")
        with gr.Tabs() as tabs:
            with gr.Tab(EDIT, id=EDIT):
                edit = EditTab(site)
            with gr.Tab(TRANSFER, id=TRANSFER):
                TransferTab(site)
            with gr.Tab(EXPLORE, id=EXPLORE) as explore:
                ExploreTab(site, edit, tabs, explore, EDIT)
            with gr.Tab(FILM, id=FILM):
                FilmTab(site)

        async def arrive(request: gr.Request) -> Sequence[Any]:
            return await edit.arrive(visitor_of(request))

        def leave(request: gr.Request) -> None:
            site.visits.drop(visitor_of(request))

        blocks.load(
            arrive,
            None,
            [edit.photo, *edit.opened],
            show_progress="hidden",
            api_visibility="private",
        )
        blocks.unload(leave)
    blocks.queue(
        max_size=site.limits.waiting,
        default_concurrency_limit=site.limits.waiting,
        api_open=False,
    )
    return blocks


def banner(pipe: Pipeline) -> str:
    """Return the head of the page: which bundle, and what a photograph becomes in it."""
    size = f"{pipe.size} x {pipe.size} pixels"
    what = f"A photograph is drawn again with {size}, and that drawing is what the sliders move."
    if pipe.bundle.shows == "drawings":
        what = (
            f"Its networks were trained on drawn faces of {size}: your photograph becomes a small "
            "drawn face. For results on photographs stop this page, run “emojax fetch ffhq” and "
            "then “emojax web --bundle ffhq”."
        )
    name = html.escape(Path(str(pipe.bundle)).name)  # of a folder the last part: visitors see it
    return (
        '<header class="ex-banner"><div><h1>emojax</h1><p>Change or transfer the emotion of a '
        f'face.</p></div><p class="ex-bundle"><strong>Bundle “{name}”</strong> {what}</p></header>'
    )
