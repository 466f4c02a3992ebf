# SPDX-License-Identifier: Apache-2.0
"""Reports for the user: the resources that preprocessing takes, before it, and the statistics of the data, after it."""

import dataclasses
import pathlib
import shutil
import textwrap

import numpy as np
import polars as pl

from src.dataset_meta import META_NAME, DatasetMeta
from src.preprocessing.chunks import read_source
from src.preprocessing.schema import FieldSchema
from src.preprocessing.source import Source
from src.preprocessing.value_counts import COUNT, ValueCounts
from src.preprocessing.vocabulary import Vocabulary

SAMPLE_BYTES = 1 << 20
SPILL_ROW_BYTES, VALUE_BYTES = 170, 4
ROWS_PER_SECOND = 300_000  # measured on 2 cores; see benchmarks/preprocess.py
FREQUENT_IDS = 100  # of a field, that its drift is judged by; the others count as one
MOST_DRIFTING = 5
TERMINAL_COLUMNS = 80


@dataclasses.dataclass(frozen=True)
class FieldReport:
    """The statistics of a column of the raw rows, as in dataset_meta.json.

    distinct, missing_rate: cardinality and missing rate, of the training set.  The training set is that of the folder
    of --vocabulary_path if these rows have none.  kept: vocabulary size, the values with
    an id of their own.  oov_rate_*: fractions of rows with a value outside the vocabulary.  drift: total variation
    distance of the ids between the training and the test set, from 0 to 1.  Those four are None for a column that has
    no vocabulary.
    """

    name: str
    distinct: int
    missing_rate: float
    kept: int | None = None
    oov_rate_train: float | None = None
    oov_rate_test: float | None = None
    drift: float | None = None


class IdCounter:
    """The number of times that each of `count` ids from `first_id` on occurs; there may be none."""

    def __init__(self, first_id: int, count: int):
        self._first_id = first_id
        self.counts = np.zeros(count, np.int64)

    def add(self, ids: np.ndarray) -> None:
        """Count ids, of any shape, up to the last one; those before the first one are not counted."""
        own = ids[ids >= self._first_id] - self._first_id
        self.counts += np.bincount(own, minlength=len(self.counts))


def report_fields(
    counts: dict[str, ValueCounts], vocabulary: Vocabulary, test_counts: np.ndarray, train_rows: int
) -> tuple[FieldReport, ...]:
    """Return a FieldReport for each column that was counted.

    counts: of each column, in the training set, as the vocabulary has them.  test_counts: by id of it, int64 [V].
    """
    table = vocabulary.table.with_columns(pl.Series("test", test_counts))
    reports = []
    for name, values in counts.items():
        report = FieldReport(name, values.distinct, values.missing / max(train_rows, 1))
        ids = table.filter(field=name)
        reports.append(_with_ids(report, ids) if ids.height else report)
    return tuple(reports)


def _with_ids(report: FieldReport, ids: pl.DataFrame) -> FieldReport:
    """Return a report with the statistics of the ids of its field; those of the test set only if there is one."""
    train, test = ids[COUNT].to_numpy(), ids["test"].to_numpy()
    train = train / max(train.sum(), 1)
    report = dataclasses.replace(report, kept=ids.height - 1, oov_rate_train=float(train[0]))
    if not test.sum():
        return report
    test = test / test.sum()
    frequent = np.abs(train - test)[1 : FREQUENT_IDS + 1].sum()
    rest = abs((train - test)[FREQUENT_IDS + 1 :].sum() + (train - test)[0])
    return dataclasses.replace(report, oov_rate_test=float(test[0]), drift=float(frequent + rest) / 2)


def describe_estimate(
    source: Source, schema: FieldSchema, id_count: int, memory_limit: float, folder: pathlib.Path
) -> str:
    """Return an estimate of time, memory and disk, from the size of the text and its first lines.

    id_count: sparse and dense fields of a row.  memory_limit: GiB.  folder: on the disk that is written.
    """
    first = next(read_source(source, schema, SAMPLE_BYTES), None)
    rows = round(first.end.lines / first.fraction) if first else 0
    disk = rows * (SPILL_ROW_BYTES + VALUE_BYTES * (id_count + 1))
    memory = min(memory_limit, max(0.5, 8 * source.text_bytes / 2**30))
    text = (
        f"about {rows:,} rows; preprocessing takes about {rows / ROWS_PER_SECOND:,.0f} s on 2 cores, "
        f"{memory:.1f} GiB of memory and at most {disk / 1e9:.1f} GB of disk, of which {disk / 2e9:.1f} GB remain in "
        f"use ({shutil.disk_usage(folder).free / 1e9:.1f} GB are free)"
    )
    return textwrap.fill(text, TERMINAL_COLUMNS)


def describe_dataset(meta: DatasetMeta, folder: pathlib.Path, expected_lines: int) -> str:
    """Return the summary that is printed at the end of preprocessing.  expected_lines: 0 for any number."""
    lines = [f"{folder / META_NAME}: {meta.lines:,} lines"]
    if expected_lines not in (0, meta.lines):
        note = (
            f"note: --train_line_count expects {expected_lines:,} lines, by default those of all of Criteo; for other "
            "data set it to 0"
        )
        lines.append(textwrap.fill(note, TERMINAL_COLUMNS))
    lines += [f"malformed    {count:12,} lines ({reason})" for reason, count in meta.bad_lines.items()]
    if meta.first_bad_lines:
        first = ", ".join(_describe_bad_line(*line) for line in meta.first_bad_lines)
        lines.append(textwrap.fill(f"first        {first}", TERMINAL_COLUMNS, subsequent_indent=" " * 13))
    if meta.left_out:
        lines.append(f"left out     {meta.left_out:12,} rows without a click, by --negative_keep_rate")
    lines += [
        f"{name:12} {split.rows:12,} rows, {split.positives:,} clicks ({split.positives / max(split.rows, 1):.4f}), "
        f"{len(split.files)} shard{'s' if len(split.files) != 1 else ''}"
        for name, split in meta.splits.items()
    ]
    lines.append(
        f"vocabulary   {meta.vocabulary_size:12,} ids, {len(meta.sparse_fields)} sparse fields, "
        f"{len(meta.dense_fields)} dense fields"
    )
    return "\n".join([*lines, "", *_describe_fields(meta.fields)])


def _describe_bad_line(number, reason, file=""):
    return f"{file + ':' if file else ''}{number} ({reason})"


def _describe_fields(fields):
    width = max([5, *(len(field["name"]) for field in fields)])
    lines = [f"{'field':{width}}  cardinality  vocabulary  missing rate  OOV rate train    test   drift"]
    for field in fields:
        name, distinct, missing_rate = field["name"], field["distinct"], field["missing_rate"]
        lines.append(
            f"{name:{width}} {distinct:12,} {_number(field['kept'], '11,')} {missing_rate:13.4f} "
            f"{_number(field['oov_rate_train'], '15.4f')} {_number(field['oov_rate_test'], '7.4f')} "
            f"{_number(field['drift'], '7.4f')}"
        )
    drifting = sorted((field for field in fields if field["drift"]), key=lambda field: -field["drift"])[:MOST_DRIFTING]
    if drifting:
        lines.append("largest drift from train to test: " + ", ".join(field["name"] for field in drifting))
    return lines


def _number(value, form):
    return " " * int(form.rstrip("f,").split(".")[0]) if value is None else format(value, form)
