# SPDX-License-Identifier: Apache-2.0
"""Pack encoded rows into MindRecord shards."""

import contextlib
import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from mindspore.mindrecord import FileWriter

from src.dataset_meta import ShardFile, SplitMeta, file_sha256
from src.metrics import PADDING_LABEL

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
        self._rest = None
        self._shards = []  # name, records, bytes and the SHA-256 to come
        self._hasher = ThreadPoolExecutor(max_workers=1)
        self._writer, self._writer_records = None, 0
        self._rows = self._positives = 0

    def add(self, columns):
        """Append rows: a dict of sparse_ids [n, S], dense_values [n, N] if N > 0, and label [n]."""
        self._rows += len(columns["label"])
        self._positives += int((columns["label"] == 1).sum())
        if self._rest is not None:
            columns = {name: np.concatenate([self._rest[name], column]) for name, column in columns.items()}
        self._rest = self._write_groups(columns)

    def close(self):
        """Pad and write what is left; return the SplitMeta."""
        padded_rows = 0
        if self._rest is not None and len(self._rest["label"]):
            padded_rows = -len(self._rest["label"]) % self._rows_per_record
            padded = {name: _pad(column, padded_rows, PADDING[name]) for name, column in self._rest.items()}
            self._write_records(self._write_groups(padded))
        self._close_shard()
        files = tuple(ShardFile(*shard, sha256.result()) for *shard, sha256 in self._shards)
        self._hasher.shutdown()
        return SplitMeta(self._rows, self._positives, padded_rows, sum(file.records for file in files), files)

    def _write_groups(self, columns):
        """Write as many whole groups as there are; return the rows that are left.

        A page of the file is filled by one call of the writer, so the calls must be the same for the same rows.
        """
        row_bytes = sum(column[:1].nbytes for column in columns.values())
        group_records = max(PAGE_BYTES // max(row_bytes * self._rows_per_record, 1), 1)
        shard_records = max(SHARD_ROWS // self._rows_per_record, 1)
        while True:
            room = min(group_records, shard_records - self._writer_records) * self._rows_per_record
            if len(columns["label"]) < room:
                return {name: column.copy() for name, column in columns.items()}
            self._write_records({name: column[:room] for name, column in columns.items()})
            columns = {name: column[room:] for name, column in columns.items()}
            if self._writer_records == shard_records:
                self._close_shard()

    def _write_records(self, columns):
        """Write whole records in one call, to the shard that is open or a new one."""
        size = self._rows_per_record
        records = [
            {name: column[start : start + size].tobytes() for name, column in columns.items()}
            for start in range(0, len(columns["label"]), size)
        ]
        if not records:
            return
        if self._writer is None:
            self._open_shard(sum(map(len, records[0].values())))
        with _clear_errors(self._path):
            self._writer.write_raw_data(records)
        self._writer_records += len(records)

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


def _pad(column, rows, value):
    return np.concatenate([column, np.full((rows, *column.shape[1:]), value, column.dtype)])
