# SPDX-License-Identifier: Apache-2.0
"""Pack encoded rows into MindRecord shards."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from mindspore.mindrecord import FileWriter

from src.common.encoded_rows import NO_VALUE
from src.common.files import file_sha256
from src.common.records import DENSE_VALUES, LABEL, LIST_IDS, SPARSE_IDS, WEIGHT, pack_lists
from src.dataset_meta import PADDING_LABEL, ShardFile, SplitMeta
from src.preprocessing import sizes

HEADER_BYTES = 1 << 20
PAGE_BYTES = 4 << 20
LARGEST_PAGE_BYTES = 256 << 20
PADDING = {SPARSE_IDS: 0, LIST_IDS: NO_VALUE, DENSE_VALUES: 0, LABEL: PADDING_LABEL, WEIGHT: 0}


class SplitWriter:
    """Write the rows of one split, in the order in which they are added, as shards of complete records.

    A record holds the columns of src.common.records, each as its bytes: MindRecord takes those six times faster than
    arrays.  The last record is padded with rows of PADDING_LABEL.  The bytes of a shard depend on its rows alone, not
    on the calls that add them.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        split: str,
        rows_per_record: int,
        list_lengths: Sequence[int] = (),
        *,
        shard_records: int = 0,
        first_shard: int = 0,
    ):
        """list_lengths: the columns of each multi-valued field.  shard_records: of a full shard; 0: that of sizes.py.

        first_shard: the number of the first one to write.
        """
        self._folder, self._split, self._rows_per_record = pathlib.Path(folder), split, rows_per_record
        self._list_lengths = list_lengths
        self._shard_records = shard_records or sizes.shard_records(rows_per_record)
        self._first_shard = first_shard
        self._waiting: list[dict[str, np.ndarray]] = []
        self._waiting_rows = 0
        self._shards: list[Future[ShardFile]] = []
        self._hasher = ThreadPoolExecutor(max_workers=1)
        self._writer, self._writer_records = None, 0
        self._rows = self._positives = 0
        self._has_weights = False
        self._weights = np.zeros(2)  # sums of the open shard: of all rows, and of those with a click

    def add(self, columns: dict[str, np.ndarray]) -> None:
        """Append rows, the columns of a record for n rows, list_ids as int32 [n, sum of list_lengths]."""
        row_count, start = len(columns[LABEL]), 0
        self._rows += row_count
        self._positives += int((columns[LABEL] == 1).sum())
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
        group_records = max(PAGE_BYTES // max(self._record_bytes(columns), 1), 1)
        return min(group_records, self._shard_records - self._writer_records) * self._rows_per_record

    def _record_bytes(self, columns):
        """Return the bytes of a record; the most that it may have if there are multi-valued fields."""
        row_bytes = sum(column[:1].nbytes for column in columns.values()) + len(self._list_lengths)
        return row_bytes * self._rows_per_record

    def _write_group(self):
        """Write the waiting rows, complete records, in one call, to the open shard or a new one."""
        size = self._rows_per_record
        columns = {name: _concatenate([rows[name] for rows in self._waiting]) for name in self._waiting[0]}
        records = [
            {name: self._pack(name, column[start : start + size]) for name, column in columns.items()}
            for start in range(0, self._waiting_rows, size)
        ]
        self._waiting, self._waiting_rows = [], 0
        self._has_weights = WEIGHT in columns
        if self._writer is None:
            self._open_shard(list(columns), self._record_bytes(columns))
        if WEIGHT in columns:  # group by group, so that the sums do not depend on the calls that add rows
            weights, is_click = columns[WEIGHT].astype(np.float64), columns[LABEL] == 1
            self._weights += weights.sum(), weights[is_click].sum()
        with _clear_errors(self._path):
            self._writer.write_raw_data(records)
        self._writer_records += len(records)
        if self._writer_records >= self._shard_records:
            self._close_shard()

    def _pack(self, name, column):
        return pack_lists(column, self._list_lengths) if name == LIST_IDS else column.tobytes()

    def _open_shard(self, names, record_bytes):
        number = self._first_shard + len(self._shards)
        self._path = self._folder / f"{self._split}_input_part.mindrecord{number:02d}"
        page_bytes = min(max(2 * PAGE_BYTES, 1 << (2 * record_bytes).bit_length()), LARGEST_PAGE_BYTES)
        with _clear_errors(self._path):
            self._writer = FileWriter(str(self._path), shard_num=1)
            self._writer.set_header_size(HEADER_BYTES)
            self._writer.set_page_size(page_bytes)
            self._writer.add_schema({name: {"type": "bytes"} for name in names}, "deepfm")

    def _close_shard(self):
        if self._writer is None:
            return
        with _clear_errors(self._path):
            self._writer.commit()
        sums = tuple(self._weights.tolist()) if self._has_weights else ()
        self._shards.append(self._hasher.submit(_shard_file, self._path, self._writer_records, sums))
        self._writer, self._writer_records = None, 0
        self._weights = np.zeros(2)


def _shard_file(path: pathlib.Path, records: int, weight_sums: tuple[float, ...]) -> ShardFile:
    return ShardFile(path.name, records, path.stat().st_size, file_sha256(path), *weight_sums)


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
