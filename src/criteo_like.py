# SPDX-License-Identifier: Apache-2.0
"""Make rows that look like Criteo's, with a click model that is known.

The cardinalities of the 26 categories are those published for the Kaggle Display Advertising Challenge, of 45,840,617
rows.  Values follow Zipf's law; columns of many values have a long tail of rare ones.  Integers are lognormal.  Clicks
are drawn from a planted factorization machine over the integers and the commonest categories, so the best possible AUC
is known.

Every cell is a function of (seed, row, column): the same bytes for the same seed, whatever the chunk size.
"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter()

import argparse
import json
import pathlib
from typing import NamedTuple

import numpy as np
import polars as pl

from src.common.errors import UserError, run_main
from src.common.output_paths import Kind, Output, prepared
from src.common.progress import Progress
from src.common.splitmix import splitmix64, to_unit_interval
from src.evaluation.metrics import log_loss, roc_auc
from src.preprocessing.raw_columns import to_texts


class IntegerColumn(NamedTuple):
    """A column of lognormal integers; `spread` is the standard deviation of the logarithm."""

    median: int
    spread: float
    smallest: int
    largest: int
    missing_rate: float


class CategoryColumn(NamedTuple):
    """A column of `cardinality` distinct values, the first of them the commonest."""

    cardinality: int
    missing_rate: float


INTEGER_COLUMNS = tuple(
    IntegerColumn(*column)
    for column in (
        (1, 1.2, 0, 5775, 0.45),
        (3, 2.0, -3, 257675, 0.0),
        (6, 1.3, 0, 65535, 0.21),
        (4, 1.0, 0, 969, 0.22),
        (2800, 2.2, 0, 23159456, 0.03),
        (32, 1.6, 0, 431037, 0.22),
        (3, 1.5, 0, 56311, 0.04),
        (7, 1.1, 0, 6047, 0.0),
        (38, 1.5, 0, 29019, 0.04),
        (1, 0.5, 0, 11, 0.45),
        (1, 0.9, 0, 231, 0.04),
        (1, 1.0, 0, 4008, 0.77),
        (4, 1.2, 0, 7393, 0.22),
    )
)
CATEGORY_COLUMNS = tuple(
    CategoryColumn(*column)
    for column in (
        (1460, 0.0),
        (583, 0.0),
        (10131227, 0.03),
        (2202608, 0.03),
        (305, 0.0),
        (24, 0.12),
        (12517, 0.0),
        (633, 0.0),
        (3, 0.0),
        (93145, 0.0),
        (5683, 0.0),
        (8351593, 0.03),
        (3194, 0.0),
        (27, 0.0),
        (14992, 0.0),
        (5461306, 0.03),
        (10, 0.0),
        (5652, 0.0),
        (2173, 0.44),
        (4, 0.44),
        (7046547, 0.03),
        (18, 0.76),
        (15, 0.0),
        (286181, 0.03),
        (105, 0.44),
        (142572, 0.44),
    )
)
CHUNK_ROWS = 100_000
LARGE_CARDINALITY = 50_000
TAIL_SHARE = 0.45  # of a large column's rows: drawn evenly from all its values
CLICK_RATE = 0.256
CALIBRATION_ROWS = 50_000
SIGNAL_VALUES = 8  # of each category: what 200,000 rows can teach
LATENT_SIZE = 2
LINEAR_SCALE = 0.2
LATENT_SCALE = 0.5
LATENT_INTEGERS = (0, 5, 6, 10)
LATENT_CATEGORIES = (1, 4, 5, 7, 8, 13, 16, 19, 22)


def main(argv=None):
    arguments = parse_arguments(argv)
    with prepared([Output("out", arguments.out, Kind.FILE)]):
        scores = write_rows(arguments.out, arguments.rows, arguments.seed)
    print(
        f"{arguments.out}: {scores['rows']:,} rows, {scores['clicks']:,} clicks; best possible: "
        f"AUC {scores['auc']:.5f}, log loss {scores['log_loss']:.5f}"
    )


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m src.criteo_like",
        description="Write Criteo-like rows.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=200_000, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same bytes")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default="data/origin_data/train.txt",
        help="the file to write; the best possible scores go to a .best.json beside it",
    )
    arguments = parser.parse_args(argv)
    if arguments.rows < 1 or arguments.seed < 0:
        raise UserError(f"--rows={arguments.rows} --seed={arguments.seed}: rows is at least 1, seed at least 0")
    return arguments


def write_rows(path, row_count, seed, chunk_rows=CHUNK_ROWS):
    """Write `row_count` rows to `path` and the best possible scores to best_scores_path(path); return those scores."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = ClickModel(seed)
    labels = np.empty(row_count, np.int8)
    probabilities = np.empty(row_count, np.float32)
    progress = Progress("write", row_count, leave=False)
    with open(path, "wb") as out:
        for start in range(0, row_count, chunk_rows):
            rows = np.arange(start, min(start + chunk_rows, row_count), dtype=np.uint64)
            chunk = slice(start, start + len(rows))
            frame, probabilities[chunk] = model.sample(rows)
            labels[chunk] = frame["label"].to_numpy()
            frame.write_csv(out, separator="\t", include_header=False, null_value="", quote_style="never")
            progress.advance(len(rows))
    progress.close()
    scores = {
        "rows": row_count,
        "seed": seed,
        "clicks": int(labels.sum()),
        "auc": roc_auc(labels, probabilities),
        "log_loss": log_loss(labels, probabilities),
    }
    best_scores_path(path).write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    return scores


