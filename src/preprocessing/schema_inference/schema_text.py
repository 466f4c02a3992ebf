# SPDX-License-Identifier: Apache-2.0
"""The text of an inferred schema in YAML, with comments for the user who corrects it."""

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import yaml

from src.preprocessing.schema_inference import roles as keys
from src.preprocessing.schema_inference.comments import describe_column, describe_decisions, shown
from src.preprocessing.schema_inference.first_rows import FirstRows
from src.preprocessing.schema_inference.roles import Role, Roles

WIDTH = 110


def write_schema(source: str, rows: FirstRows, roles: Roles, missing: Sequence[str]) -> str:
    """Return the text of the schema.

    source: its name, for a comment.  missing: the texts of missing values.
    """
    lines = [
        *_head(source, rows, describe_decisions(rows, roles, missing)),
        "",
        _label(roles.label, rows.names_columns),
        *_single_columns(roles.others),
        *_lists(roles.others),
        *_columns(rows, roles.label),
        *_text_form(rows.text, missing),
    ]
    return "\n".join(lines) + "\n"


def _head(source: str, rows: FirstRows, decisions: Iterable[str]) -> Iterator[str]:
    yield f"# A first schema, inferred from {rows.frame.height:,} rows of {shown(source)}."
    yield "# Edit it: --schema_path takes it.  Decisions to check:"
    for decision in decisions:
        yield from textwrap.wrap(
            f"- {decision}", WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
    yield "# A column's comment: type, number of values, fraction of missing ones, most frequent values."


def _label(label, names_columns):
    """Return the line of the label; without a value it is refused by the reader of schemas."""
    if label is None:
        return "label:  # ??? the name of the column of clicks"
    name = _scalar(label.column.name) if names_columns else "label"
    value = f"{{column: {name}, click: {_flow(label.clicks)}}}" if label.clicks else name
    return f"label: {value}  # {describe_column(label.column)}; {label.click_fraction:.2%} clicks"


def _single_columns(roles: Sequence[Role]) -> Iterator[str]:
    for key in (keys.WEIGHT, keys.TIME):
        for role in roles:
            if role.key == key:
                yield f"{key}: {_scalar(role.column.name)}  # {describe_column(role.column)}"


def _lists(roles: Sequence[Role]) -> Iterator[str]:
    """Yield the keys of several columns, with a line for each of these."""
    for key in (keys.INTEGERS, keys.FLOATS, keys.CATEGORIES, keys.MULTI_VALUED, keys.IGNORED):
        items = {_item(role): role.column for role in roles if role.key == key}
        if items:
            width = max(map(len, items))
            yield f"{key}:"
            yield from (f"  {item:{width}}  # {describe_column(column)}" for item, column in items.items())


def _item(role):
    name = _scalar(role.column.name)
    return f"{name}: {_quoted(role.column.form)}" if role.key == keys.MULTI_VALUED else f"- {name}"


def _columns(rows, label):
    """Return the lines with the names of all columns of a file without a header."""
    if rows.names_columns:
        return []
    names = ["label" if label and name == label.column.name else name for name in rows.frame.columns]
    return textwrap.wrap(f"columns: [{', '.join(names)}]", WIDTH, subsequent_indent="  ")


def _text_form(text, missing):
    if text is None:
        yield "header: true  # for text; Parquet names its columns itself"
    else:
        yield f"separator: {_quoted(text.separator)}"
        yield f"header: {_quoted(text.has_header)}"
    if missing:
        yield f"missing: {_flow(missing)}"


def _scalar(text):
    """Return a text as a scalar of YAML, in quotes if it needs them."""
    is_plain = re.fullmatch(r"\w[\w.-]*", text, re.ASCII) and yaml.safe_load(text) == text
    return text if is_plain else _quoted(text)


def _quoted(value):
    return json.dumps(value, ensure_ascii=False)


def _flow(texts):
    return f"[{', '.join(map(_quoted, texts))}]"
