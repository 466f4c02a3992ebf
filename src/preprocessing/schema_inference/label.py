# SPDX-License-Identifier: Apache-2.0
"""Which column of a table is the label, and which of its values are clicks."""

import dataclasses
from collections.abc import Sequence

from src.preprocessing.raw_cells import read_integer, read_label
from src.preprocessing.schema_inference.column_types import Column, Kind

# In the order in which they are taken.
LABEL_NAMES = (
    "label", "click", "clicked", "is_click", "is_clicked", "isclick", "clicks", "clk", "ctr_label", "target", "y",
    "is_conversion", "conversion", "converted",
)  # fmt: skip
CLICK_WORDS = {"yes", "y", "t", "click", "clicked", "pos", "positive"}
OTHER_WORDS = {"no", "n", "f", "noclick", "no_click", "not_clicked", "none", "neg", "negative", "view", "impression"}


@dataclasses.dataclass(frozen=True)
class Label:
    """The label.

    clicks: texts of the cells that are clicks; empty if the label is 0 or 1.  reason: a clause for the user.
    """

    column: Column
    clicks: tuple[str, ...]
    reason: str

    @property
    def click_fraction(self) -> float:
        """Fraction of clicks among the rows that have a label."""
        counts = self.column.counts
        clicks = [text for text in counts if text in self.clicks or self._is_one(text)]
        return sum(counts[text] for text in clicks) / sum(counts.values())

    def _is_one(self, text):
        return not self.clicks and bool(read_label(text.encode(), 0))


def find_label(columns: Sequence[Column]) -> Label | None:
    """Return the label: a column named as one, else the first of two values such as 0 and 1; None if there is none."""
    named = sorted(filter(is_named_as_label, columns), key=lambda column: LABEL_NAMES.index(column.name.lower()))
    for column in named:
        if (clicks := clicks_of(column)) is not None:
            return Label(column, clicks, "by its name")
    binary = [column for column in columns if _is_binary(column)]
    if not binary:
        return None
    reason = f"the first column of two values, {' and '.join(sorted(binary[0].counts))}"
    if others := ", ".join(column.name for column in binary[1:]):
        reason += f"; it may also be {others}"
    return Label(binary[0], clicks_of(binary[0]) or (), reason)


def is_named_as_label(column: Column) -> bool:
    """Tell whether the name of a column is one of labels."""
    return column.name.lower() in LABEL_NAMES


def clicks_of(column: Column) -> tuple[str, ...] | None:
    """Return the texts of a column that are clicks, empty if it is one of 0 and 1; None if it can be no label."""
    texts = tuple(column.counts)
    if not texts:
        return None
    if all(read_label(text.encode(), 0) is not None for text in texts):
        return ()
    if all(read_label(text.encode(), -1) is not None for text in texts):
        return tuple(text for text in texts if read_label(text.encode(), -1)) or ("1",)
    if all(text.lower() in CLICK_WORDS | OTHER_WORDS for text in texts):
        return tuple(text for text in texts if text.lower() in CLICK_WORDS) or None
    if column.kind is Kind.INTEGER and all((read_integer(text) or 0) >= 0 for text in texts):  # numbers of clicks
        return tuple(text for text in texts if read_integer(text)) or None
    return None


def _is_binary(column):
    words = {text.lower() for text in column.counts}
    if len(words) == 2 and words & CLICK_WORDS and words & OTHER_WORDS:
        return True
    numbers = {read_integer(text) for text in column.counts}
    return column.kind is Kind.INTEGER and not column.missing and numbers in ({0, 1}, {-1, 1})
