# SPDX-License-Identifier: Apache-2.0
"""Pack encoded rows into MindRecord shards."""

import contextlib
import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from mindspore.mindrecord import FileWriter

from src.common.files import file_sha256
from src.dataset_meta import PADDING_LABEL, ShardFile, SplitMeta

SHARD_ROWS = 2_000_000
HEADER_BYTES = 1 << 20
PAGE_BYTES = 4 << 20
LARGEST_PAGE_BYTES = 256 << 20
PADDING = {"sparse_ids": 0, "dense_values": 0, "label": PADDING_LABEL}


class SplitWriter:
    """Write the rows of one split, in the order they come, as shards of whole records.

    A record holds sparse_ids int32 [R, S], dense_values float32 [R, N] (none if N is 0) and label float32 [R], each as
    its bytes: MindRecord takes those six times faster than arrays.  The last record is filled up with rows of
    PADDING_LABEL.  The bytes of a shard depend on its rows alone, not on how they came.
    """

    def __init__(self, folder, split, rows_per_record, columns):
        """columns: names of those of a record."""
        self._folder, self._split, self._rows_per_record = pathlib.Path(folder), split, rows_per_record
        self._schema = {name: {"type": "bytes"} for name in columns}
        self._shard_records = max(SHARD_ROWS // rows_per_record, 1)
        self._waiting, self._waiting_rows = [], 0
        self._shards = []  # name, records, bytes and the SHA-256 to come
        self._hasher = ThreadPoolExecutor(max_workers=1)
        self._writer, self._writer_records = None, 0
        self._rows = self._positives = 0

    def add(self, columns):
        """Append rows: a dict of sparse_ids [n, S], dense_values [n, N] if N > 0, and label [n]."""
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

    def close(self):
        """Pad and write what is left; the digest of the last shard is still being made."""
        padded_rows = -self._waiting_rows % self._rows_per_record
        if self._waiting:
            some = self._waiting[0]
            self._waiting.append({name: _fill(column, padded_rows, PADDING[name]) for name, column in some.items()})
            self._waiting_rows += padded_rows
            self._write_group()
        self._close_shard()

    def meta(self):
        """Return the SplitMeta; after close, which a writer without rows does not need."""
        files = tuple(ShardFile(*shard, sha256.result()) for *shard, sha256 in self._shards)
        self._hasher.shutdown()
        records = sum(file.records for file in files)
        return SplitMeta(self._rows, self._positives, records * self._rows_per_record - self._rows, records, files)

    def _group_rows(self, columns):
        """Return how many rows, whole records, go to the writer in the next call.

        A page of the file is filled by one call of the writer, so the calls must be the same for the same rows.
        """
        row_bytes = sum(column[:1].nbytes for column in columns.values())
        group_records = max(PAGE_BYTES // max(row_bytes * self._rows_per_record, 1), 1)
        return min(group_records, self._shard_records - self._writer_records) * self._rows_per_record

    def _write_group(self):
        """Write the waiting rows, whole records, in one call, to the shard that is open or a new one."""
        size = self._rows_per_record
        columns = {name: _join([part[name] for part in self._waiting]) for name in self._waiting[0]}
        records = [
            {name: column[start : start + size].tobytes() for name, column in columns.items()}
            for start in range(0, self._waiting_rows, size)
        ]
        self._waiting, self._waiting_rows = [], 0
        if self._writer is None:
            self._open_shard(sum(map(len, records[0].values())))
        with _clear_errors(self._path):
            self._writer.write_raw_data(records)
        self._writer_records += len(records)
        if self._writer_records >= self._shard_records:
            self._close_shard()

    def _open_shard(self, record_bytes):
        self._path = self._folder / f"{self._split}_input_part.mindrecord{len(self._shards):02d}"
        page_bytes = min(max(2 * PAGE_BYTES, 1 << (2 * record_bytes).bit_length()), LARGEST_PAGE_BYTES)
        with _clear_errors(self._path):
            self._writer = FileWriter(str(self._path), shard_num=1)
            self._writer.set_header_size(HEADER_BYTES)
            self._writer.set_page_size(page_bytes)
            self._writer.add_schema(self._schema, "deepfm")

    def _close_shard(self):
        if self._writer is None:
            return
        with _clear_errors(self._path):
            self._writer.commit()
        sha256 = self._hasher.submit(file_sha256, self._path)
        self._shards.append((self._path.name, self._writer_records, self._path.stat().st_size, sha256))
        self._writer, self._writer_records = None, 0


@contextlib.contextmanager
def _clear_errors(path):
    """Turn MindRecord's errors, of many lines, into an OSError of one."""
    try:
        yield
    except RuntimeError as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise OSError(f"{path}: MindRecord could not write it ({reason}); is the disk full?") from error


def _join(parts):
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _fill(column, rows, value):
    return np.full((rows, *column.shape[1:]), value, column.dtype)
