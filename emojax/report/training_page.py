"""The page of a training run: what was reached, curves of the losses, and sample faces."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from emojax.report import html_page, plots

CURVES = "curves.png"
_TITLES = {
    "loss": "loss",
    "psnr": "PSNR of the batches, dB",
    "before": "PSNR before the pass, dB",
    "perceptual": "perceptual distance",
    "identity": "1 - identity similarity",
    "known": "distance from known codes",
    "right": "share of right answers",
}
"""What is logged, by its name in losses.jsonl."""


def write(
    file: Path,
    title: str,
    lead: str,
    log: Sequence[Mapping[str, float]],
    sheet: Path,
    caption: str,
    notes: Sequence[str],
) -> None:
    """Write the page, and the curves beside it where matplotlib is installed.

    Args:
        file: .html, replaced if it is there.
        title: heading of the page.
        lead: paragraph below it.
        log: lines of losses.jsonl: "step", and means since the line before.
        sheet: picture of held-out faces.
        caption: what it shows.
        notes: sentences about what was left out.

    Raises:
        UserError: a file cannot be written.
    """
    curves = file.parent / CURVES
    missing = plots.missing()
    if missing is None:
        names = [name for name in _TITLES if log and name in log[0]]
        series = {_TITLES[name]: [line[name] for line in log] for name in names}
        plots.curves(curves, [line["step"] for line in log], series)
    figures = [
        html_page.Figure(
            "Curves",
            f"Not drawn: {missing}."
            if missing
            else "Means over 50 steps, on the photographs that are trained on.",
            None if missing else curves,
            is_plot=True,
        ),
        html_page.Figure("Held-out faces", caption, sheet),
    ]
    html_page.write(file, title, " ".join([lead, *(f"{note}." for note in notes)]), figures, None)
