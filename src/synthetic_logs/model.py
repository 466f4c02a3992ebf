# SPDX-License-Identifier: Apache-2.0
"""Columns of a click log of any form, and a click model over them with known parameters.

Every cell is a function of (seed, row, column) and of the time of the row, so rows can be drawn in chunks of any size.
"""

import abc
import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from src.random_columns import (
    Streams,
    find_bias,
    look_up,
    normal,
    second_order,
    sigmoid,
    tail_fraction_of,
    uniform,
    zipf,
)

STREAMS_OF_A_COLUMN = 10
CALIBRATION_ROWS = 50_000
SIGNAL_VALUES = 16  # of a category
LATENT_SIZE = 2
LINEAR_SCALE = 0.4
LATENT_SCALE = 0.5
LOGIT_SPREAD = 1.2  # gives a best possible AUC of about 0.78
FIRST_ID = 10**19  # the smallest number of 20 digits
ID_STEP, ID_MASK = np.uint64(0x9E3779B97F4A7C15), np.uint64(2**62 - 1)  # odd: rows below 2^62 have ids of their own
FIRST_DAY = datetime.datetime(2014, 10, 21)
SECONDS_OF_A_DAY = 86_400
QUIET_HOUR, DAILY_SWING = 3, 0.6  # of the day; how far the traffic of an hour is from the mean

Drawn = Mapping[str, np.ndarray]  # what has been drawn of the columns to the left, by name
Text = Callable[[int, np.ndarray], pl.Series]  # from the number of a column and its values, uint32 [n], to its cells


@dataclasses.dataclass(frozen=True)
class Column(abc.ABC):
    """A column of a log: how its values are drawn, written and, if they have an effect on clicks, what it is.

    interacts: with the other columns of which it is true.
    """

    name: str
    interacts: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def table_rows(self) -> int:
        """The rows of the table of effects; 0 if there are none."""
        return 0

    def draw_table(self, streams: Streams) -> np.ndarray:
        """Draw the table of effects, a weight and a vector a row: [table_rows, 1 + LATENT_SIZE]; no vector: width 1."""
        weights = LINEAR_SCALE * streams.normal_parameters(self.table_rows, 1)
        if not self.interacts:
            return weights
        return np.hstack([weights, LATENT_SCALE * streams.normal_parameters(self.table_rows, LATENT_SIZE)])

    @abc.abstractmethod
    def draw(self, streams: np.ndarray, rows: np.ndarray, times: np.ndarray, drawn: Drawn) -> np.ndarray:
        """Return the values of rows, uint64 [n], at these times, [n] in [0, 1), the fraction of the log before them."""

    @abc.abstractmethod
    def to_cells(self, values: np.ndarray, number: int) -> pl.Series:
        """Return values as they are written; null for a missing one.  number: of the column."""

    def effects(self, values: np.ndarray, table: np.ndarray) -> np.ndarray:
        """Return the weight and the vector of each value, [n, 1 + LATENT_SIZE], or as wide as the table is."""
        return look_up(table, values)


@dataclasses.dataclass(frozen=True)
class RowId(Column):
    """A column of numbers of 20 digits, no two alike."""

    def draw(self, streams: np.ndarray, rows: np.ndarray, times: np.ndarray, drawn: Drawn) -> np.ndarray:
        return np.uint64(FIRST_ID) + ((rows * ID_STEP + streams[0]) & ID_MASK)

    def to_cells(self, values: np.ndarray, number: int) -> pl.Series:
        return pl.Series(values)


@dataclasses.dataclass(frozen=True)
class Time(Column):
    """A column of the time of a row, never before that of the row above; at night there are fewer rows.

    form: as in strftime.
    """

    days: int
    form: str

    def draw(self, streams: np.ndarray, rows: np.ndarray, times: np.ndarray, drawn: Drawn) -> np.ndarray:
        """Return the seconds since the beginning of the log, int64 [n]."""
        hours = np.arange(24 * self.days)
        traffic = 1 - DAILY_SWING * np.cos(2 * np.pi * (hours - QUIET_HOUR) / 24)
        passed = np.concatenate([[0.0], np.cumsum(traffic)])
        return (np.interp(times * passed[-1], passed, np.arange(len(passed))) * 3600).astype(np.int64)

    def to_cells(self, values: np.ndarray, number: int) -> pl.Series:
        return (pl.Series(values * 1_000_000).cast(pl.Duration("us")) + FIRST_DAY).dt.strftime(self.form)


