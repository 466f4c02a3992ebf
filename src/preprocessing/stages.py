# SPDX-License-Identifier: Apache-2.0
"""The stages that see all rows, read, count and write, and their form in a single process."""

import dataclasses
import pathlib
from typing import Protocol

import numpy as np

from src.common.progress import Progress
from src.dataset_meta import SplitMeta
from src.preprocessing.boundaries import TimeSplit
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.field_report import IdCounter
from src.preprocessing.lists import counted_values
from src.preprocessing.reading import RowSummary, read_rows
from src.preprocessing.schema import FieldSchema
from src.preprocessing.sizes import bucket_bits, chunk_bytes, count_batch
from src.preprocessing.source import Source
from src.preprocessing.spill import Spill
from src.preprocessing.splits import KeySplits
from src.preprocessing.value_counts import ValueCounts, count_values
from src.preprocessing.writing import write_splits


@dataclasses.dataclass(frozen=True)
class Job:
    """The input of the stages.

    time_split: if the last rows are the validation and the test split; splits lacks their boundaries then.
    spill: path of the folder of the parsed rows, or its address in an object store.
    identity: everything that these depend on, a dict for JSON.
    memory_limit: GiB of each process.
    """

    source: Source
    schema: FieldSchema
    splits: KeySplits
    time_split: TimeSplit | None
    spill: str
    identity: dict
    max_bad_line_ratio: float
    threshold: int
    rows_per_record: int
    memory_limit: float

    def threshold_of(self, column: str) -> int:
        """Return the count above which a value of a column is needed: of numbers all are."""
        return self.threshold if column in self.schema.sparse_names else 0


@dataclasses.dataclass(frozen=True)
class WrittenSplits:
    """The shards of each split, and the number of times that each id of the vocabulary occurs in the test set."""

    metas: dict[str, SplitMeta]
    test_counts: np.ndarray


class Stages(Protocol):
    """The stages of a Job, in this order; each continues where an earlier run has ended."""

    def read(self) -> RowSummary:
        """Parse the rows that have not been parsed yet; UserError if the file is empty or has too many bad ones."""

    def count(self, rows: RowSummary) -> dict[str, ValueCounts]:
        """Return the ValueCounts of the training set by column."""

    def write(self, encoder: FeatureEncoder, rows: RowSummary, folder: pathlib.Path) -> WrittenSplits:
        """Encode all rows and write the shards into a folder."""


class SingleProcess:
    """The Stages in this process."""

    def __init__(self, job: Job):
        self._job = job
        self._spill = Spill(pathlib.Path(job.spill), job.identity)

    def read(self) -> RowSummary:
        """Parse the rows that have not been parsed yet; UserError if the file is empty or has too many bad ones."""
        job = self._job
        size, splits = chunk_bytes(job.memory_limit), job.splits
        if job.time_split is not None:
            splits = job.time_split.place(splits, job.source, job.schema, size, count_batch(job.memory_limit))
        return read_rows(job.source, job.schema, splits, self._spill, size, job.max_bad_line_ratio)

    def count(self, rows: RowSummary) -> dict[str, ValueCounts]:
        """Return the ValueCounts of the training set by column."""
        schema, batch = self._job.schema, count_batch(self._job.memory_limit)
        counts, names = {}, schema.counted_names
        progress = Progress("count", len(names), "fields")
        for name in names:
            values = (counted_values(chunk, schema.separators) for chunk in self._spill.column(name, rows.train_rows))
            counts[name] = count_values(values, self._job.threshold_of(name), batch)
            progress.advance(1)
        progress.close()
        return counts

    def write(self, encoder: FeatureEncoder, rows: RowSummary, folder: pathlib.Path) -> WrittenSplits:
        """Encode all rows and write the shards into a folder."""
        job = self._job
        test_ids = IdCounter(rows.largest_id + 1, len(encoder.vocabulary))
        buckets = self._spill.buckets(bucket_bits(job.source.text_bytes, rows.good_lines, job.memory_limit))
        metas = write_splits(buckets, folder, encoder, job.splits, job.rows_per_record, rows.good_lines, test_ids)
        return WrittenSplits(metas, test_ids.counts)
