# SPDX-License-Identifier: Apache-2.0
"""The malformed lines of a file: their number by reason, the first of them, and what they tell about the file."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from src.preprocessing.diagnosis import COLUMNS, HEADER, LABEL_VALUE, REASONS, TAB, Diagnosis, diagnose, printable
from src.preprocessing.raw_cells import read_label
from src.preprocessing.schema import FieldSchema

LISTED_BAD_LINES = 20
DIAGNOSED_LINES = 2  # line 1 may be a header, and the next malformed line have another fault
LISTED_LABELS = 4
READ_LABELS = 1000  # malformed labels of a chunk that are searched for different ones


class BadLine(NamedTuple):
    """A malformed line: its number in its file, from 1, the reason, and the name of the file if there are several."""

    number: int
    reason: str
    file: str = ""

    def to_list(self) -> list:
        """Return the content as a list for JSON."""
        return list(self if self.file else self[:2])


@dataclasses.dataclass
class BadLines:
    """The malformed lines so far.

    counts: their number by reason.  first: the first of them.  diagnoses: those of the first DIAGNOSED_LINES.
    labels: different cells, as text, of lines that are malformed for their label, one more than LISTED_LABELS at most.
    """

    counts: Counter = dataclasses.field(default_factory=Counter)
    first: list[BadLine] = dataclasses.field(default_factory=list)
    diagnoses: list[Diagnosis] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def from_lines(
        cls,
        line_numbers: np.ndarray,
        reasons: np.ndarray,
        line_at: Callable[[int], bytes],
        schema: FieldSchema,
        file: str = "",
    ) -> "BadLines":
        """Return the malformed lines of a chunk.

        line_numbers: int [n], from 1.  reasons: codes, uint8 [n].  line_at: from an index below n to that line, bytes.
        file: the name of their file if there are several.
        """
        numbers, reasons = line_numbers.tolist(), reasons.tolist()
        malformed_labels = (index for index, reason in enumerate(reasons) if reason == LABEL_VALUE)
        labels = (
            printable(line_at(index).split(TAB, 1)[0]) for index in itertools.islice(malformed_labels, READ_LABELS)
        )
        bad_lines = cls()
        bad_lines.merge(
            cls(
                Counter(REASONS[reason] for reason in reasons),
                [BadLine(number, REASONS[reason], file) for number, reason in zip(numbers[:LISTED_BAD_LINES], reasons)],
                [
                    diagnose(number, line_at(index), reasons[index], schema, file)
                    for index, number in enumerate(numbers[:DIAGNOSED_LINES])
                ],
                list(labels),
            )
        )
        return bad_lines

    def merge(self, later: "BadLines") -> None:
        """Take in the malformed lines of a later part of the file."""
        self.counts.update(later.counts)
        self.first = (self.first + later.first)[:LISTED_BAD_LINES]
        self.diagnoses = (self.diagnoses + later.diagnoses)[:DIAGNOSED_LINES]
        self.labels = list(dict.fromkeys(self.labels + later.labels))[: LISTED_LABELS + 1]

    def to_dict(self) -> dict:
        """Return the content as a dict for JSON."""
        return {
            **vars(self),
            "counts": dict(self.counts),
            "first": [line.to_list() for line in self.first],
            "diagnoses": [vars(found) for found in self.diagnoses],
        }

    @classmethod
    def from_dict(cls, content: dict) -> "BadLines":
        """Return the BadLines of which to_dict made `content`."""
        return cls(
            Counter(content["counts"]),
            [BadLine(*line) for line in content["first"]],
            [Diagnosis(**found) for found in content["diagnoses"]],
            content["labels"],
        )

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def describe(
        self, line_count: int, good_labels: list[int], negative_label: int, *, is_complete: bool = True
    ) -> str:
        """Return, in one line, the fault of the first line, hints about the file, and the counts by reason.

        line_count: lines so far, well-formed or malformed; is_complete: whether these are all lines of the file.
        good_labels: the labels of well-formed lines, as 0 and 1.
        """
        (number, reason, _), *others = self.first
        # After a header the next malformed line is the one that matters, unless it has the wrong columns, too.
        shown = DIAGNOSED_LINES if number == 1 and others and others[0].reason != REASONS[COLUMNS] else 1
        clauses = [found.fault for found in self.diagnoses[:shown]]
        hints = [hint for found in self.diagnoses for hint in found.hints]
        if 2 * self.counts[REASONS[COLUMNS]] >= line_count:
            hints += self.diagnoses[0].column_hints
        clauses += dict.fromkeys(hints)
        header_labels = int(HEADER in hints and reason == REASONS[LABEL_VALUE])
        clauses += self._describe_labels(header_labels, good_labels, negative_label)
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self.counts.items()))
        lines = f"{'' if is_complete else 'the first '}{line_count} lines"
        return f"{'; '.join(clauses)}; of {lines} {self.count} malformed ({counts})"

    def _describe_labels(self, header_labels, good_labels, negative_label):
        """Return a list with a clause on the labels of the file; an empty one if they tell nothing."""
        labels = self.labels[header_labels:]
        other = -1 - negative_label
        is_other = any(read_label(label.encode(), other) == 0 for label in labels)
        if not is_other and self.counts[REASONS[LABEL_VALUE]] <= 1 + header_labels:
            return []
        listed = [label or "empty" for label in labels[:LISTED_LABELS]]
        listed += [str(label or negative_label) for label in good_labels]
        listed += ["others"] if len(labels) > LISTED_LABELS else []
        flag = f": --negative_label={other} takes {other} for the label of a row without a click" if is_other else ""
        return [f"labels are {_join(listed)}{flag}"]


def _join(words):
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
