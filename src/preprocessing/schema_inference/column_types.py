# SPDX-License-Identifier: Apache-2.0
"""The type of the cells of a column: integers, floats, times, lists or text, and how many differ or are missing."""

import dataclasses
import enum
from collections.abc import Collection

import polars as pl

from src.preprocessing.diagnosis import MISSING_WORDS
from src.preprocessing.raw_cells import read_integers
from src.preprocessing.schema_inference.cell_lists import list_separator, text_lists
from src.preprocessing.schema_inference.time_forms import find_time_form

FEW_VALUES = 100
EXAMPLES = 3
ALMOST = 0.95  # of the filled cells of a column of numbers with other texts


class Kind(enum.Enum):
    """The type of the cells of a column are."""

    EMPTY = "no value"
    INTEGER = "integers"
    FLOAT = "floats"
    TEXT = "text"
    TIME = "times"
    LIST = "lists"
    OTHER = "values of another type"


@dataclasses.dataclass(frozen=True)
class Column:
    """The cells of a column in the rows that were read.

    rows, missing, distinct: numbers of the rows, of missing values, and of the others that differ.
    counts: how often each value is there, the most frequent first; empty if there are more than FEW_VALUES.
    examples: the most frequent values.
    form: of times, or the separator of lists.
    smallest, largest: of integers.
    has_leading_zeros: whether some integers begin with a zero, as in 007.
    is_float: whether Parquet holds integers as floats.
    stray: the most frequent text between numbers, if nearly all cells are numbers.
    """

    name: str
    kind: Kind
    rows: int
    missing: int = 0
    distinct: int = 0
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: tuple[str, ...] = ()
    form: str = ""
    smallest: int = 0
    largest: int = 0
    has_leading_zeros: bool = False
    is_float: bool = False
    stray: str = ""

    @property
    def are_all_different(self) -> bool:
        """Whether each row has a value of its own."""
        return self.distinct == self.rows


def find_missing_texts(frame: pl.DataFrame) -> tuple[str, ...]:
    """Return the texts in a table that stand for missing values, such as NULL."""
    texts = frame.select(pl.col(pl.String))
    found: set[str] = set()
    for column in texts:
        values = column.drop_nulls().unique()
        found.update(values.filter(values.str.to_lowercase().is_in(list(MISSING_WORDS))))
    return tuple(sorted(found))


def describe_column(cells: pl.Series, missing: Collection[str] = (), separator: str = "") -> Column:
    """Return the Column of cells of text or of any type of Parquet.

    missing: texts of missing values.  separator: between the columns of a file, which lists have not.
    """
    texts, kind, form = _as_texts(cells)
    texts = texts.set(texts.is_in(["", *missing]).fill_null(False), None)
    counted = texts.drop_nulls().value_counts().sort(["count", texts.name], descending=[True, False])
    values, numbers = counted[texts.name], counted["count"]
    column = Column(
        cells.name,
        kind or Kind.TEXT,
        len(cells),
        missing=texts.null_count(),
        distinct=len(values),
        counts=dict(zip(values, numbers)) if len(values) <= FEW_VALUES else {},
        examples=tuple(values.head(EXAMPLES)),
        form=form,
        is_float=cells.dtype.is_float(),
    )
    if not len(values):
        return dataclasses.replace(column, kind=Kind.EMPTY)
    return _with_kind(column, values, numbers, separator) if kind is None else column


def _as_texts(cells):
    """Return cells as text, and if their type tells it, their Kind and its form, else None and no form."""
    name, dtype = "value", cells.dtype
    if dtype in (pl.List, pl.Array):
        texts, form = text_lists(cells.alias(name))
        return texts, Kind.LIST if form else Kind.OTHER, form
    if dtype in (pl.Date, pl.Datetime):
        return cells.cast(pl.String).alias(name), Kind.TIME, str(dtype.base_type())
    if dtype.is_float():
        cells = cells.fill_nan(None)
    if dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null):
        return cells.cast(pl.String).alias(name), None, ""
    return (
        cells.is_null().replace_strict({True: None, False: str(dtype.base_type())}, return_dtype=pl.String).alias(name),
        Kind.OTHER,
        "",
    )


def _with_kind(column, values, numbers, separator):
    """Return a Column with the kind that its distinct values have; numbers: how often each is there."""
    may_be_number = values.str.contains(r"^[\d.eE+-]+$")
    integers = read_integers(values.set(~may_be_number, None))  # which takes long for text
    is_integer = integers.is_not_null()
    # Digits that are no integer are too many for one, and no float: the id of something.
    is_number = is_integer | (
        values.str.contains("[.eE]") & values.cast(pl.Float64, strict=False).is_finite().fill_null(False)
    )
    if form := find_time_form(column.name, values, integers):
        return dataclasses.replace(column, kind=Kind.TIME, form=form)
    if is_integer.all():
        has_zeros = values.str.contains(r"^[+-]?0\d").any()
        bounds = {"smallest": integers.min(), "largest": integers.max()}
        return dataclasses.replace(column, kind=Kind.INTEGER, has_leading_zeros=has_zeros, **bounds)
    if is_number.all():
        return dataclasses.replace(column, kind=Kind.FLOAT)
    if form := list_separator(values, separator):
        return dataclasses.replace(column, kind=Kind.LIST, form=form)
    is_almost = numbers.filter(is_number).sum() >= ALMOST * numbers.sum()
    return dataclasses.replace(column, stray=values.filter(~is_number)[0] if is_almost else "")
