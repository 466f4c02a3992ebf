# SPDX-License-Identifier: Apache-2.0
"""Pack encoded rows into MindRecord shards."""

import pathlib

import numpy as np
from mindspore.mindrecord import FileWriter

from src.dataset_meta import ShardFile, SplitMeta, file_sha256
from src.metrics import PADDING_LABEL

SHARD_ROWS = 2_000_000
HEADER_BYTES = 1 << 20
PAGE_BYTES = 4 << 20
LARGEST_PAGE_BYTES = 256 << 20


class SplitWriter:
    """Write the rows of one split, in the order they come, as shards of whole records.

    A record holds sparse_ids int32 [R, S], dense_values float32 [R, N] (none if N is 0) and label float32 [R].
    The last one is filled up with rows of PADDING_LABEL.
    """

    def __init__(self, folder, split, rows_per_record, sparse_count, dense_count):
        self._folder, self._split, self._rows_per_record = pathlib.Path(folder), split, rows_per_record
        self._schema = {
            "sparse_ids": {"type": "int32", "shape": [rows_per_record, sparse_count]},
            "label": {"type": "float32", "shape": [rows_per_record]},
        }
        if dense_count:
            self._schema["dense_values"] = {"type": "float32", "shape": [rows_per_record, dense_count]}
        record_bytes = rows_per_record * 4 * (sparse_count + dense_count + 1)
        self._page_bytes = min(max(PAGE_BYTES, 1 << (2 * record_bytes).bit_length()), LARGEST_PAGE_BYTES)
        self._records_per_shard = max(SHARD_ROWS // rows_per_record, 1)
        self._rest = None
        self._writer, self._writer_records = None, 0
        self._files = []
        self._rows = self._positives = self._padded_rows = self._records = 0

    def add(self, columns):
        """Append rows: a dict of sparse_ids [n, S], dense_values [n, N] if N > 0, and label [n]."""
        self._rows += len(columns["label"])
        self._positives += int((columns["label"] == 1).sum())
        if self._rest is not None:
            columns = {name: np.concatenate([self._rest[name], column]) for name, column in columns.items()}
        whole = len(columns["label"]) // self._rows_per_record * self._rows_per_record
        self._write({name: column[:whole] for name, column in columns.items()})
        self._rest = {name: column[whole:].copy() for name, column in columns.items()}

    def close(self):
        """Pad and write what is left; return the SplitMeta."""
        rest_rows = 0 if self._rest is None else len(self._rest["label"])
        if rest_rows:
            self._padded_rows = self._rows_per_record - rest_rows
            padding = {"sparse_ids": 0, "dense_values": 0, "label": PADDING_LABEL}
            self._write(
                {
                    name: np.concatenate(
                        [column, np.full((self._padded_rows, *column.shape[1:]), padding[name], column.dtype)]
                    )
                    for name, column in self._rest.items()
                }
            )
        self._close_shard()
        return SplitMeta(self._rows, self._positives, self._padded_rows, self._records, tuple(self._files))

    def _write(self, columns):
        size = self._rows_per_record
        records = [
            {name: column[start : start + size] for name, column in columns.items()}
            for start in range(0, len(columns["label"]), size)
        ]
        while records:
            if self._writer is None:
                self._open_shard()
            room = self._records_per_shard - self._writer_records
            self._writer.write_raw_data(records[:room])
            self._writer_records += len(records[:room])
            records = records[room:]
            if self._writer_records == self._records_per_shard:
                self._close_shard()

    def _open_shard(self):
        path = self._folder / f"{self._split}_input_part.mindrecord{len(self._files):02d}"
        self._writer = FileWriter(str(path), shard_num=1)
        self._writer.set_header_size(HEADER_BYTES)
        self._writer.set_page_size(self._page_bytes)
        self._writer.add_schema(self._schema, "deepfm")
        self._path = path

    def _close_shard(self):
        if self._writer is None:
            return
        self._writer.commit()
        self._files.append(
            ShardFile(self._path.name, self._writer_records, self._path.stat().st_size, file_sha256(self._path))
        )
        self._records += self._writer_records
        self._writer, self._writer_records = None, 0