@dataclasses.dataclass(frozen=True)
class Number(Column):
    """A column of lognormal numbers.

    spread: the standard deviation of the logarithm.  role: the key of a schema that names the column.
    effect: from the standardised logarithm to a part of the logit.
    """

    role: str
    median: float
    spread: float
    smallest: float = 0.0
    largest: float = float("inf")
    decimals: int = 0
    missing_rate: float = 0.0
    effect: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def table_rows(self) -> int:
        return int(self.effect is not None)

    def draw(self, streams: np.ndarray, rows: np.ndarray, times: np.ndarray, drawn: Drawn) -> np.ndarray:
        values = np.round(self.median * np.exp(self.spread * normal(streams[:2], rows)), self.decimals)
        values = np.clip(values, self.smallest, self.largest)
        values[uniform(streams[2], rows) < self.missing_rate] = np.nan
        return values

    def to_cells(self, values: np.ndarray, number: int) -> pl.Series:
        cells = pl.Series(values, nan_to_null=True)
        return cells if self.decimals else cells.cast(pl.Int64)

    def effects(self, values: np.ndarray, table: np.ndarray) -> np.ndarray:
        unit = 10.0**-self.decimals
        standard = np.clip(np.log((values + unit) / (self.median + unit)) / self.spread, -2.5, 2.5)
        weights = self.effect(standard)[:, np.newaxis] if self.effect else np.zeros((len(values), 1))
        return np.nan_to_num(np.hstack([weights, standard[:, np.newaxis] * table[0, 1:]]))


