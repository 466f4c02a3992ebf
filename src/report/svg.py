# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG that takes its colours from the page, so that one file serves both colour schemes."""

import io
import logging
import re
import warnings

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home folder it works, but would warn

from typing import Any

from matplotlib.figure import Figure

# The colours of the plots, each to be replaced by a variable of the page's style.
INK, FAINT, LINE, FIRST, SECOND = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f"
VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    LINE: "var(--line)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
}
STYLE = {
    "axes.axisbelow": True, "axes.edgecolor": FAINT, "axes.facecolor": "none", "axes.grid": True,
    "axes.labelcolor": INK, "axes.linewidth": 0.8, "axes.spines.right": False, "axes.spines.top": False,
    "figure.facecolor": "none", "font.family": "sans-serif", "font.size": 11, "grid.color": LINE,
    "grid.linewidth": 0.8, "legend.frameon": False, "legend.labelcolor": INK, "lines.linewidth": 1.8,
    "lines.markersize": 6, "svg.fonttype": "none", "svg.hashsalt": "deepfm", "text.color": INK,
    "text.parse_math": False, "xtick.color": FAINT, "xtick.labelcolor": INK, "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}  # fmt: skip
WIDTH, HEIGHT = 4.8, 3.2  # inches: about the width of a phone, so that the letters stay legible there


def subplots(height: float = HEIGHT, columns: int = 1) -> tuple[Figure, Any]:
    """Return a figure of the width of a page and its axes, an array of them if there are several columns.

    height: in inches.
    """
    figure = Figure((WIDTH, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def to_svg(figure: Figure, name: str) -> str:
    """Return the SVG; its ids begin with `name`, as they have to be unique in a page."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the fonts are those of the browser
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = re.sub(r"<style.*?</style>", "", buffer.getvalue(), flags=re.DOTALL)  # it would apply to the whole page
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, variable)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg[svg.index("<svg") :])
