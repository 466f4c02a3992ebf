# SPDX-License-Identifier: Apache-2.0
"""How often the columns of scored rows are missing or outside the vocabulary, compared with the training rows."""

import dataclasses
import math

import numpy as np
import polars as pl

from src.package.raw_encoding import FieldRates, RawEncoding
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.raw_columns import MISSING
from src.preprocessing.schema import FieldSchema

DRIFT = 0.05  # difference of a fraction from that of the training rows from which it is worth a warning,
CHANCE = 1e-5  # if chance explains it with less than this probability: then not one of 78 fractions warns by chance
RAREST = 1e-3  # fraction that counts as expected where the training rows have none: two rows may warn, one may not


@dataclasses.dataclass
class FieldTally:
    """Counts of the rows so far.  missing, oov: by raw column, int64 [columns]; oov is 0 without a vocabulary."""

    rows: int
    missing: np.ndarray
    oov: np.ndarray

    @classmethod
    def empty(cls, column_count: int) -> "FieldTally":
        return cls(0, np.zeros(column_count, np.int64), np.zeros(column_count, np.int64))

    def add(self, later: "FieldTally") -> None:
        """Take in the counts of later rows."""
        self.rows += later.rows
        self.missing += later.missing
        self.oov += later.oov


class FieldCounter:
    """Counts missing and OOV values of the rows that an encoder encodes."""

    def __init__(self, encoder: FeatureEncoder):
        schema, vocabulary = encoder.schema, encoder.vocabulary
        self.names = raw_columns(schema)
        self._fields = [(at, name) for at, name in enumerate(encoder.sparse_names) if name in vocabulary.fields]
        self._oov_ids = np.array([vocabulary.oov_id(name) for _, name in self._fields], np.int32)

    def count(self, frame: pl.DataFrame, sparse_ids: np.ndarray) -> FieldTally:
        """Return the counts of rows.  frame: their raw columns.  sparse_ids: int32 [n, S]."""
        tally = FieldTally.empty(len(self.names))
        tally.rows = frame.height
        tally.missing[:] = [(frame[name] == MISSING[frame.schema[name]]).sum() for name in self.names]
        for (at, name), oov_id in zip(self._fields, self._oov_ids):
            tally.oov[self.names.index(name)] = np.count_nonzero(sparse_ids[:, at] == oov_id)
        return tally


@dataclasses.dataclass(frozen=True)
class FieldComparison:
    """The fractions of a column's values that are missing or OOV among the scored rows, and among the training rows."""

    training: FieldRates
    rows: int
    missing_rate: float
    oov_rate: float

    def drifts(self) -> list[str]:
        """Return a clause for each fraction that differs from that of the training rows by more than chance."""
        rates = {"missing": (self.missing_rate, self.training.missing_rate)}
        if self.training.oov_rate is not None:
            rates["OOV"] = (self.oov_rate, self.training.oov_rate)
        return [
            f"{rate:.1%} {name}, {expected:.1%} in training"
            for name, (rate, expected) in rates.items()
            if is_drift(rate, expected, self.rows)
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
    names = raw_columns(encoding.schema)
    missing, oov = (dict(zip(names, (counts / tally.rows).tolist())) for counts in (tally.missing, tally.oov))
    return [FieldComparison(rates, tally.rows, missing[rates.name], oov[rates.name]) for rates in encoding.field_rates]


def raw_columns(schema: FieldSchema) -> list[str]:
    """Return the columns of a tally."""
    return [*schema.integer_names, *schema.category_names]
