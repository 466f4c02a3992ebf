# SPDX-License-Identifier: Apache-2.0
"""The file that --schema_path names, in YAML: the columns of a log, and how it is written.  JSON has the same form."""

import difflib
import pathlib
from collections import Counter
from typing import Any

import yaml

from src.common.errors import UserError
from src.preprocessing.schema import FieldSchema, TextFormat

TAB, COMMA = "\t", ","
COLUMN_KEYS = ("label", "integers", "floats", "categories", "multi_valued", "weight", "time", "ignored", "columns")
KEYS = (*COLUMN_KEYS, "separator", "header", "missing")
RESERVED = ("sparse_ids", "dense_values", "probability")  # of the graph of a model package, which has all columns
LABEL_KEYS = ("column", "click")
OPTIONAL_KEYS = ("floats", "multi_valued", "weight", "time")  # left out of a description if they name nothing


def load_schema(path: str) -> FieldSchema:
    """Return the schema in a file; UserError names the first fault."""
    try:
        content = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"--schema_path={path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not a schema in YAML: {' '.join(str(error).split())}") from None
    try:
        return parse_schema(content)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def parse_schema(content: Any) -> FieldSchema:
    """Return the schema that a parsed YAML or JSON describes; ValueError names the first fault."""
    _check_keys(content, KEYS, "a schema")
    label_name, clicks = _parse_label(content.get("label"))
    text = _parse_text(content)
    lists = _parse_lists(content, text.separator)
    schema = FieldSchema(
        _names(content, "integers"), _names(content, "categories"), float_names=_names(content, "floats"),
        list_names=tuple(lists), list_separators=tuple(lists.values()), weight_name=_optional_name(content, "weight"),
        time_name=_optional_name(content, "time"), label_name=label_name, clicks=clicks,
        file_columns=_names(content, "columns"), text=text,
    )  # fmt: skip
    _check_columns(schema, _names(content, "ignored"))
    return schema


def describe_schema(schema: FieldSchema) -> dict[str, Any]:
    """Return the content for JSON or YAML of which parse_schema makes a schema with these columns."""
    content = {
        "label": {"column": schema.label_name, "click": list(schema.clicks)} if schema.clicks else schema.label_name,
        "integers": list(schema.integer_names),
        "floats": list(schema.float_names),
        "categories": list(schema.category_names),
        "multi_valued": schema.separators,
        "weight": schema.weight_name,
        "time": schema.time_name,
        "columns": list(schema.file_columns),
        "separator": schema.text.separator,
        "header": schema.text.has_header,
        "missing": list(schema.text.missing),
    }
    return {key: value for key, value in content.items() if value or key not in OPTIONAL_KEYS}


def _check_columns(schema, ignored):
    """Raise ValueError unless the columns are those of rows."""
    named = [name for name in (schema.label_name, schema.weight_name, schema.time_name) if name is not None]
    used = [*named, *schema.value_names]
    columns = schema.file_columns
    if repeated := [name for name, count in Counter([*used, *ignored]).items() if count > 1]:
        raise ValueError(f"column {repeated[0]} is named twice")
    if reserved := [name for name in schema.value_names if name in RESERVED]:
        raise ValueError(f"column {reserved[0]} has the name of an input or output of a model; rename it")
    if not schema.value_names:
        raise ValueError("integers, floats and categories are missing: a model needs columns")
    if columns and schema.text.has_header:
        raise ValueError("columns are those of a file without a header; with header: true leave them out")
    if columns and (unknown := [name for name in [*used, *ignored] if name not in columns]):
        raise ValueError(f"columns lack {unknown[0]}")
    needs_order = [*ignored, *named[1:]]
    if needs_order and not columns and not schema.text.has_header:
        raise ValueError(
            f"where is {needs_order[0]}? name all columns of the file in their order in columns, or set header: true"
        )


def _check_keys(content, known, what):
    """Raise ValueError unless `content` is a dict with no other keys than the known ones."""
    if not isinstance(content, dict):
        raise ValueError(f"{what} is a mapping with the keys {', '.join(known)}")
    if unknown := [str(key) for key in content if key not in known]:
        close = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"; did you mean {close[0]}?" if close else f"; the keys are {', '.join(known)}"
        raise ValueError(f"unknown key {unknown[0]}{hint}")


def _parse_label(content):
    """Return the name of the label and the cells that are clicks, none for 0 and 1."""
    if content is None:
        raise ValueError("label is missing: name the column of the clicks")
    if isinstance(content, str):
        return _checked_name(content, "label"), ()
    _check_keys(content, LABEL_KEYS, "label")
    clicks = content.get("click", [])
    clicks = _texts(clicks if isinstance(clicks, list) else [clicks], "click")
    return _checked_name(content.get("column"), "label"), clicks


def _parse_text(content):
    separator = content.get("separator", COMMA if content.get("header") else TAB)
    if not _is_separator(separator):
        raise ValueError(f'separator is {separator!r}; it must be one ASCII character, as "\\t" or ","')
    has_header = content.get("header", False)
    if not isinstance(has_header, bool):
        raise ValueError(f"header is {has_header!r}; it must be true or false")
    return TextFormat(separator, has_header, _texts(_list(content, "missing"), "missing"))


def _parse_lists(content, separator):
    """Return the separators of the multi-valued columns by name."""
    lists = content.get("multi_valued") or {}
    if not isinstance(lists, dict):
        raise ValueError(
            f"multi_valued is {lists!r}; it must name columns with the separator of their values, as tags: '|'"
        )
    for name, own in lists.items():
        _checked_name(name, "multi_valued")
        if not _is_separator(own) or (own == separator and not TextFormat(separator).has_quotes):
            raise ValueError(
                f"multi_valued: the separator of {name} is {own!r}; it must be one ASCII character in quotes, and that "
                "of the columns only if cells may be in quotes"
            )
    return lists


def _is_separator(text):
    return isinstance(text, str) and len(text) == 1 and text.isascii() and text not in '\n\r"'


def _optional_name(content, key):
    return None if content.get(key) is None else _checked_name(content[key], key)


def _names(content, key):
    return tuple(_checked_name(name, key) for name in _list(content, key))


def _list(content, key):
    """Return a list, empty if the key is absent."""
    values = content.get(key)
    if values is None:
        return []
    if not isinstance(values, list):
        raise ValueError(f"{key} is {values!r}; it must be a list")
    return values


def _checked_name(name, key):
    if not isinstance(name, str):
        raise ValueError(f"{key}: the name {name!r} must be text, in quotes if YAML takes it for something else")
    if not name or name.startswith("<") or not name.isprintable():
        raise ValueError(f"{key}: {name!r} is no name of a column: it is empty, begins with <, or is not printable")
    return name


def _texts(values, key):
    """Return values as the text of cells."""
    if wrong := [value for value in values if not isinstance(value, str) and type(value) is not int]:
        raise ValueError(f"{key}: {wrong[0]!r} must be text: write it in quotes, as in the file")
    return tuple(str(value) for value in values)
