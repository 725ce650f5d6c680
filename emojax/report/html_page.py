"""The report page: one HTML file with inlined pictures, for light and dark screens."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from emojax.evaluation.table import ResultTable
from emojax.runtime.files import replacing

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fdfdfb; --soft: #667; --line: #d8d8d4 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e0; --paper: #17181a; --soft: #9a9aa4; --line: #3a3b3e }
}
body { font: 17px/1.55 Georgia, 'Times New Roman', serif; color: var(--ink);
  background: var(--paper); max-width: 62rem; margin: 2.5rem auto; padding: 0 1.2rem }
h1, h2 { font-weight: 600; line-height: 1.25 }
h2 { margin: 2.6rem 0 .6rem; font-size: 1.25rem }
figure { margin: 0 }
img { width: 100%; height: auto; background: #fff; border-radius: 4px }
img.plot { max-width: 40rem; display: block; margin: 0 auto }
figcaption, .note { color: var(--soft); font-size: .92rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line) }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
""".strip()


class Figure(NamedTuple):
    """A figure of the report.

    Attributes:
        title: such as "Figure 5. Similarity of the directions".
        caption: what it shows, and how it was made.
        file: a picture; None where the figure was left out, and the caption says why.
        is_plot: whether it is a plot rather than faces; plots are not scaled to the page's width.
    """

    title: str
    caption: str
    file: Path | None
    is_plot: bool = False


def write(
    file: Path, title: str, lead: str, figures: Sequence[Figure], table: ResultTable | None
) -> None:
    """Write the report page.

    Args:
        file: .html, replaced if it is there.
        title: heading of the page.
        lead: paragraph below it.
        figures: in their order.
        table: Table I, if it was evaluated.

    Raises:
        UserError: the file cannot be written.
    """
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(lead)}</p>",
        *map(_figure, figures),
    ]
    if table:
        parts.append(_table(table))
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    with replacing(file) as aside:
        aside.write_text(page, encoding="utf-8")


def _figure(figure: Figure) -> str:
    title, caption = html.escape(figure.title), html.escape(figure.caption)
    if figure.file is None:
        return f'<section>\n<h2>{title}</h2>\n<p class="note">{caption}</p>\n</section>'
    kind = ' class="plot"' if figure.is_plot else ""
    return (
        f"<section>\n<h2>{title}</h2>\n<figure>\n"
        f'<img{kind} alt="{title}" src="{_inlined(figure.file)}">\n'
        f"<figcaption>{caption}</figcaption>\n</figure>\n</section>"
    )


def _inlined(file: Path) -> str:
    """Return a picture file as a data URL, in WebP, a tenth of PNG's size."""
    stream = io.BytesIO()
    with Image.open(file) as picture:
        picture.convert("RGB").save(stream, "WEBP", quality=90)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _table(table: ResultTable) -> str:
    head = ["inverter", "result", *(table.titles[key] for key in table.columns)]
    body = [[row.inverter or "-", row.result, *table.cells(row)] for row in table.overall]
    lines = [_line("th", head), *(_line("td", cells) for cells in body)]
    notes = "\n".join(f'<p class="note">{html.escape(note)}</p>' for note in table.notes)
    rows = "\n".join(lines)
    return (
        f'<section>\n<h2>Table I</h2>\n<div class="wide">\n<table>\n{rows}\n</table>\n</div>\n'
        f"{notes}\n</section>"
    )


def _line(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
