# SPDX-License-Identifier: Apache-2.0
"""Pages in one file for any browser, from templates that share a style and macros."""

import dataclasses
import pathlib
from collections.abc import Mapping

import jinja2
import markupsafe
import numpy as np

SHARED = pathlib.Path(__file__).parent


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


def render(template: pathlib.Path, values: Mapping[str, object]) -> str:
    """Return the page of a template, which can include the templates next to this module.  values: by name."""
    loader = jinja2.FileSystemLoader([template.parent, SHARED])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template(template.name).render(values)
