# SPDX-License-Identifier: Apache-2.0
"""The values that a setting can have: texts and parsed YAML are converted to its type and checked."""

import dataclasses
import enum
import math
import re
import typing
from typing import Any, TypeVar

NONE = "none"
TRUE_WORDS, FALSE_WORDS = ("true", "1"), ("false", "0")
INTS, TEXTS = tuple[int, ...], tuple[str, ...]
AnyValues = TypeVar("AnyValues", bound="Values")  # Values or a class made from it


@dataclasses.dataclass(frozen=True)
class Values:
    """The values of one setting.

    value_type: bool, int, float, str, an enum of str, tuple[int, ...], or, if a flag may be repeated, tuple[str, ...].
    is_optional: whether "none" stands for None.  choices: all values, if they can be listed.
    at_least, more_than, at_most: bounds of a number, or of each number in a tuple.
    """

    value_type: Any
    is_optional: bool = False
    choices: tuple[object, ...] = ()
    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None

    @classmethod
    def annotated(cls: type[AnyValues], annotation: Any, **others: Any) -> AnyValues:
        """Return an instance with the type of an annotation, which may end in `| None`.  others: its other fields."""
        types = [each for each in typing.get_args(annotation) if each is not type(None)]
        is_optional = type(None) in typing.get_args(annotation)
        value_type = types[0] if is_optional else annotation
        if isinstance(value_type, type) and issubclass(value_type, enum.Enum):
            others["choices"] = tuple(value_type)
        return cls(value_type, is_optional, **others)

    @property
    def is_repeatable(self) -> bool:
        """Whether a flag may be given several times, and a file may hold a list of texts."""
        return self.value_type == TEXTS

    def parse(self, value: object) -> object:
        """Return a value in the type of the setting.  value: text or parsed YAML.

        Raises ValueError with the rule that it breaks.
        """
        if self.is_optional and value == NONE:
            return None
        converted = CONVERTERS.get(self.value_type, _to_text)(value)
        self._check(converted)
        return self.value_type(converted) if self.value_type not in CONVERTERS else converted

    def bounds(self) -> str:
        """Return in words the bounds of a number, "" if there are none."""
        bounds = {"more than": self.more_than, "at least": self.at_least, "at most": self.at_most}
        return " and ".join(f"{words} {bound}" for words, bound in bounds.items() if bound is not None)

    def describe(self) -> str:
        """Return in words which values are allowed."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        words = ", ".join(filter(None, [NAMES[self.value_type], self.bounds()]))
        return f"{words}, or {NONE}" if self.is_optional else words

    def _check(self, value):
        if self.choices and value not in self.choices:
            raise ValueError(f"must be one of {', '.join(map(str, self.choices))}")
        numbers = value if self.value_type == INTS else (value,) if self.value_type in (int, float) else ()
        if not all(map(self._is_within_bounds, numbers)):
            raise ValueError(f"must be {self.bounds()}")

    def _is_within_bounds(self, number):
        return (
            (self.at_least is None or number >= self.at_least)
            and (self.more_than is None or number > self.more_than)
            and (self.at_most is None or number <= self.at_most)
        )


def _to_bool(value):
    word = str(value).lower()
    if word not in TRUE_WORDS + FALSE_WORDS:
        raise ValueError("must be True or False")
    return word in TRUE_WORDS


def _to_int(value):
    if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]+", str(value).strip()):
        raise ValueError("must be a whole number")
    return int(value)


def _to_float(value):
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("must be a number")
    return number


def _to_text(value):
    if value is None or isinstance(value, (dict, list)) or not str(value).strip():
        raise ValueError("must be text that is not empty")
    return str(value)


def _to_ints(value):
    items = value if isinstance(value, list) else [item for item in str(value).strip("[] ").split(",") if item]
    if not items:
        raise ValueError("must be a list of whole numbers, such as 400,400")
    return tuple(map(_to_int, items))


def _to_texts(value):
    texts = tuple(map(_to_text, value if isinstance(value, list) else [value]))
    if NONE in texts and len(texts) > 1:
        raise ValueError(f"{NONE} stands for no value at all and must be alone")
    return () if texts == (NONE,) else texts


CONVERTERS = {bool: _to_bool, int: _to_int, float: _to_float, str: _to_text, INTS: _to_ints, TEXTS: _to_texts}
NAMES = {
    bool: "True, False",
    int: "whole number",
    float: "number",
    str: "text",
    INTS: "whole numbers",
    TEXTS: f"text, may be repeated, or {NONE}",
}
