# SPDX-License-Identifier: Apache-2.0
"""The last stage: rows of the spill, sorted by key, to the MindRecord shards of each split."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from src.common import records
from src.common.progress import Progress
from src.dataset_meta import SPLITS, SplitMeta
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.field_report import IdCounter
from src.preprocessing.parallel import parallel_map, prefetch
from src.preprocessing.schema import KEY, LABEL, WEIGHT
from src.preprocessing.sizes import ENCODED_ROWS
from src.preprocessing.splits import KeySplits

WORKERS = 3  # threads that encode; one more than two cores keeps both busy


@dataclasses.dataclass(frozen=True)
class EncodedRows:
    """Rows in the order of their keys.

    keys: uint64 [n].  columns: those of a record by name, as SplitWriter takes them.
    """

    keys: np.ndarray
    columns: dict[str, np.ndarray]


def write_splits(
    buckets: Iterable[pl.DataFrame],
    folder: pathlib.Path,
    encoder: FeatureEncoder,
    splits: KeySplits,
    rows_per_record: int,
    row_count: int,
    test_ids: IdCounter,
) -> dict[str, SplitMeta]:
    """Encode buckets of rows and write them; return the SplitMeta of each split.

    row_count: of all buckets, for the progress.  test_ids: counts the ids of the test split.
    """
    # MindSpore takes seconds to import: not before the rows are known to be good.
    from src.preprocessing.record_writer import SplitWriter

    list_lengths = tuple(encoder.list_lengths.values())
    writers = {split: SplitWriter(folder, split, rows_per_record, list_lengths) for split in SPLITS}
    progress = Progress("write", row_count)
    for rows in encode_buckets(buckets, encoder):
        for split, part in splits.split(rows.keys).items():
            columns = {name: column[part] for name, column in rows.columns.items()}
            if split == "test":
                add_ids(test_ids, columns)
            writers[split].add(columns)
        progress.advance(len(rows.keys))
    metas = {split: writer.finish() for split, writer in writers.items()}
    progress.close()
    return metas


def encode_buckets(buckets: Iterable[pl.DataFrame], encoder: FeatureEncoder) -> Iterator[EncodedRows]:
    """Yield the rows of the buckets, encoded, ENCODED_ROWS at a time or fewer."""

    chunks = (rows for bucket in prefetch(buckets) for rows in bucket.iter_slices(ENCODED_ROWS))
    return parallel_map(lambda rows: encode_rows(rows, encoder), chunks, WORKERS)


def encode_rows(rows: pl.DataFrame, encoder: FeatureEncoder) -> EncodedRows:
    """Return the EncodedRows of rows of the spill."""
    sparse_ids, dense_values = encoder.encode(rows)
    single = len(encoder.sparse_names) - len(encoder.list_lengths)
    columns = {}
    if single:
        columns[records.SPARSE_IDS] = sparse_ids[:, :single]
    if encoder.list_lengths:
        columns[records.LIST_IDS] = sparse_ids[:, single:]
    if encoder.dense_scales:
        columns[records.DENSE_VALUES] = dense_values
    columns[records.LABEL] = rows[LABEL].to_numpy().astype(np.float32)
    if WEIGHT in rows.columns:
        columns[records.WEIGHT] = rows[WEIGHT].to_numpy()
    return EncodedRows(rows[KEY].to_numpy(), columns)


def add_ids(counter: IdCounter, columns: dict[str, np.ndarray]) -> None:
    """Count the ids of encoded rows; columns: those of a record by name."""
    for name in (records.SPARSE_IDS, records.LIST_IDS):
        if name in columns:
            counter.add(columns[name])
