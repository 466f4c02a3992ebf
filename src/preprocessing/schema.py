# SPDX-License-Identifier: Apache-2.0
"""The columns of a raw row, and the names that frames give them."""

import dataclasses

LINE_NUMBER, KEY, LABEL = "line_number", "key", "label"
KEY_BITS = 64
LARGEST_ID = 2**31 - 1  # ids are int32


@dataclasses.dataclass(frozen=True)
class FieldSchema:
    """The columns of a raw row: a label, `dense_dim` integers, `slot_dim` categories.

    categories_are_ids: categories are used as ids as they are.
    negative_label: the label of a row without a click, 0 or -1; that of a row with one is 1.
    has_label: rows that are only to be scored have none.  is_label_optional: whether they need none, for messages.
    largest_id: that a category may be, if categories are ids.
    """

    dense_dim: int
    slot_dim: int
    categories_are_ids: bool = False
    negative_label: int = 0
    has_label: bool = True
    is_label_optional: bool = False
    largest_id: int = LARGEST_ID

    @property
    def integer_names(self) -> list[str]:
        return [f"I{number}" for number in range(1, self.dense_dim + 1)]

    @property
    def category_names(self) -> list[str]:
        return [f"C{number}" for number in range(1, self.slot_dim + 1)]

    @property
    def counted_names(self) -> list[str]:
        """The columns whose values are counted."""
        return [*self.integer_names, *([] if self.categories_are_ids else self.category_names)]

    @property
    def column_names(self) -> list[str]:
        return [*([LABEL] if self.has_label else []), *self.integer_names, *self.category_names]

    @property
    def column_count(self) -> int:
        return len(self.column_names)
