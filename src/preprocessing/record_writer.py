# SPDX-License-Identifier: Apache-2.0
"""Pack encoded rows into MindRecord shards."""

import contextlib
import pathlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from mindspore.mindrecord import FileWriter

from src.common.files import file_sha256
from src.dataset_meta import PADDING_LABEL, ShardFile, SplitMeta
from src.preprocessing import sizes

HEADER_BYTES = 1 << 20
PAGE_BYTES = 4 << 20
LARGEST_PAGE_BYTES = 256 << 20
PADDING = {"sparse_ids": 0, "dense_values": 0, "label": PADDING_LABEL}


class SplitWriter:
    """Write the rows of one split, in the order in which they are added, as shards of complete records.

    A record holds sparse_ids int32 [R, S], dense_values float32 [R, N] (none if N is 0) and label float32 [R], each as
    its bytes: MindRecord takes those six times faster than arrays.  The last record is padded with rows of
    PADDING_LABEL.  The bytes of a shard depend on its rows alone, not on the calls that add them.
    """

    def __init__(
        self, folder: pathlib.Path, split: str, rows_per_record: int, *, shard_records: int = 0, first_shard: int = 0
    ):
        """shard_records: of a full shard; 0: that of sizes.py.  first_shard: the number of the first one to write."""
        self._folder, self._split, self._rows_per_record = pathlib.Path(folder), split, rows_per_record
        self._shard_records = shard_records or sizes.shard_records(rows_per_record)
        self._first_shard = first_shard
        self._waiting: list[dict[str, np.ndarray]] = []
        self._waiting_rows = 0
        self._shards: list[Future[ShardFile]] = []
        self._hasher = ThreadPoolExecutor(max_workers=1)
        self._writer, self._writer_records = None, 0
        self._rows = self._positives = 0

    def add(self, columns: dict[str, np.ndarray]) -> None:
        """Append rows: sparse_ids [n, S], dense_values [n, N] if N > 0, and label [n]; each time the same columns."""
        row_count, start = len(columns["label"]), 0
        self._rows += row_count
        self._positives += int((columns["label"] == 1).sum())
        while start < row_count:
            end = min(start + self._group_rows(columns) - self._waiting_rows, row_count)
            self._waiting.append({name: column[start:end] for name, column in columns.items()})
            self._waiting_rows += end - start
            if self._waiting_rows == self._group_rows(columns):
                self._write_group()
            start = end

    def finish(self) -> SplitMeta:
        """Pad and write the remaining rows; return the metadata of the split."""
        padded_rows = -self._waiting_rows % self._rows_per_record
        if self._waiting:
            columns = self._waiting[0]
            self._waiting.append(
                {name: _padding(column, padded_rows, PADDING[name]) for name, column in columns.items()}
            )
            self._waiting_rows += padded_rows
            self._write_group()
        self._close_shard()
        files = tuple(shard.result() for shard in self._shards)
        self._hasher.shutdown()
        return SplitMeta(self._rows, self._positives, padded_rows, sum(file.records for file in files), files)

    def _group_rows(self, columns):
        """Return the number of rows, of complete records, of the next call of the MindRecord writer.

        A page of the file is filled by one call of the writer, so the calls must be the same for the same rows.
        """
        row_bytes = sum(column[:1].nbytes for column in columns.values())
        group_records = max(PAGE_BYTES // max(row_bytes * self._rows_per_record, 1), 1)
        return min(group_records, self._shard_records - self._writer_records) * self._rows_per_record

    def _write_group(self):
        """Write the waiting rows, complete records, in one call, to the open shard or a new one."""
        size = self._rows_per_record
        columns = {name: _concatenate([rows[name] for rows in self._waiting]) for name in self._waiting[0]}
        records = [
            {name: column[start : start + size].tobytes() for name, column in columns.items()}
            for start in range(0, self._waiting_rows, size)
        ]
        self._waiting, self._waiting_rows = [], 0
        if self._writer is None:
            self._open_shard(records[0])
        with _clear_errors(self._path):
            self._writer.write_raw_data(records)
        self._writer_records += len(records)
        if self._writer_records >= self._shard_records:
            self._close_shard()

    def _open_shard(self, first_record):
        number = self._first_shard + len(self._shards)
        self._path = self._folder / f"{self._split}_input_part.mindrecord{number:02d}"
        record_bytes = sum(map(len, first_record.values()))
        page_bytes = min(max(2 * PAGE_BYTES, 1 << (2 * record_bytes).bit_length()), LARGEST_PAGE_BYTES)
        with _clear_errors(self._path):
            self._writer = FileWriter(str(self._path), shard_num=1)
            self._writer.set_header_size(HEADER_BYTES)
            self._writer.set_page_size(page_bytes)
            self._writer.add_schema({name: {"type": "bytes"} for name in first_record}, "deepfm")

    def _close_shard(self):
        if self._writer is None:
            return
        with _clear_errors(self._path):
            self._writer.commit()
        self._shards.append(self._hasher.submit(_shard_file, self._path, self._writer_records))
        self._writer, self._writer_records = None, 0


def _shard_file(path: pathlib.Path, records: int) -> ShardFile:
    return ShardFile(path.name, records, path.stat().st_size, file_sha256(path))


@contextlib.contextmanager
def _clear_errors(path: pathlib.Path) -> Iterator[None]:
    """Turn MindRecord's errors, of many lines, into an OSError of one."""
    try:
        yield
    except RuntimeError as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise OSError(f"{path}: MindRecord could not write it ({reason}); is the disk full?") from error


def _concatenate(chunks):
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def _padding(column, rows, value):
    return np.full((rows, *column.shape[1:]), value, column.dtype)
