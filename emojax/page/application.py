"""The page as a web application: gradio's, behind the guard, in the page's colours."""

from pathlib import Path

import fastapi
import gradio as gr
from gradio import themes
from starlette.types import ASGIApp

from emojax.page.disk import Disk
from emojax.page.guard import Guard
from emojax.page.layout import page
from emojax.page.site import Site

STYLE = Path(__file__).with_name("style.css")
HEAD = '<meta name="description" content="Change or transfer the emotion of a face.">'
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
"""The visitor's own: nothing is loaded from another server."""
MONOSPACED = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def application(site: Site, disk: Disk) -> ASGIApp:
    """Return the page as an ASGI application.

    Args:
        site: networks, worker and visits.
        disk: the folder of uploads and results.
    """
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    blocks = page(site)
    blocks.state_session_capacity = site.limits.sessions
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=theme(),
        css=STYLE.read_text(encoding="utf-8"),
        head=HEAD,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=site.limits.upload,
        blocked_paths=[],
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )
    return Guard(app, site.limits, disk)


def theme() -> themes.Base:
    """Return the page's theme: quiet greys, one accent, the visitor's own fonts."""
    return themes.Base(
        primary_hue=themes.colors.orange,
        secondary_hue=themes.colors.slate,
        neutral_hue=themes.colors.slate,
        radius_size=themes.sizes.radius_md,
        spacing_size=themes.sizes.spacing_md,
        text_size=themes.sizes.text_md,
        font=FONTS,
        font_mono=MONOSPACED,
    ).set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_label_text_color="*neutral_600",
        block_info_text_color="*neutral_500",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
    )
