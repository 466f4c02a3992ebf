# SPDX-License-Identifier: Apache-2.0
"""Encoded rows with multi-valued fields and weights, and a MindRecord folder of them that no preprocessing has made."""

import numpy as np

from src.common.encoded_rows import NO_VALUE
from src.dataset_meta import SPLITS, DatasetMeta, SplitMeta
from src.preprocessing.record_writer import SplitWriter

LENGTHS = {"tags": 3, "ads": 1, "long": 9}
DENSE = 2  # fields


def draw_lists(random, row_count, lengths, vocabulary_size):
    """Return ids int32 [n, sum of lengths]; of each field a row has from none to all values."""
    blocks = []
    for length in lengths:
        ids = random.integers(0, vocabulary_size, (row_count, length)).astype(np.int32)
        ids[np.arange(length) >= random.integers(0, length, (row_count, 1), endpoint=True)] = NO_VALUE
        blocks.append(ids)
    return np.hstack(blocks)


def draw_rows(start, end):
    """Return the columns of records of the rows from `start` to `end`; a row is the same in every call."""
    rows = [_draw_row(number) for number in range(start, end)] or [_draw_row(0)]
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return columns if start < end else {name: column[:0] for name, column in columns.items()}


def _draw_row(number):
    random = np.random.default_rng([8, number])
    return {
        "sparse_ids": np.array([number, number % 7], np.int32),
        "list_ids": draw_lists(random, 1, LENGTHS.values(), 1000)[0],
        "dense_values": random.normal(size=DENSE).astype(np.float32),
        "label": np.float32(number % 3 == 0),
        "weight": np.float32(random.random() * 3),
    }


def write_folder(folder, row_counts, rows_per_record, *, has_single=True):
    """Write the first rows of draw_rows as splits; return the DatasetMeta.

    row_counts: of SPLITS.  has_single: whether there are fields that are not multi-valued.
    """
    folder.mkdir()
    splits = {}
    for split, row_count in zip(SPLITS, row_counts):
        writer = SplitWriter(folder, split, rows_per_record, tuple(LENGTHS.values()))
        columns = draw_rows(0, row_count)
        writer.add(columns if has_single else {name: columns[name] for name in columns if name != "sparse_ids"})
        splits[split] = writer.finish()
    return _describe(folder, splits, rows_per_record, ("row", "other") if has_single else ())


def _describe(folder, splits: dict[str, SplitMeta], rows_per_record, single) -> DatasetMeta:
    return DatasetMeta(
        path=folder,
        sparse_fields=(*single, *LENGTHS),
        dense_fields=("D1", "D2"),
        vocabulary_size=1000,
        vocabulary_sha256="",
        dense_encoding="max",
        dense_scales=(),
        rows_per_record=rows_per_record,
        lines=sum(split.rows for split in splits.values()),
        bad_lines={},
        first_bad_lines=(),
        splits=splits,
        fields=(),
        settings={},
        list_lengths=LENGTHS,
    )