@dataclasses.dataclass(frozen=True)
class Category(Column):
    """A column of `cardinality` distinct values, most of them in a long tail if there are many.

    text: of the values.  head_rate: fraction of the rows that have the most frequent value.
    tail_fraction: of the others, drawn evenly from all values; if it is None, by the cardinality.
    parent: a column to the left, whose value decides that of this one.
    at_most: a column to the left that bounds the number of the value.
    generations: the values that follow each other in the course of the log, each new when it comes, where there would
    otherwise be one; not for that of head_rate.
    signal_values: the most frequent values at a time, which have an effect.  signal: factor of their effects.
    """

    cardinality: int
    text: Text
    missing_rate: float = 0.0
    head_rate: float = 0.0
    tail_fraction: float | None = None
    parent: str = ""
    at_most: str = ""
    generations: int = 1
    signal_values: int = SIGNAL_VALUES
    signal: float = 1.0

    @property
    def table_rows(self) -> int:
        return self.signal_values * self.generations

    def draw_table(self, streams: Streams) -> np.ndarray:
        return self.signal * super().draw_table(streams)

    def draw(self, streams: np.ndarray, rows: np.ndarray, times: np.ndarray, drawn: Drawn) -> np.ndarray:
        """Return the values, int64 [n], the lowest ones the most frequent; -1 for a missing one."""
        index = drawn[self.parent].astype(np.uint64) if self.parent else rows
        has_head = self.head_rate > 0
        cardinality = self.cardinality - has_head
        slots = -(-cardinality // self.generations)
        tail = tail_fraction_of(self.cardinality) if self.tail_fraction is None else self.tail_fraction
        values = zipf(streams[:2], index, slots, tail)
        if self.generations > 1:
            phase = uniform(streams[2], values.astype(np.uint64))
            generation = (times * (self.generations - 1) + phase).astype(np.int64)
            values = np.minimum(self.generations * values + generation, cardinality - 1)
        if has_head:
            values = np.where(uniform(streams[3], rows) < self.head_rate, 0, values + 1)
        if self.at_most:
            values = np.minimum(values, drawn[self.at_most])
        values[uniform(streams[4], rows) < self.missing_rate] = -1
        return values

    def to_cells(self, values: np.ndarray, number: int) -> pl.Series:
        cells = self.text(number, np.maximum(values, 0).astype(np.uint32))
        return cells.set(pl.Series(values < 0), None) if self.missing_rate else cells


@dataclasses.dataclass(frozen=True)
class Tags(Column):
    """A column of zero to `largest_count` different values a row, with a separator between them.

    The effect of a row is the mean of those of its values.
    """

    cardinality: int
    largest_count: int
    separator: str
    text: Text

    @property
    def table_rows(self) -> int:
        return SIGNAL_VALUES

    def draw(self, streams: np.ndarray, rows: np.ndarray, times: np.ndarray, drawn: Drawn) -> np.ndarray:
        """Return the values, int64 [n, largest_count], -1 for none."""
        count = (uniform(streams[0], rows) * (self.largest_count + 1)).astype(np.int64)
        values = np.full((len(rows), self.largest_count), -1)
        for position in range(self.largest_count):
            tag = zipf(streams[position + 1 : position + 2], rows, self.cardinality, tail_fraction=0)
            is_there = (position < count) & (values != tag[:, np.newaxis]).all(axis=1)
            values[is_there, position] = tag[is_there]
        return values

    def to_cells(self, values: np.ndarray, number: int) -> pl.Series:
        texts = self.text(number, np.maximum(values, 0).astype(np.uint32).ravel()).set(
            pl.Series(values.ravel() < 0), None
        )
        columns = [
            texts.gather_every(self.largest_count, position).alias(str(position)) for position in range(values.shape[1])
        ]
        joined = pl.select(pl.concat_str(columns, separator=self.separator, ignore_nulls=True)).to_series()
        return joined.set(pl.Series((values < 0).all(axis=1)), None)

    def effects(self, values: np.ndarray, table: np.ndarray) -> np.ndarray:
        count = np.maximum((values >= 0).sum(axis=1), 1)
        return look_up(table, values).sum(axis=1) / count[:, np.newaxis]


class LogModel:
    """A factorization machine with known parameters over the columns of a log, and the rows whose clicks it decides.

    logit = bias + drift * (time - 1/2) + scale * (sum_i w_i + sum_{i<j} <v_i, v_j>), w and v those of the value of
    column i: of a category zero unless it is one of the most frequent; of a number w = effect(x) and v a vector of the
    column times x, its standardised logarithm.  With the scale the last term has a standard deviation of LOGIT_SPREAD.

    drift: of the logit, from the first row to the last.
    """

    def __init__(self, columns: Sequence[Column], click_rate: float, drift: float, seed: int):
        streams = Streams(seed)
        self._columns, self._drift = columns, drift
        self._streams = [streams.take(STREAMS_OF_A_COLUMN) for _ in columns]
        (self._click_stream,) = streams.take(1)
        self.tables = [column.draw_table(streams) for column in columns]
        rows = np.arange(CALIBRATION_ROWS, dtype=np.uint64)
        times = (rows + 0.5) / CALIBRATION_ROWS
        effects = self._add_effects(self.draw(rows, times))
        self.scale = LOGIT_SPREAD / effects.std()
        self.bias = find_bias(self._drift * (times - 0.5) + self.scale * effects, click_rate)

    def sample(self, rows: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Return the labels [n] of rows, uint64 [n], at these times [n], their probabilities [n], and their values."""
        drawn = self.draw(rows, times)
        logits = self.bias + self._drift * (times - 0.5) + self.scale * self._add_effects(drawn)
        probabilities = sigmoid(logits)
        return uniform(self._click_stream, rows) < probabilities, probabilities, drawn

    def draw(self, rows: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values of all columns, by name."""
        drawn: dict[str, np.ndarray] = {}
        for column, streams in zip(self._columns, self._streams):
            drawn[column.name] = column.draw(streams, rows, times, drawn)
        return drawn

    def to_cells(self, drawn: Drawn) -> dict[str, pl.Series]:
        """Return what draw() has drawn as it is written, by the names of the columns."""
        return {column.name: column.to_cells(drawn[column.name], number) for number, column in enumerate(self._columns)}

    def _add_effects(self, drawn):
        """Return the sum of all w and of the products of all pairs of v, [n]."""
        logits, vectors = np.zeros(1), []
        for column, table in zip(self._columns, self.tables):
            if column.table_rows:
                effects = column.effects(drawn[column.name], table)
                logits = logits + effects[:, 0]
                if column.interacts:
                    vectors.append(effects[:, 1:])
        return logits + second_order(vectors) if vectors else logits
