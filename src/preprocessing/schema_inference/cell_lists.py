# SPDX-License-Identifier: Apache-2.0
"""Cells that hold several values: the character between these."""

import polars as pl

SEPARATORS = "|;, "
MOST_READ = 10_000  # distinct cells
LEAST_LISTS = 0.1  # of the distinct cells hold several values
NO_LIST = r"^[\[({]|[|;,] "  # JSON and the like, and prose


def list_separator(values: pl.Series, file_separator: str) -> str:
    """Return the character by which distinct cells are lists of values; empty if they are none.

    file_separator: between the columns of the file, which cells have only in quotes.
    """
    values = values.head(MOST_READ)
    if values.str.contains(NO_LIST).any():
        return ""
    candidates = [each for each in SEPARATORS if each != file_separator or each == ","]
    return next((each for each in candidates if _are_lists(values, each)), "")


def text_lists(lists: pl.Series) -> tuple[pl.Series, str]:
    """Return lists of Parquet as text, and the separator of their values, which none of these has.

    Of lists of other than texts or integers, as of embeddings, there is no separator, and the text is their type.
    """
    lists = lists.arr.to_list() if lists.dtype == pl.Array else lists
    inner = lists.dtype.inner
    items = lists.explode().drop_nulls()
    form = ""
    if inner.is_integer() or inner in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        items = items.cast(pl.String)
        form = next((each for each in SEPARATORS if not items.str.contains(each, literal=True).any()), "")
    if not form:
        return pl.select(pl.when(lists.is_not_null()).then(pl.lit(str(lists.dtype))).alias(lists.name)).to_series(), ""
    return lists.cast(pl.List(pl.String)).list.join(form), form


def _are_lists(values, separator):
    parts = values.str.split(separator)
    lengths = parts.list.len()
    if (lengths > 1).mean() < LEAST_LISTS or (lengths == 2).all():
        return False
    items = parts.explode()
    items = items.filter(items != "").unique()
    if separator == " " and not items.str.contains(r"^\d+$").all():  # prose; ids alone are lists
        return False
    are_vectors = items.str.contains(r"^[+-]?\d*\.\d+$").all()
    return not are_vectors and (separator == "|" or len(items) < len(values))
