# SPDX-License-Identifier: Apache-2.0
"""The columns of a raw row, how rows are written as text, and the names that frames give them."""

import dataclasses
import functools
from typing import Any

# Names of columns in frames; no column of a user begins with "<".
LINE_NUMBER, KEY, LABEL, WEIGHT, TIME = "<line_number>", "<key>", "<label>", "<weight>", "<time>"
KEY_BITS = 64
LARGEST_ID = 2**31 - 1  # ids are int32


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """How rows are written as text.

    separator: of cells, one ASCII character.  has_header: whether the first line of each file names its columns.
    missing: texts that, like an empty cell, stand for a missing value.  follows_suffix: whether a .csv has commas and a
    header instead.
    """

    separator: str = "\t"
    has_header: bool = False
    missing: tuple[str, ...] = ()
    follows_suffix: bool = False

    @property
    def has_quotes(self) -> bool:
        """Whether a cell may be in double quotes, and hold the separator then; a line's end never."""
        return self.separator == ","


CRITEO = TextFormat(follows_suffix=True)


@dataclasses.dataclass(frozen=True)
class FieldSchema:
    """The columns of a raw row: a label, integers, floats, categories and multi-valued categories.

    list_names, list_separators: the multi-valued categories, and the character between the values in each cell.
    weight_name: of the column of the rows' weights, time_name: of their times; None if there is none.
    label_name: of the column of the label.  clicks: its cells that are a click, any other is none; if it is empty, the
    label of a row with a click is 1 and that of one without negative_label, 0 or -1.
    file_columns: the names of all columns of a file without a header, in its order, also of those that are not used; if
    it is empty, the label and then the columns that a model uses.
    categories_are_ids: categories are used as ids as they are.
    has_label: rows that are only to be scored have none.  is_label_optional: whether they need none, for messages.
    largest_id: that a category may be, if categories are ids.
    kept_names: columns that a model does not use, but that are read, too, as text.
    """

    integer_names: tuple[str, ...]
    category_names: tuple[str, ...]
    float_names: tuple[str, ...] = ()
    list_names: tuple[str, ...] = ()
    list_separators: tuple[str, ...] = ()
    weight_name: str | None = None
    time_name: str | None = None
    label_name: str = "label"
    clicks: tuple[str, ...] = ()
    negative_label: int = 0
    file_columns: tuple[str, ...] = ()
    text: TextFormat = CRITEO
    categories_are_ids: bool = False
    has_label: bool = True
    is_label_optional: bool = False
    largest_id: int = LARGEST_ID
    kept_names: tuple[str, ...] = ()

    @classmethod
    def criteo(
        cls, dense_dim: int, slot_dim: int, categories_are_ids: bool = False, negative_label: int = 0, **others: Any
    ) -> "FieldSchema":
        """Return the schema of Criteo's rows: a label, `dense_dim` integers I1.., `slot_dim` categories C1..."""
        return cls(
            tuple(f"I{number}" for number in range(1, dense_dim + 1)),
            tuple(f"C{number}" for number in range(1, slot_dim + 1)),
            categories_are_ids=categories_are_ids,
            negative_label=negative_label,
            **others,
        )

    @classmethod
    def from_dict(cls, content: dict) -> "FieldSchema":
        """Return the schema of which dataclasses.asdict, perhaps by way of JSON, has made `content`."""
        values: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in content.items()}
        text = content["text"]
        values["text"] = TextFormat(**{**text, "missing": tuple(text["missing"])})
        return cls(**values)

    def in_file(self, columns: tuple[str, ...]) -> "FieldSchema":
        """Return the schema of the lines of a file whose header has these columns; ValueError if it lacks one."""
        needed = [*([] if self.is_label_optional else self.roles), *self.value_names, *self.kept_names]
        if missing := [name for name in needed if name not in columns]:
            raise ValueError(f"there is no column {missing[0]}; the columns are {', '.join(columns)}")
        return dataclasses.replace(
            self,
            file_columns=columns,
            has_label=self.has_label and self.label_name in columns,
            weight_name=self.weight_name if self.weight_name in columns else None,
        )

    def without_values(self) -> "FieldSchema":
        """Return the schema of the same rows if only their labels and times are read."""
        none: tuple[str, ...] = ()
        return dataclasses.replace(
            self,
            integer_names=none,
            category_names=none,
            float_names=none,
            list_names=none,
            list_separators=none,
            weight_name=None,
            file_columns=self.file_columns or (self.label_name, *self.value_names),
            categories_are_ids=False,
        )

    def to_score(self, largest_id: int) -> "FieldSchema":
        """Return the schema of rows to score, which need no label; their times do not matter."""
        return dataclasses.replace(self, largest_id=largest_id, is_label_optional=True, time_name=None)

    @property
    def dense_names(self) -> tuple[str, ...]:
        """The columns of numbers, of which each may give a dense value, a bucket, or both."""
        return *self.integer_names, *self.float_names

    @property
    def sparse_names(self) -> tuple[str, ...]:
        """The columns of categories, the multi-valued ones last."""
        return *self.category_names, *self.list_names

    @property
    def value_names(self) -> tuple[str, ...]:
        """The columns that a model uses, in its order."""
        return *self.dense_names, *self.sparse_names

    @property
    def counted_names(self) -> tuple[str, ...]:
        """The columns whose values are counted."""
        return self.dense_names if self.categories_are_ids else self.value_names

    @property
    def separators(self) -> dict[str, str]:
        """The character between the values in a cell of each multi-valued category, by name."""
        return dict(zip(self.list_names, self.list_separators))

    @functools.cached_property
    def roles(self) -> dict[str, str]:
        """The columns that describe a row: the names that frames give them, by their names in files."""
        named = {self.label_name: LABEL, self.weight_name: WEIGHT, self.time_name: TIME}
        return {name: role for name, role in named.items() if name is not None}

    @functools.cached_property
    def column_names(self) -> tuple[str, ...]:
        """The columns of a file, in its order, as frames name them."""
        names = tuple(self.roles.get(name, name) for name in self.file_columns or (self.label_name, *self.value_names))
        return names if self.has_label else tuple(name for name in names if name != LABEL)

    @functools.cached_property
    def used_names(self) -> tuple[str, ...]:
        """The columns of a file that are read, as frames name them."""
        roles = (LABEL, WEIGHT, TIME) if self.has_label else ()
        return *(role for role in roles if role in self.column_names), *self.value_names, *self.kept_names

    @property
    def text_names(self) -> tuple[str, ...]:
        """The columns that frames have as text, as it is written."""
        return *self.list_names, *self.kept_names

    @property
    def column_count(self) -> int:
        return len(self.column_names)
