# SPDX-License-Identifier: Apache-2.0
"""The comments of an inferred schema: the decisions that a user should check, and the cells of a column."""

import json
from collections.abc import Iterator, Sequence

from src.preprocessing.schema_inference.column_types import Column, Kind
from src.preprocessing.schema_inference.first_rows import FirstRows
from src.preprocessing.schema_inference.roles import Roles, can_name

LONGEST_SHOWN = 24  # characters of a cell
NO_LABEL = "no column has the name of a label, or two values such as 0 and 1"


def describe_decisions(rows: FirstRows, roles: Roles, missing: Sequence[str]) -> Iterator[str]:
    """Yield the decisions, those that the type of a column makes aside.  missing: the texts of missing values."""
    yield _describe_label(roles.label)
    if rows.text is not None:
        header = "the first line is a header" if rows.text.has_header else "no header, c2 is the second column"
        yield f"format: separated by {json.dumps(rows.text.separator)}; {header}"
    if rows.malformed:
        yield f"{rows.malformed:,} of the first lines are left out: they have other columns, quotes or encoding"
    if missing:
        yield f"missing, in every column: {', '.join(missing)}"
    for key, reason in dict.fromkeys((role.key, role.reason) for role in roles.others if role.reason):
        names = (shown(role.column.name) for role in roles.others if (role.key, role.reason) == (key, reason))
        yield f"{key}, {reason}: {', '.join(names)}"
    if unnamed := [ascii(name) for name in rows.frame.columns if not can_name(name)]:
        yield f"not used, since no schema can have their names: {', '.join(unnamed)}"


def describe_column(column: Column) -> str:
    """Return the comment on a column."""
    if column.kind is Kind.EMPTY:
        return column.kind.value
    kind = f"{column.kind.value} ({column.form})" if column.kind is Kind.TIME else column.kind.value
    values = f"{column.distinct:,} value{'s' if column.distinct > 1 else ''}"
    stray = f"; nearly all are numbers, {shown(column.stray)} is none" if column.stray else ""
    examples = ", ".join(map(shown, column.examples))
    return f"{kind}, {values}, {column.missing / column.rows:.2%} missing: {examples}{stray}"


def shown(text: str) -> str:
    """Return a text for a comment, short and printable."""
    short = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
    return short if short.isprintable() else ascii(short)[1:-1]


def _describe_label(label):
    if label is None:
        return f"label: ???, {NO_LABEL}"
    clicks = f"; of its values these are clicks: {', '.join(map(shown, label.clicks))}" if label.clicks else ""
    gaps = "; rows without one are malformed" if label.column.missing else ""
    return f"label: {shown(label.column.name)}, {label.reason}{clicks}{gaps}"
