# SPDX-License-Identifier: Apache-2.0
"""The key of a schema for each column of a table: a guess, with its reason."""

import dataclasses
import re
from collections.abc import Callable, Sequence

from src.preprocessing.schema_inference.column_types import FEW_VALUES, Column, Kind
from src.preprocessing.schema_inference.label import Label, clicks_of, find_label, is_named_as_label

INTEGERS, FLOATS, CATEGORIES, MULTI_VALUED = "integers", "floats", "categories", "multi_valued"
IGNORED, TIME, WEIGHT = "ignored", "time", "weight"
WEIGHT_NAMES = {"weight", "weights", "sample_weight", "sample_weights", "instance_weight"}
ID_NAME = re.compile(r"(.*[_\W])?ids?|.*[a-z]I[dD]", re.DOTALL)  # id, user_id, userId, adID
ROWS_PER_VALUE = 10  # fewer, and few values are no sign of a category
LEAST_ROWS = 10  # all of which differ only in the id of a row
LARGE_INTEGER = 10**9


@dataclasses.dataclass(frozen=True)
class Role:
    """The key of a schema for a column.  reason: a clause for the user, empty if it is the type."""

    column: Column
    key: str
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Roles:
    """The label, None if there is none, and the other columns in the order of the file."""

    label: Label | None
    others: tuple[Role, ...]

    def of(self, key: str) -> list[Role]:
        """Return the columns of a key."""
        return [role for role in self.others if role.key == key]


def assign_roles(columns: Sequence[Column]) -> Roles:
    """Return the roles of the columns that a schema can name."""
    columns = [column for column in columns if can_name(column.name)]
    label = find_label(columns)
    others: list[Role] = []
    for column in columns:
        if label is None or column is not label.column:
            role = _role_of(column)
            if role.key in (TIME, WEIGHT) and any(each.key == role.key for each in others):
                role = Role(column, IGNORED, f"a second {role.key}")
            others.append(role)
    return Roles(label, tuple(others))


def can_name(name: str) -> bool:
    """Tell whether a schema can have a column of this name."""
    return bool(name) and name.isprintable() and not name.startswith("<")


def _role_of(column: Column) -> Role:
    """Return the role of a column that is not the label: that of the first rule that holds."""
    return next(Role(column, key, reason) for holds, key, reason in RULES if holds(column))


def _is_number(column):
    return column.kind in (Kind.INTEGER, Kind.FLOAT)


def _is_other_label(column):
    return is_named_as_label(column) and clicks_of(column) is not None


def _has_few_values(column):
    return column.distinct <= min(FEW_VALUES, column.rows // ROWS_PER_VALUE)


def _is_row_id(column):
    if not column.are_all_different or column.rows < LEAST_ROWS or column.is_float:
        return False
    is_count = column.largest - column.smallest == column.rows - 1
    is_large = max(abs(column.smallest), abs(column.largest)) >= LARGE_INTEGER
    return column.kind is Kind.TEXT or (column.kind is Kind.INTEGER and (is_count or is_large))


RULES: tuple[tuple[Callable[[Column], bool], str, str], ...] = (
    (lambda column: column.kind is Kind.EMPTY, IGNORED, "without a value in these rows"),
    (lambda column: column.kind is Kind.OTHER, IGNORED, "of a type that is no number, text or list of these"),
    (_is_other_label, IGNORED, "named as a label, and perhaps known only after the impression"),
    (lambda column: column.name.lower() in WEIGHT_NAMES and _is_number(column), WEIGHT, "by its name"),
    (lambda column: column.kind is Kind.TIME, TIME, "by its name or its values"),
    (lambda column: column.kind is Kind.LIST, MULTI_VALUED, "by its values"),
    (_is_row_id, IGNORED, "with another value in each row, as its id"),
    (lambda column: column.kind is Kind.TEXT, CATEGORIES, ""),
    (lambda column: column.kind is Kind.FLOAT, FLOATS, ""),
    (lambda column: column.is_float, INTEGERS, ""),  # categories of Parquet are text or integers
    (lambda column: column.has_leading_zeros, CATEGORIES, "integers with leading zeros"),
    (lambda column: bool(ID_NAME.fullmatch(column.name)), CATEGORIES, "integers with the name of an id"),
    (_has_few_values, CATEGORIES, f"integers of at most {FEW_VALUES} values"),
    (lambda column: True, INTEGERS, ""),
)
