# SPDX-License-Identifier: Apache-2.0
"""How often the columns of scored rows are missing or outside the vocabulary, compared with the training rows."""

import dataclasses
import math

import numpy as np
import polars as pl

from src.common.encoded_rows import NO_VALUE
from src.package.raw_encoding import FieldRates, RawEncoding
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.lists import split_lists
from src.preprocessing.raw_columns import MISSING

DRIFT = 0.05  # difference of a fraction from that of the training rows from which it is worth a warning,
CHANCE = 1e-5  # if chance explains it with less than this probability: then not one of 78 fractions warns by chance
NEVER = -2  # no id, also not NO_VALUE
RAREST = 1e-3  # fraction that counts as expected where the training rows have none: two rows may warn, one may not


@dataclasses.dataclass
class FieldTally:
    """Counts of the rows so far, by raw column int64 [columns].

    missing: rows without a value.  values: the rows, or the values of a multi-valued column.  oov: of them those that
    are OOV; 0 without a vocabulary.
    """

    rows: int
    missing: np.ndarray
    values: np.ndarray
    oov: np.ndarray

    @classmethod
    def empty(cls, column_count: int) -> "FieldTally":
        return cls(0, *(np.zeros(column_count, np.int64) for _ in range(3)))

    def add(self, later: "FieldTally") -> None:
        """Take in the counts of later rows."""
        self.rows += later.rows
        self.missing += later.missing
        self.values += later.values
        self.oov += later.oov


class FieldCounter:
    """Counts missing and OOV values of the rows that an encoder encodes."""

    def __init__(self, encoder: FeatureEncoder):
        schema, vocabulary = encoder.schema, encoder.vocabulary
        self.names = list(schema.value_names)
        self._separators = schema.separators
        self._id_columns = {}  # those of sparse_ids by name
        oov_ids: list[int] = []
        for name in encoder.sparse_names:
            length = encoder.list_lengths.get(name, 1)
            self._id_columns[name] = slice(len(oov_ids), len(oov_ids) + length)
            oov_ids += [vocabulary.oov_id(name) if name in vocabulary.fields else NEVER] * length
        self._oov_ids = np.array(oov_ids, np.int32)

    def count(self, frame: pl.DataFrame, sparse_ids: np.ndarray) -> FieldTally:
        """Return the counts of rows.  frame: their raw columns.  sparse_ids: int32 [n, S]."""
        tally = FieldTally.empty(len(self.names))
        tally.rows = frame.height
        tally.values[:] = frame.height
        oov = np.count_nonzero(sparse_ids == self._oov_ids, axis=0)  # at once: a column lies in all parts of the memory
        for column, name in enumerate(self.names):
            tally.missing[column] = self._count_missing(frame[name])
            if name in self._id_columns:
                tally.oov[column] = oov[self._id_columns[name]].sum()
            if name in self._separators:
                tally.values[column] = np.count_nonzero(sparse_ids[:, self._id_columns[name]] != NO_VALUE)
        return tally

    def _count_missing(self, column):
        if column.name in self._separators:
            rows, _ = split_lists(column, self._separators[column.name])
            return len(column) - len(np.unique(rows))
        return (column == MISSING[column.dtype]).sum()


@dataclasses.dataclass(frozen=True)
class FieldComparison:
    """The fractions of a column that are missing or OOV among the scored rows, and among the training rows.

    values: as FieldTally has them.
    """

    training: FieldRates
    rows: int
    values: int
    missing_rate: float
    oov_rate: float

    def drifts(self) -> list[str]:
        """Return a clause for each fraction that differs from that of the training rows by more than chance."""
        rates = {"missing": (self.missing_rate, self.training.missing_rate, self.rows)}
        if self.training.oov_rate is not None:
            rates["OOV"] = (self.oov_rate, self.training.oov_rate, self.values)
        return [
            f"{rate:.1%} {name}, {expected:.1%} in training"
            for name, (rate, expected, count) in rates.items()
            if is_drift(rate, expected, count)
        ]


def is_drift(rate: float, expected: float, rows: int) -> bool:
    """Tell whether a fraction of so many rows is far from the expected one, and not by chance.

    The probability of such a fraction by chance is at most exp(-rows * divergence) (Chernoff's bound), also for few
    rows, where normal approximations fail.
    """
    if abs(rate - expected) <= DRIFT:
        return False
    expected = min(max(expected, RAREST), 1 - RAREST)
    divergence = sum(p * math.log(p / q) for p, q in ((rate, expected), (1 - rate, 1 - expected)) if p)
    return rows * divergence > -math.log(CHANCE)


def compare_fields(tally: FieldTally, encoding: RawEncoding) -> list[FieldComparison]:
    """Return a FieldComparison for each column of the training rows that was counted; none if there are no rows."""
    if not tally.rows:
        return []
    comparisons = []
    for rates in encoding.field_rates:
        column = encoding.schema.value_names.index(rates.name)
        missing_rate = float(tally.missing[column] / tally.rows)
        values = int(tally.values[column])
        comparisons.append(FieldComparison(rates, tally.rows, values, missing_rate, float(tally.oov[column] / values)))
    return comparisons
