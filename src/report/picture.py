# SPDX-License-Identifier: Apache-2.0
"""A picture of report.html: a plot, a sentence on it, and a table of its numbers."""

import dataclasses

import markupsafe
import numpy as np


@dataclasses.dataclass(frozen=True)
class Picture:
    """A plot, a sentence on it, and a table of its numbers."""

    title: str
    svg: markupsafe.Markup
    text: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]

    @classmethod
    def of(cls, title: str, svg: str, text: str, header: tuple, rows: list) -> "Picture":
        """svg: of a function of figures; screen readers read the text in its place."""
        label = markupsafe.Markup('<svg role="img" aria-label="{}" ').format(text)
        return cls(title, markupsafe.Markup(svg.replace("<svg ", label, 1)), text, header, rows)


def number(value: float | None, decimals: int = 4) -> str:
    """Return the text of a number in a table, empty for None and NaN."""
    return "" if value is None or np.isnan(value) else f"{value:.{decimals}f}"