def best_scores_path(path):
    """Return where write_rows(path) puts the scores of the true probabilities: no model beats them but by luck."""
    return path.with_name(path.name + ".best.json")


class ClickModel:
    """A factorization machine with known parameters, and the rows that it scores.

    logit = bias + sum_i w_i + sum_{i<j} <v_i, v_j>.  A category contributes the w and v of its value, zero unless the
    value is one of the commonest; an integer the w and v of its column times its standardised logarithm.
    """

    def __init__(self, seed):
        self._stream_seeds = splitmix64(seed, np.arange(1000, dtype=np.uint64))
        self._next_stream = iter(range(1000))
        self._integer_streams = [self._take_streams(3) for _ in INTEGER_COLUMNS]
        self._category_streams = [self._take_streams(3) for _ in CATEGORY_COLUMNS]
        (self._click_stream,) = self._take_streams(1)
        self._integer_weights = LINEAR_SCALE * self._normal_parameters(len(INTEGER_COLUMNS))
        self._category_weights = LINEAR_SCALE * self._normal_parameters(len(CATEGORY_COLUMNS), SIGNAL_VALUES)
        self._integer_vectors = LATENT_SCALE * self._normal_parameters(len(LATENT_INTEGERS), LATENT_SIZE)
        self._category_vectors = LATENT_SCALE * self._normal_parameters(
            len(LATENT_CATEGORIES), SIGNAL_VALUES, LATENT_SIZE
        )
        self._bias = self._find_bias()

    def sample(self, rows):
        """Return the rows of these numbers, uint64 [n], as a frame of raw columns, and their probabilities [n]."""
        integers, ranks = self._integers(rows), self._category_ranks(rows)
        probabilities = _sigmoid(self._bias + self._scores(integers, ranks))
        columns = {"label": (self._uniform(self._click_stream, rows) < probabilities).astype(np.int8)}
        for number, values in enumerate(integers, 1):
            columns[f"I{number}"] = pl.Series(values, nan_to_null=True).cast(pl.Int64)
        for field, field_ranks in enumerate(ranks):
            texts = _category_texts(field, np.maximum(field_ranks, 0).astype(np.uint32))
            columns[f"C{field + 1}"] = texts.set(pl.Series(field_ranks < 0), None)
        return pl.DataFrame(columns), probabilities

    def _integers(self, rows):
        """Draw the integer columns: a list of float64 [n], NaN where there is none."""
        drawn = []
        for column, streams in zip(INTEGER_COLUMNS, self._integer_streams):
            normal = self._normal(streams[:2], rows)
            values = np.floor((column.median + 0.7) * np.exp(column.spread * normal)) + column.smallest
            values = np.minimum(values, column.largest)
            values[self._uniform(streams[2], rows) < column.missing_rate] = np.nan
            drawn.append(values)
        return drawn

    def _category_ranks(self, rows):
        """Draw the categories: a list of int64 [n], 0 for the column's commonest value, -1 where there is none."""
        drawn = []
        for column, streams in zip(CATEGORY_COLUMNS, self._category_streams):
            uniform = self._uniform(streams[0], rows)
            ranks = np.exp(uniform * np.log(column.cardinality + 1)).astype(np.int64) - 1
            if column.cardinality > LARGE_CARDINALITY:
                tail = self._uniform(streams[1], rows) < TAIL_SHARE
                ranks[tail] = (uniform[tail] * column.cardinality).astype(np.int64)
            ranks = np.minimum(ranks, column.cardinality - 1)
            ranks[self._uniform(streams[2], rows) < column.missing_rate] = -1
            drawn.append(ranks)
        return drawn

    def _scores(self, integers, ranks):
        """Return the logits [n] without the bias."""
        standard = [_standardise(column, values) for column, values in zip(INTEGER_COLUMNS, integers)]
        scores = sum(weight * values for weight, values in zip(self._integer_weights, standard))
        scores = scores + sum(
            _look_up(weights, field_ranks) for weights, field_ranks in zip(self._category_weights, ranks)
        )
        vectors = [np.outer(standard[column], vector) for column, vector in zip(LATENT_INTEGERS, self._integer_vectors)]
        vectors += [_look_up(table, ranks[field]) for field, table in zip(LATENT_CATEGORIES, self._category_vectors)]
        square_of_sum = np.square(sum(vectors))
        sum_of_squares = sum(np.square(vector) for vector in vectors)
        return scores + 0.5 * (square_of_sum - sum_of_squares).sum(axis=1)

    def _find_bias(self):
        """Return the bias at which CLICK_RATE of the rows are clicks, by bisection over the first rows."""
        rows = np.arange(CALIBRATION_ROWS, dtype=np.uint64)
        scores = self._scores(self._integers(rows), self._category_ranks(rows))
        low, high = -20.0, 20.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if _sigmoid(middle + scores).mean() < CLICK_RATE else (low, middle)
        return low

    def _take_streams(self, count):
        return [self._stream_seeds[next(self._next_stream)] for _ in range(count)]

    def _normal_parameters(self, *shape):
        index = np.arange(np.prod(shape), dtype=np.uint64)
        return self._normal(self._take_streams(2), index).reshape(shape)

    @staticmethod
    def _uniform(stream, index):
        return to_unit_interval(splitmix64(stream, index))

    def _normal(self, streams, index):
        """Draw standard normal values [n] by the method of Box and Muller."""
        radius = np.sqrt(-2 * np.log1p(-self._uniform(streams[0], index)))
        return radius * np.cos(2 * np.pi * self._uniform(streams[1], index))


def _standardise(column, values):
    """Map integers to a logarithm with mean about 0 and deviation about 1, clipped; a missing one to 0."""
    logarithm = np.log1p(values - column.smallest) - np.log1p(column.median)
    return np.nan_to_num(np.clip(logarithm / column.spread, -2, 2))


def _look_up(table, ranks):
    """Return the table's row for each rank, and zeros for a rank that the table does not hold."""
    padded = np.concatenate([table, np.zeros_like(table[:1])])
    return padded[np.where((ranks >= 0) & (ranks < len(table)), ranks, len(table))]


def _category_texts(field, ranks):
    """Map ranks, uint32 [n], to 8 hex digits each; a bijection for each field (the finaliser of MurmurHash3)."""
    codes = ranks + np.uint32(0x9E3779B9 * (field + 1) & 0xFFFFFFFF)
    codes ^= codes >> np.uint32(16)
    codes *= np.uint32(0x85EBCA6B)
    codes ^= codes >> np.uint32(13)
    codes *= np.uint32(0xC2B2AE35)
    codes ^= codes >> np.uint32(16)
    return to_texts(pl.Series(codes))


def _sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


if __name__ == "__main__":
    run_main(main)
